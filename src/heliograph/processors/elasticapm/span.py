"""The walk over the bytes of a span: finds what the plan depends on, appends what the plan says.

Spans of one operation say mostly the same, so the plan for a combination of interesting attributes is remembered,
bounded in number and size. What differs in each span (time, ids, name) is written here. Fields that nobody looks at are
copied as they are.
"""

from binascii import hexlify
from struct import Struct
from typing import Final

from heliograph.otlp.attributes import Value, decode_key_value, encode_key_value
from heliograph.otlp.wire import LENGTH, field, read_varint, skip, varint
from heliograph.processors.elasticapm.config import ElasticApmConfig
from heliograph.processors.elasticapm.facts import VALUED
from heliograph.processors.elasticapm.plan import CLIENT, CONSUMER, INTERESTING, PRODUCER, SERVER, Plan, Planner
from heliograph.processors.elasticapm.span_event import enrich_event

_REMEMBERED: Final = 4096  # plans
_REMEMBERED_BYTES: Final = 2048  # of what one plan depends on
_U64: Final = Struct("<Q")

_SPAN_ID: Final = 2 << 3 | LENGTH
_TRACESTATE: Final = 3 << 3 | LENGTH
_PARENT: Final = 4 << 3 | LENGTH
_NAME: Final = 5 << 3 | LENGTH
_KIND: Final = 6 << 3
_START: Final = 7 << 3 | 1
_END: Final = 8 << 3 | 1
_ATTRIBUTE: Final = 9 << 3 | LENGTH
_EVENT: Final = 11 << 3 | LENGTH
_LINK: Final = 13 << 3 | LENGTH
_STATUS: Final = 15 << 3 | LENGTH
_FLAGS: Final = 16 << 3 | 5
_KEY: Final = 1 << 3 | LENGTH  # of an attribute, nearly always its first field
_VALUE: Final = 1
_PRESENCE: Final = 2
_ADDRESS: Final = 3
_ADDRESSES: Final = frozenset(("url.full", "http.url", "http.target", "url.path", "url.query"))
_INTERESTING: Final[dict[bytes, int]] = {
    key.encode(): _ADDRESS if key in _ADDRESSES else _VALUE if key in VALUED else _PRESENCE for key in INTERESTING
}


def _key(name: str) -> bytes:
    return field(1, name.encode())


def _heads(name: str) -> list[bytes]:
    """What stands before a whole number of 0 to 10 bytes in a span's attribute."""
    key = _key(name)
    return [b"%c%c%b\x12%c\x18" % (_ATTRIBUTE, len(key) + size + 3, key, size + 1) for size in range(11)]


_TIMESTAMP_US: Final = _heads("timestamp.us")
_TRANSACTION_DURATION: Final = _heads("transaction.duration.us")
_SPAN_DURATION: Final = _heads("span.duration.us")
_TRANSACTION_NAME: Final = _key("transaction.name")
_TRANSACTION_ID: Final = _key("transaction.id")
_NO_SPAN_ID: Final = bytes(8)
_TRANSACTION_ID_HEAD: Final = b"%c%c%b\x12\x12\x0a\x10" % (_ATTRIBUTE, len(_TRANSACTION_ID) + 20, _TRANSACTION_ID)


def _number(heads: list[bytes], value: int) -> bytes:
    """An attribute of a span with a whole number."""
    text = varint(value)
    return heads[len(text)] + text


def _text(key: bytes, value: bytes) -> bytes:
    text = b"\x0a" + varint(len(value)) + value
    return field(9, key + b"\x12" + varint(len(text)) + text)


