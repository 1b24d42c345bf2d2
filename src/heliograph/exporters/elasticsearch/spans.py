"""Spans and their events as documents of the OTel mapping mode. See record.py.

An event is a document of its own in a logs data stream, right after its span's.
Source: internal/serializer/otelserializer/traces.go (0.156), observed.
"""

from binascii import hexlify
from struct import Struct
from typing import Final

from heliograph.exporters.elasticsearch.attribute import (
    DOCUMENT_ID,
    EVENT_NAME,
    HINTS,
    NO_INDEX,
    ROUTE,
    Attribute,
    attributes_json,
    hints_of,
    unique,
)
from heliograph.exporters.elasticsearch.documents import Documents
from heliograph.exporters.elasticsearch.json_text import json_string, timestamp_text
from heliograph.exporters.elasticsearch.origin import Origin
from heliograph.exporters.elasticsearch.record import NO_SPAN, NO_TRACE, Options, RecordEncoder
from heliograph.exporters.elasticsearch.route import Route, ScopeRoute
from heliograph.exporters.elasticsearch.value import read_varint, skip, skip_any
from heliograph.otlp.errors import MalformedPayload

_FIXED64: Final = Struct("<Q").unpack_from
_KINDS: Final[list[bytes]] = [b"Unspecified", b"Internal", b"Server", b"Client", b"Producer", b"Consumer"]


