"""How much arrived, by data stream: asked from the store or Elasticsearch, shown as a table with rates."""

import json
import re
import urllib.request
from dataclasses import dataclass

_BACKING = re.compile(r"\.ds-(.+)-\d{4}\.\d{2}\.\d{2}-\d{6}\Z")


@dataclass(frozen=True, slots=True)
class Arrival:
    """Documents of a data stream, and how many came in each second since the look before."""

    stream: str
    documents: int
    rate: float


class Arrivals:
    """Remembers the last look, for rates."""

    def __init__(self, url: str, api_key: str | None) -> None:
        streams = "logs-*,metrics-*,traces-*"
        self._url = f"{url.rstrip('/')}/_cat/indices/{streams}?format=json&expand_wildcards=all&h=index,docs.count"
        self._api_key = api_key
        self._before: dict[str, int] = {}
        self._time: float | None = None

    def look(self, now: float) -> list[Arrival]:
        """All data streams by name. now: monotonic seconds. Raises OSError, ValueError when nobody answers."""
        request = urllib.request.Request(self._url)
        if self._api_key:
            request.add_header("Authorization", f"ApiKey {self._api_key}")
        with urllib.request.urlopen(request, timeout=10) as response:
            rows = json.load(response)
        counts: dict[str, int] = {}
        for row in rows:
            match = _BACKING.match(row["index"])
            stream = match[1] if match else row["index"]
            counts[stream] = counts.get(stream, 0) + int(row["docs.count"] or 0)
        seconds = now - self._time if self._time is not None else 0.0
        arrivals = [
            Arrival(stream, count, (count - self._before.get(stream, 0)) / seconds if seconds > 0 else 0.0)
            for stream, count in sorted(counts.items())
        ]
        self._before, self._time = counts, now
        return arrivals