class SpanEnricher:
    """Enriches serialized spans by one configuration."""

    def __init__(self, config: ElasticApmConfig) -> None:
        self._planner = Planner(config)
        self._events = config.span_event
        self._plans: dict[tuple[object, ...], Plan] = {}

    def enrich(self, span: bytes) -> bytes:
        """The span with what is missing. Raises MalformedPayload for bytes that are no span."""
        span_id = tracestate = parent = name = status = b""
        kind = start = end_time = flags = 0
        found: list[bytes] = []
        addresses: list[int] = []  # places in `found`
        events = links = False
        pos, size = 0, len(span)
        while pos < size:
            tag = span[pos]
            pos += 1
            if tag > 127:
                tag, pos = read_varint(span, pos - 1)
            if tag & 7 == LENGTH:
                end = span[pos]
                pos += 1
                if end > 127:
                    end, pos = read_varint(span, pos - 1)
                end += pos
                if tag == _ATTRIBUTE:
                    if span[pos] == _KEY and span[pos + 1] < 128:
                        key_end = pos + 2 + span[pos + 1]
                        wanted = _INTERESTING.get(span[pos + 2 : key_end], 0)
                        if wanted:
                            if wanted == _ADDRESS:
                                addresses.append(len(found))
                            found.append(span[pos:key_end] if wanted == _PRESENCE else span[pos:end])
                    elif decode_key_value(span[pos:end])[0] in INTERESTING:
                        found.append(span[pos:end])
                elif tag == _NAME:
                    name = span[pos:end]
                elif tag == _SPAN_ID:
                    span_id = span[pos:end]
                elif tag == _PARENT:
                    parent = span[pos:end]
                elif tag == _STATUS:
                    status = span[pos:end]
                elif tag == _EVENT:
                    events = True
                elif tag == _TRACESTATE:
                    tracestate = span[pos:end]
                elif tag == _LINK:
                    links = True
                pos = end
            elif tag == _START:
                start = _U64.unpack_from(span, pos)[0]
                pos += 8
            elif tag == _END:
                end_time = _U64.unpack_from(span, pos)[0]
                pos += 8
            elif tag == _KIND:
                kind = span[pos]
                pos += 1
                if kind > 127:
                    kind, pos = read_varint(span, pos - 1)
            elif tag == _FLAGS:
                flags = int.from_bytes(span[pos : pos + 4], "little")
                pos += 4
            else:
                pos = skip(span, pos, tag & 7)
        root = not parent.strip(b"\0")
        if addresses and (kind not in (CLIENT, PRODUCER) if root else kind in (SERVER, CONSUMER) and not flags & 0x100):
            for place in addresses:  # a transaction that is no call: that there is a URL is enough
                found[place] = found[place][: 2 + found[place][1]]
        plan = self._plan((kind, status, root, flags & 0x300, tracestate, *found), found)
        if events or plan.removed or plan.clear_id or plan.clear_name or (links and plan.infers):
            span = self._rewritten(span, plan)
        pieces = [span, plan.added]
        if plan.timestamp:
            pieces.append(_number(_TIMESTAMP_US, start // 1000))
        if plan.transaction_duration or plan.span_duration:
            duration = _microseconds(start, end_time)
            if plan.transaction_duration:
                pieces.append(_number(_TRANSACTION_DURATION, duration))
            if plan.span_duration:
                pieces.append(_number(_SPAN_DURATION, duration))
        if plan.transaction_id:
            if len(span_id) == 8 and span_id != _NO_SPAN_ID:
                pieces.append(_TRANSACTION_ID_HEAD)
                pieces.append(hexlify(span_id))
            else:
                pieces.append(_text(_TRANSACTION_ID, hexlify(span_id) if span_id.strip(b"\0") else b""))
        if plan.transaction_name and name:
            pieces.append(_text(_TRANSACTION_NAME, name))
        return b"".join(pieces)

    def _plan(self, key: tuple[object, ...], found: list[bytes]) -> Plan:
        plan = self._plans.get(key)
        if plan is not None:
            return plan
        kind, status, root, flags, tracestate = key[:5]
        assert isinstance(kind, int)
        assert isinstance(status, bytes)
        assert isinstance(flags, int)
        assert isinstance(tracestate, bytes)
        attributes: list[tuple[str, Value]] = [decode_key_value(attribute) for attribute in found]
        plan = self._planner.plan(
            attributes, kind, _status_code(status), bool(root), flags, tracestate.decode("utf-8", "replace")
        )
        if sum(map(len, found)) + len(status) + len(tracestate) <= _REMEMBERED_BYTES:
            if len(self._plans) >= _REMEMBERED:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _rewritten(self, span: bytes, plan: Plan) -> bytes:
        """The span without what is taken away, and its events enriched."""
        pieces: list[bytes] = []
        children: list[Value] = []
        pos, size = 0, len(span)
        while pos < size:
            start = pos
            tag, pos = read_varint(span, pos)
            end = skip(span, pos, tag & 7)
            if tag == _EVENT:
                _, begin = read_varint(span, pos)
                pieces.append(field(11, enrich_event(span[begin:end], plan, self._events)))
            elif tag == _ATTRIBUTE and plan.removed:
                _, begin = read_varint(span, pos)
                if decode_key_value(span[begin:end])[0] not in plan.removed:
                    pieces.append(span[start:end])
            elif tag == _LINK and plan.infers:
                _, begin = read_varint(span, pos)
                child = _child(span[begin:end])
                if child:
                    children.append(child)
                else:
                    pieces.append(span[start:end])
            elif not ((tag == _SPAN_ID and plan.clear_id) or (tag == _NAME and plan.clear_name)):
                pieces.append(span[start:end])
            pos = end
        if children:
            pieces.append(encode_key_value(9, "child.id", children))
        return b"".join(pieces)


def _microseconds(start: int, end: int) -> int:
    """Of the time between, negative when it ends before it starts; rounded towards zero."""
    duration = (end - start) & 0xFFFFFFFFFFFFFFFF
    if duration >> 63:
        return -(((1 << 64) - duration) // 1000)
    return duration // 1000


def _status_code(status: bytes) -> int:
    code = 0
    pos, size = 0, len(status)
    while pos < size:
        tag, pos = read_varint(status, pos)
        if tag == 3 << 3:
            code, pos = read_varint(status, pos)
        else:
            pos = skip(status, pos, tag & 7)
    return code


def _child(link: bytes) -> str:
    """The id of the span behind a link that marks it as a child, else ""."""
    span_id, child = b"", None
    pos, size = 0, len(link)
    while pos < size:
        tag, pos = read_varint(link, pos)
        end = skip(link, pos, tag & 7)
        if tag in (_SPAN_ID, 4 << 3 | LENGTH):
            _, begin = read_varint(link, pos)
            if tag == _SPAN_ID:
                span_id = link[begin:end]
            elif child is None:
                key, value = decode_key_value(link[begin:end])
                if key in ("is_child", "elastic.is_child"):
                    child = value
        pos = end
    return span_id.hex() if child is True and span_id.strip(b"\0") else ""