class SpanEncoder(RecordEncoder):
    """Encodes ResourceSpans."""

    def __init__(self, options: Options) -> None:
        super().__init__(True, options)

    def record(self, data: bytes, pos: int, end: int, origin: Origin, documents: Documents) -> None:
        attributes: list[Attribute] = []
        flags: int = 0
        keys: int = 0
        doubtful: bool = False
        start: int = 0
        finish: int = 0
        kind: int = 0
        dropped: int = 0
        dropped_events: int = 0
        dropped_links: int = 0
        code: int = 0
        trace_id: bytes = b""
        span_id: bytes = b""
        parent_id: bytes = b""
        state: bytes = b""
        name: bytes = b""
        message: bytes = b""
        links: list[bytes] = []
        events: list[int] = []
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
                if tag == 74:
                    attribute: Attribute = self.memory.find(data[pos:stop])
                    flags |= attribute.flags
                    bit: int = attribute.bit
                    if bit == 0 or keys & bit != 0:
                        doubtful = True
                    keys |= bit
                    attributes.append(attribute)
                elif tag == 10:
                    trace_id = data[pos:stop]
                elif tag == 18:
                    span_id = data[pos:stop]
                elif tag == 34:
                    parent_id = data[pos:stop]
                elif tag == 42:
                    name = data[pos:stop]
                elif tag == 90:
                    events.append(pos)
                    events.append(stop)
                elif tag == 106:
                    links.append(self._link(data, pos, stop))
                elif tag == 26:
                    state = data[pos:stop]
                elif tag == 122:
                    while pos < stop:
                        tag, pos = read_varint(data, pos)
                        if tag == 18:
                            size, pos = read_varint(data, pos)
                            message = data[pos : pos + size]
                            pos += size
                        elif tag == 24:
                            code, pos = read_varint(data, pos)
                        else:
                            pos = skip_any(data, pos, tag)
                    if pos != stop:
                        raise MalformedPayload("a field is longer than its message", pos)
                pos = stop
            elif tag == 57:
                start = _FIXED64(data, pos)[0]
                pos += 8
            elif tag == 65:
                finish = _FIXED64(data, pos)[0]
                pos += 8
            elif tag == 48:
                kind, pos = read_varint(data, pos)
            elif tag == 80:
                dropped, pos = read_varint(data, pos)
            elif tag == 96:
                dropped_events, pos = read_varint(data, pos)
            elif tag == 112:
                dropped_links, pos = read_varint(data, pos)
            else:
                pos = skip(data, pos, tag & 7)
        if pos != end:
            raise MalformedPayload("a field is longer than its message", pos)

        identity: bytes = b""
        if trace_id and trace_id != NO_TRACE:
            identity = b',"trace_id":"' + hexlify(trace_id) + b'"'
        if span_id and span_id != NO_SPAN:
            identity += b',"span_id":"' + hexlify(span_id) + b'"'
        had_attributes: bool = len(attributes) > 0
        if doubtful:
            attributes = unique(attributes)
        if flags & HINTS != 0 and NO_INDEX in hints_of(attributes):
            documents.leave_out("noindex", 1, "")
        else:
            route: Route = origin.route.of_record(attributes) if flags & ROUTE != 0 else origin.route.usual
            action: bytes = route.action
            own: bytes = documents.id + b"%x" % end if documents.id and identity else b""
            if flags & DOCUMENT_ID != 0:
                action = self.action(route, attributes, flags, self.options.traces_dynamic_id, False, own)
            elif own:
                action = route.with_id(own)
            pieces: list[bytes] = [action, b'{"@timestamp":', timestamp_text(start), route.data_stream, identity]
            if state:
                pieces.append(b',"trace_state":')
                pieces.append(json_string(state))
            if parent_id and parent_id != NO_SPAN:
                pieces.append(b',"parent_span_id":"' + hexlify(parent_id) + b'"')
            if name:
                pieces.append(b',"name":')
                pieces.append(json_string(name))
            if kind < 6:
                pieces.append(b',"kind":"' + _KINDS[kind] + b'"')
            pieces.append(b',"duration":%d' % ((finish - start) & 0xFFFFFFFFFFFFFFFF))
            if had_attributes:
                pieces.append(b',"attributes":')
                pieces.append(attributes_json(attributes, flags))
            if dropped & 0xFFFFFFFF != 0:
                pieces.append(b',"dropped_attributes_count":%d' % (dropped & 0xFFFFFFFF))
            if dropped_events & 0xFFFFFFFF != 0:
                pieces.append(b',"dropped_events_count":%d' % (dropped_events & 0xFFFFFFFF))
            if links:
                pieces.append(b',"links":[' + b",".join(links) + b"]")
            else:
                pieces.append(b',"links":[]')
            if dropped_links & 0xFFFFFFFF != 0:
                pieces.append(b',"dropped_links_count":%d' % (dropped_links & 0xFFFFFFFF))
            pieces.append(_status(message, code))
            pieces.append(origin.fields)
            pieces.append(b"}\n")
            documents.lines.append(b"".join(pieces))
            documents.items.append(1)
        for number in range(0, len(events), 2):
            self._event(data, events[number], events[number + 1], identity, origin, documents)

    def _event(self, data: bytes, pos: int, end: int, identity: bytes, origin: Origin, documents: Documents) -> None:
        attributes: list[Attribute] = []
        flags: int = 0
        keys: int = 0
        doubtful: bool = False
        time: int = 0
        dropped: int = 0
        name: bytes = b""
        while pos < end:
            tag: int = data[pos]
            pos += 1
            if tag >= 128:
                tag, pos = read_varint(data, pos - 1)
            if tag & 7 == 2:
                size, pos = read_varint(data, pos)
                stop: int = pos + size
                if stop > end:
                    raise MalformedPayload("a field is longer than its message", pos)
                if tag == 26:
                    attribute: Attribute = self.memory.find(data[pos:stop])
                    flags |= attribute.flags
                    bit: int = attribute.bit
                    if bit == 0 or keys & bit != 0:
                        doubtful = True
                    keys |= bit
                    attributes.append(attribute)
                elif tag == 18:
                    name = data[pos:stop]
                pos = stop
            elif tag == 9:
                time = _FIXED64(data, pos)[0]
                pos += 8
            elif tag == 32:
                dropped, pos = read_varint(data, pos)
                dropped &= 0xFFFFFFFF
            else:
                pos = skip(data, pos, tag & 7)
        if pos != end:
            raise MalformedPayload("a field is longer than its message", pos)
        if doubtful:
            attributes = unique(attributes)
        if flags & HINTS != 0 and NO_INDEX in hints_of(attributes):
            return
        scope_route: ScopeRoute = origin.event_route
        route: Route = scope_route.of_record(attributes) if flags & ROUTE != 0 else scope_route.usual
        action: bytes = route.action
        id: bytes = documents.id + b"%x" % end if documents.id and identity else b""
        if flags & DOCUMENT_ID != 0:
            action = self.action(route, attributes, flags, self.options.traces_dynamic_id, False, id)
        elif id:
            action = route.with_id(id)
        pieces: list[bytes] = [action, b'{"@timestamp":', timestamp_text(time), route.data_stream, identity]
        if dropped != 0:
            pieces.append(b',"dropped_attributes_count":%d' % dropped)
        if name:
            text: bytes = json_string(name)
            pieces.append(b',"event_name":' + text)
            own = Attribute(b"event.name", b'"event.name":' + text, 0, None, 0)
            if flags & EVENT_NAME != 0:
                attributes = [own if attribute.flags & EVENT_NAME != 0 else attribute for attribute in attributes]
            else:
                attributes.append(own)
        if attributes:
            pieces.append(b',"attributes":' + attributes_json(attributes, flags))
        pieces.append(origin.fields)
        pieces.append(b"}\n")
        documents.lines.append(b"".join(pieces))
        documents.items.append(0)

    def _link(self, data: bytes, pos: int, end: int) -> bytes:
        attributes: list[Attribute] = []
        flags: int = 0
        keys: int = 0
        doubtful: bool = False
        dropped: int = 0
        trace_id: bytes = b""
        span_id: bytes = b""
        state: bytes = b""
        while pos < end:
            tag, pos = read_varint(data, pos)
            if tag & 7 == 2:
                size, pos = read_varint(data, pos)
                stop: int = pos + size
                if stop > end:
                    raise MalformedPayload("a field is longer than its message", pos)
                if tag == 34:
                    attribute: Attribute = self.memory.find(data[pos:stop])
                    flags |= attribute.flags
                    bit: int = attribute.bit
                    if bit == 0 or keys & bit != 0:
                        doubtful = True
                    keys |= bit
                    attributes.append(attribute)
                elif tag == 10:
                    trace_id = data[pos:stop]
                elif tag == 18:
                    span_id = data[pos:stop]
                elif tag == 26:
                    state = data[pos:stop]
                pos = stop
            elif tag == 40:
                dropped, pos = read_varint(data, pos)
            else:
                pos = skip(data, pos, tag & 7)
        members: list[bytes] = []
        if trace_id and trace_id != NO_TRACE:
            members.append(b'"trace_id":"' + hexlify(trace_id) + b'"')
        if span_id and span_id != NO_SPAN:
            members.append(b'"span_id":"' + hexlify(span_id) + b'"')
        if state:
            members.append(b'"trace_state":' + json_string(state))
        if attributes:
            members.append(b'"attributes":' + attributes_json(unique(attributes) if doubtful else attributes, flags))
        if dropped & 0xFFFFFFFF != 0:
            members.append(b'"dropped_attributes_count":%d' % (dropped & 0xFFFFFFFF))
        return b"{" + b",".join(members) + b"}"


def _status(message: bytes, code: int) -> bytes:
    if not message and code == 0:
        return b',"status":{}'
    members: list[bytes] = []
    if message:
        members.append(b'"message":' + json_string(message))
    if code == 1:
        members.append(b'"code":"Ok"')
    elif code == 2:
        members.append(b'"code":"Error"')
    return b',"status":{' + b",".join(members) + b"}"
