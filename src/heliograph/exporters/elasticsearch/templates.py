"""A cluster without Elastic's OpenTelemetry index templates: older than 8.16, or somebody removed them.

Actions ask for a data stream, so Elasticsearch makes no plain index there but answers 404 for each document. The
documents wait for a minute, since templates that are being loaded come soon; then they become dead letters at once
until the template is there. Other names (an index that a record asks for) are never waited for: any
sender could hold up all with one.
Source: answers of Elasticsearch 9.2 with its templates removed, observed.
"""

import re

from heliograph.exporters.elasticsearch.blocks import LONGEST, index_of
from heliograph.exporters.elasticsearch.bulk import ItemAnswer

_STREAM = re.compile(rb"(logs|metrics|traces)-.+\.otel-")


class Templates:
    """Which templates are missing, and since when."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    @property
    def any(self) -> bool:
        """Whether one is missing."""
        return bool(self._since)

    def worth_waiting(self, lines: bytes, answer: ItemAnswer, now: float) -> bool:
        """Note a template whose absence is why a document was refused; whether the document should wait for it."""
        if answer.status != 404 or answer.type != "index_not_found_exception":
            return False
        template = _template(lines)
        return bool(template) and now - self._since.setdefault(template, now) < LONGEST

    def taken(self, lines: bytes) -> bool:
        """A document was taken; whether no template is missing any more."""
        self._since.pop(_template(lines), None)
        return not self._since

    @property
    def advice(self) -> str:
        """What is missing and what to do."""
        names = ", ".join(sorted(self._since))
        return (
            f"Elasticsearch has no index template {names}: its OpenTelemetry templates come with version 8.16 or "
            "later; upgrade it, or load them if somebody removed them (setting xpack.otel_data.registry.enabled); no "
            "plain index is written meanwhile"
        )


def _template(lines: bytes) -> str:
    found = _STREAM.match(index_of(lines))
    return f"{found[1].decode()}-otel@template" if found else ""
