"""One attribute value or log body: AnyValue bytes in, JSON out. No protobuf objects.

A value is read once into a `Value` (which alternative, and its bytes or number), then written as JSON (`value_json`)
or as one text (`value_text`, what upstream calls AsString: used for names of data streams and documents, and for
maps on metric documents, which Elasticsearch does not take as objects there).

Bytes that are no AnyValue raise MalformedPayload (or IndexError where they end too early: the encoder turns that
into MalformedPayload), also when values are nested deeper than MAX_DEPTH.
"""

from base64 import b64encode
from math import isfinite
from struct import unpack_from
from typing import Final

from heliograph.exporters.elasticsearch.json_text import float_text, json_string, plain_float, plain_string
from heliograph.otlp.errors import MalformedPayload

EMPTY: Final = 0
STRING: Final = 1
BOOL: Final = 2
INT: Final = 3
DOUBLE: Final = 4
ARRAY: Final = 5
MAP: Final = 6
BYTES: Final = 7

MAX_DEPTH: Final = 120


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """The unsigned varint at `pos` and where it ends."""
    result: int = 0
    shift: int = 0
    while True:
        byte: int = data[pos]
        pos += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result & 0xFFFFFFFFFFFFFFFF, pos
        shift += 7
        if shift > 63:
            raise MalformedPayload("a varint is longer than ten bytes", pos)


def skip(data: bytes, pos: int, wire: int) -> int:
    """Where a varint or fixed-size field of this wire type ends."""
    if wire == 0:
        while data[pos] >= 128:
            pos += 1
        return pos + 1
    if wire == 1:
        return pos + 8
    if wire == 5:
        return pos + 4
    raise MalformedPayload(f"wire type {wire} is not used by OTLP", pos)


def skip_any(data: bytes, pos: int, tag: int) -> int:
    """Where a field of any wire type ends, `pos` being behind its tag."""
    if tag & 7 != 2:
        return skip(data, pos, tag & 7)
    size, pos = read_varint(data, pos)
    return pos + size


def signed(number: int) -> int:
    """A 64-bit varint as int64."""
    return number - 18446744073709551616 if number >= 9223372036854775808 else number


class Value:
    """What an AnyValue holds. raw: the bytes of a string, bytes, array or map; number: a bool or int."""

    def __init__(self) -> None:
        self.kind: int = EMPTY
        self.raw: bytes = b""
        self.number: int = 0
        self.real: float = 0.0


def read_value(data: bytes, pos: int, end: int) -> Value:
    """Read the AnyValue in data[pos:end]; of several alternatives the last counts."""
    value = Value()
    while pos < end:
        tag: int = data[pos]
        pos += 1
        if tag >= 128:
            tag, pos = read_varint(data, pos - 1)
        wire: int = tag & 7
        if wire == 2:
            size: int = data[pos]
            pos += 1
            if size >= 128:
                size, pos = read_varint(data, pos - 1)
            stop: int = pos + size
            if stop > end:
                raise MalformedPayload("a field is longer than its message", pos)
            if tag == 10:
                value.kind = STRING
            elif tag == 42:
                value.kind = ARRAY
            elif tag == 50:
                value.kind = MAP
            elif tag == 58:
                value.kind = BYTES
            else:
                pos = stop
                continue
            value.raw = data[pos:stop]
            pos = stop
        elif tag == 24 or tag == 16:
            value.number, pos = read_varint(data, pos)
            value.kind = INT if tag == 24 else BOOL
        elif tag == 33:
            value.kind = DOUBLE
            if pos + 8 > end:
                raise MalformedPayload("a double is cut off", pos)
            value.real = unpack_from("<d", data, pos)[0]
            pos += 8
        else:
            pos = skip(data, pos, wire)
    return value


def items_of(raw: bytes) -> list[bytes]:
    """The messages in field 1: values of an ArrayValue, pairs of a KeyValueList."""
    found: list[bytes] = []
    pos: int = 0
    end: int = len(raw)
    while pos < end:
        tag, pos = read_varint(raw, pos)
        if tag & 7 != 2:
            pos = skip(raw, pos, tag & 7)
            continue
        size, pos = read_varint(raw, pos)
        if pos + size > end:
            raise MalformedPayload("a field is longer than its message", pos)
        if tag == 10:
            found.append(raw[pos : pos + size])
        pos += size
    return found


