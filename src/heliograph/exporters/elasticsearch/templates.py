"""A cluster without Elastic's OpenTelemetry index templates: older than 8.16, or somebody removed them.

Actions ask for a data stream, so Elasticsearch makes no plain index there but answers 404 for each document. They wait
for the template as for an index that is blocked. Other names (an index that a record asks for) are never waited for: no
template will come.
Source: answers of Elasticsearch 9.2 with its templates removed, observed.
"""

import re
from collections.abc import Iterable

from heliograph.exporters.elasticsearch.bulk import ItemAnswer

_STREAM = re.compile(rb"(logs|metrics|traces)-.+\.otel-")


def is_missing(index: bytes, answer: ItemAnswer) -> bool:
    """Whether a document was refused because the template of its index is missing."""
    return answer.status == 404 and answer.type == "index_not_found_exception" and bool(template_of(index))


def template_of(index: bytes) -> str:
    """The template that an index needs; "" when it is none of Elastic's for OpenTelemetry."""
    found = _STREAM.match(index)
    return f"{found[1].decode()}-otel@template" if found else ""


def missing_advice(templates: Iterable[str]) -> str:
    """What is missing and what to do."""
    return (
        f"Elasticsearch has no index template {', '.join(sorted(templates))}: its OpenTelemetry templates come with "
        "version 8.16 or later; upgrade it, or load them if somebody removed them (setting "
        "xpack.otel_data.registry.enabled); no plain index is written meanwhile"
    )
