"""A cluster without Elastic's OpenTelemetry index templates: older than 8.16, or somebody removed them.

Actions ask for a data stream, so Elasticsearch makes no plain index there but answers 404 for each document. Where its
own template `logs` or `metrics` matches the name, though, it would take them, under mappings that are none of
OpenTelemetry's. So the cluster is asked before the first document: for its templates, or for its version where they
may not be read. Documents wait for the template as for an index that is blocked. Other names (an index that a record
asks for) are never waited for: no template will come.
Source: answers of Elasticsearch 9.2 with its templates removed, observed; the resolution of index templates (the
pattern that matches with the highest priority) and `GET /` as Elasticsearch's reference describes them.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import orjson

from heliograph.component.batch import Context
from heliograph.component.clock import Clock
from heliograph.exporters.elasticsearch.bulk import ItemAnswer
from heliograph.exporters.elasticsearch.client import Reply

_STREAM = re.compile(rb"(logs|metrics|traces)-.+\.otel-")
_GENERIC = frozenset(("logs", "metrics"))
_FIRST_VERSION = (8, 16)
_VERSION = re.compile(r"(\d+)\.(\d+)\.")
_TEMPLATES = (
    "/_index_template?filter_path=index_templates.name,index_templates.index_template.index_patterns,"
    "index_templates.index_template.priority"
)
_PAUSE = 5.0
_TYPE = "index_not_found_exception"


class Templates:
    """What one signal of an exporter knows of the cluster's templates. get: asks the cluster for a path."""

    def __init__(self, signal: str, get: Callable[[str, Context], Awaitable[Reply]]) -> None:
        self._signal = signal
        self._get = get
        self._refusal: ItemAnswer | None = None
        self._ask_at = -math.inf
        self._asking = asyncio.Lock()
        self.settled = False
        """Whether nothing speaks against writing, or nothing can be known: it is not asked again."""

    async def refusal(self, clock: Clock, context: Context) -> ItemAnswer | None:
        """What to take for the answer to each document for a data stream of OpenTelemetry, its template being missing;
        None: send it. The cluster is asked again after 5 s at the earliest. Raises Unreachable."""
        async with self._asking:
            if not self.settled and clock.monotonic() >= self._ask_at:
                lacks, self.settled = await self._ask(context)
                self._refusal = ItemAnswer(404, _TYPE, lacks) if lacks else None
                self._ask_at = clock.monotonic() + _PAUSE
        return self._refusal

    async def _ask(self, context: Context) -> tuple[str, bool]:
        """What the cluster lacks, or "", and whether that is its last word."""
        reply = await self._get(_TEMPLATES, context)
        lacks = _lacks_by_templates(self._signal, reply)
        if lacks is None:
            reply = await self._get("/", context)
            lacks = _lacks_by_version(reply)
        return lacks, not lacks and reply.status not in (401, 429) and reply.status < 500


def _lacks_by_templates(signal: str, reply: Reply) -> str | None:
    """What the cluster lacks by its list of templates; "": nothing, None: the list says nothing."""
    try:
        templates = orjson.loads(reply.body)["index_templates"] if reply.status == 200 else None
        found = [
            (int(template["index_template"].get("priority") or 0), str(template["name"]))
            for template in templates or ()
            if any(fnmatchcase(f"{signal}-a.otel-b", pattern) for pattern in _patterns(template))
        ]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if not found:
        return None
    name = max(found)[1]
    return f"its index template {name} would take it" if name in _GENERIC else ""


def _patterns(template: Any) -> list[str]:
    patterns = template["index_template"]["index_patterns"]
    return [patterns] if isinstance(patterns, str) else list(map(str, patterns))


def _lacks_by_version(reply: Reply) -> str:
    """What the cluster lacks by its version; "": nothing that is known. Serverless says 8.11 and has the templates."""
    try:
        version = orjson.loads(reply.body)["version"] if reply.status == 200 else {}
        found = _VERSION.match(version["number"])
        serverless = version.get("build_flavor") == "serverless"
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ""
    if found is None or serverless or (int(found[1]), int(found[2])) >= _FIRST_VERSION:
        return ""
    return f"it is version {version['number']}"


def is_missing(index: bytes, answer: ItemAnswer) -> bool:
    """Whether a document was refused because the template of its index is missing."""
    return answer.status == 404 and answer.type == _TYPE and bool(template_of(index))


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
