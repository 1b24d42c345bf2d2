"""container: lines of containerd, CRI-O and Docker's json-file, told apart line by line; partial lines are joined.

Source: pkg/stanza/operator/parser/container. Kept: what is detected as what, the fields, the path's pattern, every
CRI tag other than F is partial, time and tag of the first part, a record is let go when it passes max_log_size or
after five seconds. Mended, see docs/adr/0003-file-log.md: parts are joined within their stream only, Docker's parts
(text without the newline at its end) are joined too and that newline is cut, and neither joining nor the pod's fields
need `include_file_path`.
"""

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from heliograph.component.config import ByteSize, key
from heliograph.receivers.file_log.operators.base import Logger, Operator, OperatorConfig, check_field
from heliograph.receivers.file_log.operators.entry import MISSING, Entry, Field, kind

_CRIO = re.compile(r"([^ Z]+) (stdout|stderr) ([^ ]*) ?(.*)", re.DOTALL)
_CONTAINERD = re.compile(r"([^ ^Z]+Z) (stdout|stderr) ([^ ]*) ?(.*)", re.DOTALL)
_PATH = re.compile(
    r".*[/\\](?P<namespace>[^_]+)_(?P<pod>[^_]+)_(?P<uid>[a-f0-9-]+)[/\\](?P<container>[^._]+)[/\\]"
    r"(?P<restarts>\d+)\.log(?:\.\d{8}-\d{6})?",
    re.DOTALL,
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)")
_PATIENCE = 5 * 10**9
MAX_LOG_SIZE = 1024 * 1024


@runtime_checkable
class Source(Protocol):
    """The file an entry came from."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig(OperatorConfig):
    """Parses lines of container runtimes."""

    format: str = key("", "docker, crio or containerd; found out line by line when absent.")
    parse_from: str = key("body", "Field that holds the line.")
    parse_to: str = key("attributes", "Only attributes.")
    add_metadata_from_filepath: bool = key(True, "Add namespace, pod, uid, container and restart count from the path.")
    max_log_size: ByteSize = key(ByteSize(MAX_LOG_SIZE), "Bytes after which a joined record is let go; 0 for no limit.")

    UNSUPPORTED = {
        "timestamp": "the time of the line is always read; add a time_parser after it for another",
        "severity": "add a severity_parser after it",
        "trace": "put the ids into attributes",
        "scope_name": "scope names are not done here",
        "body": "the text of the line always becomes the body; add a move after it",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        if self.format not in ("", "docker", "crio", "containerd"):
            yield "format", f"{self.format!r} is not one of docker, crio, containerd"
        yield from check_field("parse_from", self.parse_from)
        if self.parse_to != "attributes":
            yield "parse_to", "only attributes is supported: add a move after it"


def pod_of(path: str) -> dict[str, str] | None:
    """Resource attributes from the path of a pod's log file, None when it is no such path."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    return {
        "k8s.namespace.name": found["namespace"],
        "k8s.pod.name": found["pod"],
        "k8s.pod.uid": found["uid"],
        "k8s.container.name": found["container"],
        "k8s.container.restart_count": found["restarts"],
    }


