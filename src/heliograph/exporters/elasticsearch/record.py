"""What encoding logs and spans has in common: options, memory, routes, the action line.

The hot path of the exporter is here, in logs.py, spans.py and metrics.py: each record's bytes are walked once, nothing
is decoded into objects, what repeats (resource, scope, attributes, routes) comes from memory, and the document's
pieces are joined once. Field order and spelling follow upstream (internal/serializer/otelserializer, 0.156,
observed); the written differences are in docs/adr/0004-elasticsearch-exporter.md.

Wire types: a fixed64 field n has the tag 8n+1, a varint 8n, a length-delimited one 8n+2.
"""

from struct import error as StructError  # noqa: N812
from typing import Final

from xxhash import xxh3_128_hexdigest

from heliograph.exporters.elasticsearch.attribute import (
    DOCUMENT_ID,
    PIPELINE,
    UID,
    Attribute,
    AttributeMemory,
    first_with,
    string_of,
)
from heliograph.exporters.elasticsearch.documents import Documents
from heliograph.exporters.elasticsearch.json_text import json_string
from heliograph.exporters.elasticsearch.origin import Origin, Origins, Section
from heliograph.exporters.elasticsearch.route import Route, Router
from heliograph.otlp.errors import MalformedPayload

NO_TRACE: Final = bytes(16)
NO_SPAN: Final = bytes(8)

LONGEST_ID: Final = 512
_REMEMBERED_ATTRIBUTES: Final = 4096


class Options:
    """How records become documents; see the configuration keys of the same names."""

    def __init__(
        self,
        logs_index: bytes = b"",
        traces_index: bytes = b"",
        metrics_index: bytes = b"",
        logs_dynamic_id: bool = False,
        traces_dynamic_id: bool = False,
        logs_dynamic_pipeline: bool = False,
        own_ids: bool = False,
    ) -> None:
        self.logs_index: bytes = logs_index
        self.traces_index: bytes = traces_index
        self.metrics_index: bytes = metrics_index
        self.logs_dynamic_id: bool = logs_dynamic_id
        self.traces_dynamic_id: bool = traces_dynamic_id
        self.logs_dynamic_pipeline: bool = logs_dynamic_pipeline
        self.own_ids: bool = own_ids


class RecordEncoder:
    """Encodes logs (logs.py) or spans (spans.py). One for each exporter; what it remembers is bounded."""

    def __init__(self, traces: bool, options: Options) -> None:
        self.options: Options = options
        self.memory: AttributeMemory = AttributeMemory(False, _REMEMBERED_ATTRIBUTES)
        self.logs_router: Router = Router(b"logs", options.logs_index)
        self.traces_router: Router = Router(b"traces", options.traces_index)
        self.origins: Origins = Origins(
            self.memory, self.traces_router if traces else self.logs_router, self.logs_router
        )

    def set_date(self, date: bytes) -> None:
        """Append a separator and date to every index (logstash_format)."""
        self.logs_router.set_date(date)
        if self.traces_router.set_date(date):
            self.origins.forget()

    def sections(self, part: bytes) -> list[Section]:
        """Cut a part into the records of its scopes. Raises MalformedPayload."""
        try:
            sections: list[Section] = self.origins.sections(part)
        except (IndexError, StructError) as error:
            raise MalformedPayload("the message is cut off") from error
        if self.options.own_ids:
            id: bytes = xxh3_128_hexdigest(part).encode("ascii")
            for section in sections:
                section.id = id
        return sections

    def encode(self, section: Section, first: int, last: int, documents: Documents) -> None:
        """Encode the records first..last-1 of a section. Raises MalformedPayload."""
        data: bytes = section.data
        starts: list[int] = section.starts
        stops: list[int] = section.stops
        documents.id = section.id
        try:
            for number in range(first, last):
                self.record(data, starts[number], stops[number], section.origin, documents)
        except (IndexError, StructError) as error:
            raise MalformedPayload("the message is cut off") from error

    def record(self, data: bytes, pos: int, end: int, origin: Origin, documents: Documents) -> None:
        """Encode the record in data[pos:end]; each kind of record has its own."""
        raise AssertionError("a subclass encodes")

    def action(
        self, route: Route, attributes: list[Attribute], flags: int, dynamic_id: bool, log: bool, own: bytes
    ) -> bytes:
        """The action line of a record that says what its id or its pipeline is. own: its id otherwise, or b""."""
        id: bytes = b""
        pipeline: bytes = b""
        if dynamic_id and flags & DOCUMENT_ID != 0:
            attribute: Attribute | None = first_with(attributes, DOCUMENT_ID)
            if attribute is not None:
                id = attribute.text
        if log:
            if not id and flags & UID != 0:
                id = string_of(first_with(attributes, UID))
            if self.options.logs_dynamic_pipeline and flags & PIPELINE != 0:
                attribute = first_with(attributes, PIPELINE)
                if attribute is not None:
                    pipeline = attribute.text
        if not id or len(id) > LONGEST_ID:
            id = own
        if not pipeline:
            return b'{"create":{"_id":' + json_string(id) + route.after_id if id else route.action
        return route.action_line(id, pipeline, b"")
