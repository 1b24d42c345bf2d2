"""Log records as documents of the OTel mapping mode. See record.py.

Source: internal/serializer/otelserializer/logs.go (0.156), observed.
"""

from binascii import hexlify
from struct import Struct
from typing import Final

from heliograph.exporters.elasticsearch.attribute import (
    DOCUMENT_ID,
    EVENT_NAME,
    HINTS,
    NO_INDEX,
    PIPELINE,
    ROUTE,
    UID,
    Attribute,
    attributes_json,
    first_with,
    hints_of,
    string_of,
    unique,
)
from heliograph.exporters.elasticsearch.documents import Documents
from heliograph.exporters.elasticsearch.json_text import json_string, timestamp_text
from heliograph.exporters.elasticsearch.origin import Origin
from heliograph.exporters.elasticsearch.record import NO_SPAN, NO_TRACE, Options, RecordEncoder
from heliograph.exporters.elasticsearch.route import Route
from heliograph.exporters.elasticsearch.value import (
    ARRAY,
    EMPTY,
    MAP,
    Value,
    items_of,
    read_value,
    read_varint,
    skip,
    value_json,
)
from heliograph.otlp.errors import MalformedPayload

_FIXED64: Final = Struct("<Q").unpack_from


class LogEncoder(RecordEncoder):
    """Encodes ResourceLogs."""

    def __init__(self, options: Options) -> None:
        super().__init__(False, options)

    def record(self, data: bytes, pos: int, end: int, origin: Origin, documents: Documents) -> None:
        attributes: list[Attribute] = []
        flags: int = 0
        keys: int = 0
        doubtful: bool = False
        time: int = 0
        observed: int = 0
        severity: int = 0
        dropped: int = 0
        severity_text: bytes = b""
        trace_id: bytes = b""
        span_id: bytes = b""
        event_name: bytes = b""
        body: Value | None = None
        while pos < end:
            tag: int = data[pos]
            pos += 1
            if tag >= 128:
                tag, pos = read_varint(data, pos - 1)
            if tag & 7 == 2:
                size: int = data[pos]
                pos += 1
                if size >= 128:
                    size, pos = read_varint(data, pos - 1)
                stop: int = pos + size
                if stop > end:
                    raise MalformedPayload("a field is longer than its message", pos)
                if tag == 50:
                    attribute: Attribute = self.memory.find(data[pos:stop])
                    flags |= attribute.flags
                    bit: int = attribute.bit
                    if bit == 0 or keys & bit != 0:
                        doubtful = True
                    keys |= bit
                    attributes.append(attribute)
                elif tag == 42:
                    body = read_value(data, pos, stop)
                elif tag == 26:
                    severity_text = data[pos:stop]
                elif tag == 74:
                    trace_id = data[pos:stop]
                elif tag == 82:
                    span_id = data[pos:stop]
                elif tag == 98:
                    event_name = data[pos:stop]
                pos = stop
            elif tag == 9:
                time = _FIXED64(data, pos)[0]
                pos += 8
            elif tag == 89:
                observed = _FIXED64(data, pos)[0]
                pos += 8
            elif tag == 16:
                severity, pos = read_varint(data, pos)
                severity = _int32(severity)
            elif tag == 56:
                dropped, pos = read_varint(data, pos)
                dropped &= 0xFFFFFFFF
            else:
                pos = skip(data, pos, tag & 7)
        if pos != end:
            raise MalformedPayload("a field is longer than its message", pos)

        had_attributes: bool = len(attributes) > 0
        if doubtful:
            attributes = unique(attributes)
        if flags & HINTS != 0 and NO_INDEX in hints_of(attributes):
            documents.leave_out("noindex", 1, "")
            return
        route: Route = origin.route.of_record(attributes) if flags & ROUTE != 0 else origin.route.usual
        action: bytes = route.action
        own: bytes = b""
        if documents.id and (time != 0 or observed != 0):
            own = documents.id + b"%x" % end
        if flags & (DOCUMENT_ID | UID | PIPELINE) != 0:
            action = self.action(route, attributes, flags, self.options.logs_dynamic_id, True, own)
        elif own:
            action = route.with_id(own)
        observed_text: bytes = timestamp_text(observed)
        pieces: list[bytes] = [
            action,
            b'{"@timestamp":',
            observed_text if time == 0 or time == observed else timestamp_text(time),
            b',"observed_timestamp":',
            observed_text,
            route.data_stream,
        ]
        if severity_text:
            pieces.append(b',"severity_text":')
            pieces.append(json_string(severity_text))
        if severity != 0:
            pieces.append(b',"severity_number":%d' % severity)
        if trace_id and trace_id != NO_TRACE:
            pieces.append(b',"trace_id":"' + hexlify(trace_id) + b'"')
        if span_id and span_id != NO_SPAN:
            pieces.append(b',"span_id":"' + hexlify(span_id) + b'"')
        if had_attributes:
            pieces.append(b',"attributes":')
            pieces.append(attributes_json(attributes, flags))
        if dropped != 0:
            pieces.append(b',"dropped_attributes_count":%d' % dropped)
        if not event_name and flags & EVENT_NAME != 0:
            event_name = string_of(first_with(attributes, EVENT_NAME))
        if event_name:
            pieces.append(b',"event_name":')
            pieces.append(json_string(event_name))
        pieces.append(origin.fields)
        if body is not None and body.kind != EMPTY:
            pieces.append(_body(body))
        pieces.append(b"}\n")
        documents.lines.append(b"".join(pieces))
        documents.items.append(1)


def _body(body: Value) -> bytes:
    """`,"body":{...}` of a log: maps and arrays under `structured`, everything else under `text`."""
    json: bytes = value_json(body, False, 0)
    if body.kind == MAP:
        return b',"body":{"structured":' + json + b"}"
    if body.kind != ARRAY:
        return b',"body":{"text":' + json + b"}"
    for item in items_of(body.raw):
        if read_value(item, 0, len(item)).kind != MAP:
            return b',"body":{"structured":{"value":' + json + b"}}"
    return b',"body":{"structured":' + json + b"}"


def _int32(number: int) -> int:
    number &= 0xFFFFFFFF
    return number - 4294967296 if number >= 2147483648 else number