def read_time(text: str) -> int:
    """RFC 3339 with any number of digits after the seconds, as nanoseconds since the epoch. Raises ValueError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"cannot parse time {text[:100]!r}")
    try:
        seconds = _seconds(found[1], found[3])
    except (ValueError, OverflowError) as error:
        raise ValueError(f"cannot parse time {text[:100]!r}: {error}") from None
    return seconds * 10**9 + int((found[2] or "0")[:9].ljust(9, "0"))


@lru_cache(maxsize=1024)
def _seconds(second: str, zone: str) -> int:
    moment = (
        datetime.fromisoformat(second).replace(tzinfo=UTC) if zone == "Z" else datetime.fromisoformat(second + zone)
    )
    return int(moment.timestamp())


class _Held:
    __slots__ = ("entry", "since", "size", "texts")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.since = time.monotonic_ns()  # a wall clock that jumps neither cuts nor holds a record
        self.size = 0
        self.texts: list[str] = []


class Container(Operator):
    """The operator; `parts` are the records that wait for their last part, by file path and stream."""

    def __init__(self, config: ContainerConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._from = Field.parse(config.parse_from)
        self._format = config.format
        self._metadata = config.add_metadata_from_filepath
        self._most = int(config.max_log_size)
        self.parts: dict[tuple[object, str], _Held] = {}
        self._pods: dict[str, dict[str, str] | None] = {}

    def process(self, entry: Entry) -> None:
        try:
            if self._condition is not None and not self._condition(entry):
                self.write(entry)
                return
            last = self._parse(entry)
        except ValueError as error:
            self.failed(entry, error)
            return
        stream = str(entry.attributes.get("log.iostream", ""))
        place = (self._place(entry), stream)
        held = self.parts.get(place)
        if held is None:
            if last or not isinstance(entry.body, str):
                self._finish(entry)
                return
            held = self.parts[place] = _Held(entry)
        text = entry.body if isinstance(entry.body, str) else ""
        held.texts.append(text)
        held.size += len(text)
        if last or 0 < self._most < held.size:
            del self.parts[place]
            self._let_go(held)

    def holding(self, path: str) -> int:
        """Of which streams of this file a record waits for its last part: 1 stdout, 2 stderr, added."""
        if not self.parts:
            return 0
        return ((path, "stdout") in self.parts) + 2 * ((path, "stderr") in self.parts)

    def flush(self, now: int, everything: bool) -> None:
        for place, held in list(self.parts.items()):
            if everything or now - held.since >= _PATIENCE:
                del self.parts[place]
                self._let_go(held)

    def held(self) -> Iterator[Entry]:
        for held in self.parts.values():
            yield held.entry

    def _let_go(self, held: _Held) -> None:
        held.entry.body = "".join(held.texts)
        self._finish(held.entry)

    def _place(self, entry: Entry) -> object:
        path = entry.attributes.get("log.file.path")
        if isinstance(path, str):
            return path
        return entry.source.path if isinstance(entry.source, Source) else id(entry.source)

    def _finish(self, entry: Entry) -> None:
        body = entry.body
        if "logtag" not in entry.attributes and isinstance(body, str) and body.endswith("\n"):
            entry.body = body[:-1]
        if self._metadata:
            path = self._place(entry)
            pod = self._pod(path) if isinstance(path, str) else None
            if pod is None:
                self.failed(entry, ValueError(f"failed to detect a valid log path: {path!r}"))
                return
            entry.resource.update(pod)
        self.write(entry)

    def _pod(self, path: str) -> dict[str, str] | None:
        if path not in self._pods:
            if len(self._pods) > 4096:
                self._pods.clear()
            self._pods[path] = pod_of(path)
        return self._pods[path]

    def _parse(self, entry: Entry) -> bool:
        """Take the line apart; True when it is the last part of its record. Raises ValueError."""
        value = self._from.get(entry)
        if value is MISSING or not isinstance(value, str):
            raise ValueError(f"a {kind(value)} cannot be parsed as container logs")
        chosen = self._format
        if chosen == "docker" or (not chosen and value.startswith("{")):
            return self._docker(entry, value)
        found = None
        zulu = value[max(value.find(" "), 1) - 1] == "Z" if value else False
        if chosen in ("", "crio") and not zulu:
            found = _CRIO.fullmatch(value)
        elif chosen in ("", "containerd"):
            found = _CONTAINERD.fullmatch(value)
        if found is None:
            raise ValueError(
                "regex pattern does not match"
                if chosen
                else f"failed to detect a container log format: {value[:200]!r}"
            )
        stamp, stream, tag, text = found.groups()
        attributes = entry.attributes
        try:
            entry.timestamp = read_time(stamp)
        except ValueError:
            attributes.update(time=stamp, stream=stream, logtag=tag, log=text)
            raise
        attributes["log.iostream"] = stream
        attributes["logtag"] = tag
        entry.body = text
        return bool(tag == "F")

    def _docker(self, entry: Entry, value: str) -> bool:
        try:
            fields: Any = json.loads(value, parse_int=float)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"cannot parse docker's JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ValueError("docker's line is no JSON object")
        stamp = fields.get("time")
        if not isinstance(stamp, str):
            entry.attributes.update(fields)
            raise ValueError("docker's line has no time")
        try:
            entry.timestamp = read_time(stamp)
        except ValueError:
            entry.attributes.update(fields)
            raise
        del fields["time"]
        body = fields.pop("log", MISSING)
        stream = fields.pop("stream", MISSING)
        if body is MISSING or stream is MISSING:
            entry.attributes.update(fields)
            raise ValueError("docker's line has no " + ("log" if body is MISSING else "stream"))
        entry.body = body
        entry.attributes.update(fields)
        entry.attributes["log.iostream"] = stream
        return not isinstance(body, str) or body.endswith("\n")