def read_pair(pair: bytes) -> tuple[bytes, Value]:
    """Key and value of a KeyValue."""
    key: bytes = b""
    start: int = 0
    stop: int = 0
    pos: int = 0
    end: int = len(pair)
    while pos < end:
        tag: int = pair[pos]
        pos += 1
        if tag >= 128:
            tag, pos = read_varint(pair, pos - 1)
        if tag & 7 != 2:
            pos = skip(pair, pos, tag & 7)
            continue
        size: int = pair[pos]
        pos += 1
        if size >= 128:
            size, pos = read_varint(pair, pos - 1)
        if pos + size > end:
            raise MalformedPayload("a field is longer than its message", pos)
        if tag == 10:
            key = pair[pos : pos + size]
        elif tag == 18:
            start = pos
            stop = pos + size
        pos += size
    return key, read_value(pair, start, stop)


def value_json(value: Value, stringify: bool, depth: int) -> bytes:
    """The value as JSON. stringify: maps become texts (metric documents). depth: 0 from outside."""
    kind: int = value.kind
    if kind == STRING:
        return json_string(value.raw)
    if kind == INT:
        return b"%d" % signed(value.number)
    if kind == DOUBLE:
        return float_text(value.real)
    if kind == BOOL:
        return b"true" if value.number != 0 else b"false"
    if kind == BYTES:
        return b'"' + value.raw.hex().encode("ascii") + b'"'
    if kind == EMPTY:
        return b"null"
    if depth >= MAX_DEPTH:
        raise MalformedPayload(f"values are nested deeper than {MAX_DEPTH}")
    pieces: list[bytes] = []
    if kind == ARRAY:
        for item in items_of(value.raw):
            pieces.append(value_json(read_value(item, 0, len(item)), stringify, depth + 1))
        return b"[" + b",".join(pieces) + b"]"
    if stringify:
        return json_string(value_text(value))
    for pair in items_of(value.raw):
        key, inner = read_pair(pair)
        pieces.append(json_string(key) + b":" + value_json(inner, False, depth + 1))
    return b"{" + b",".join(pieces) + b"}"


def value_text(value: Value) -> bytes:
    """The value as one text: strings and numbers as they are, bytes in base64, arrays and maps as plain JSON with
    sorted keys (nothing when a NaN or an infinity is in it, as upstream)."""
    kind: int = value.kind
    if kind == STRING:
        return value.raw
    if kind == INT:
        return b"%d" % signed(value.number)
    if kind == BOOL:
        return b"true" if value.number != 0 else b"false"
    if kind == BYTES:
        return b64encode(value.raw)
    if kind == EMPTY:
        return b""
    if kind == DOUBLE:
        if value.real != value.real:
            return b"NaN"
        if not isfinite(value.real):
            return b"Infinity" if value.real > 0.0 else b"-Infinity"
        return plain_float(value.real)
    try:
        return _plain_json(value, 0)
    except ValueError as error:
        if isinstance(error, MalformedPayload):
            raise
        return b""


def _plain_json(value: Value, depth: int) -> bytes:
    kind: int = value.kind
    if kind == STRING:
        return plain_string(value.raw)
    if kind == EMPTY:
        return b"null"
    if kind == BYTES:
        return b'"' + b64encode(value.raw) + b'"'
    if kind == DOUBLE:
        if not isfinite(value.real):
            raise ValueError("JSON has no such number")
        return plain_float(value.real)
    if kind != ARRAY and kind != MAP:
        return value_text(value)
    if depth >= MAX_DEPTH:
        raise MalformedPayload(f"values are nested deeper than {MAX_DEPTH}")
    if kind == ARRAY:
        pieces: list[bytes] = []
        for item in items_of(value.raw):
            pieces.append(_plain_json(read_value(item, 0, len(item)), depth + 1))
        return b"[" + b",".join(pieces) + b"]"
    members: dict[bytes, bytes] = {}
    for pair in items_of(value.raw):
        key, inner = read_pair(pair)
        members[key] = _plain_json(inner, depth + 1)
    return b"{" + b",".join([plain_string(key) + b":" + members[key] for key in sorted(members)]) + b"}"
