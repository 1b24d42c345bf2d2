"""The walk over an Export*ServiceRequest: checks all of it, counts its items and cuts it into Resource* parts.

This is the hottest code of a forwarder, written for mypyc: machine integers, bytes, one function that calls itself,
one table (otlp/schema.py). As plain Python it does the same thirty times slower, so otlp/check.py decides who is asked.
"""

from typing import TYPE_CHECKING, Final

from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.schema import (
    COUNTED,
    FIRST_ROW,
    MALFORMED,
    PACKED_FIXED64,
    PACKED_VARINT,
    REQUEST_ROWS,
    SKIP_BYTES,
    SKIP_FIXED32,
    SKIP_FIXED64,
    SKIP_VARINT,
    TABLE,
    TEXT,
    WRONG_TYPE,
)

if TYPE_CHECKING:
    from mypy_extensions import i64

DEPTH_LIMIT: Final = 100
"""Messages within messages below the request, as the official parser allows."""


def walk(signal: str, body: bytes) -> "tuple[list[bytes], int]":
    """(serialized Resource* messages, number of items) of a request body.

    signal: "traces", "metrics" or "logs". Raises MalformedPayload with the offset in `body`.
    """
    parts: list[bytes] = []
    row: i64 = REQUEST_ROWS[signal]
    items = _walk(body, 0, len(body), row, 0, parts)
    return parts, items


def _walk(data: bytes, pos: "i64", end: "i64", row: "i64", depth: "i64", parts: "list[bytes] | None") -> "i64":
    """Check the message of type `row` in data[pos:end]; the number of items in it."""
    items: i64 = 1 if row >= COUNTED else 0
    base: i64 = row << 8
    while pos < end:
        start: i64 = pos
        tag: i64 = data[pos]
        pos += 1
        if tag >= 128:
            tag, pos = _long_number(data, pos, end, tag, 5, start)
            if tag > 0xFFFFFFFF:
                raise MalformedPayload("field number too big", start)
        if tag < 256:
            action: i64 = TABLE[base + tag]
        else:
            action = TABLE[base + (31 << 3) + (tag & 7)]
        if action >= SKIP_BYTES and action != WRONG_TYPE:
            if pos >= end:
                raise MalformedPayload("field cut off", start)
            length: i64 = data[pos]
            pos += 1
            if length >= 128:
                length, pos = _long_number(data, pos, end, length, 5, start)
            begin: i64 = pos
            pos += length
            if pos > end:
                raise MalformedPayload("field cut off", start)
            if action >= FIRST_ROW:
                if depth >= DEPTH_LIMIT:
                    raise MalformedPayload("messages nested too deep", start)
                items += _walk(data, begin, pos, action - FIRST_ROW, depth + 1, None)
                if parts is not None:
                    parts.append(data[begin:pos])
            elif action == TEXT:
                _text(data, begin, pos)
            elif action == PACKED_FIXED64:
                if length & 7:
                    raise MalformedPayload("list of 8-byte numbers with a part of one", start)
            elif action == PACKED_VARINT:
                _packed(data, begin, pos)
        elif action == SKIP_VARINT:
            if pos >= end:
                raise MalformedPayload("field cut off", start)
            if data[pos] < 128:
                pos += 1
            else:
                pos = _skip_long(data, pos, end, start)
        elif action == SKIP_FIXED64:
            pos += 8
        elif action == SKIP_FIXED32:
            pos += 4
        elif action == MALFORMED:
            raise MalformedPayload("field number 0" if tag < 8 else f"wire type {tag & 7} is not allowed", start)
        else:
            raise MalformedPayload(f"wrong wire type {tag & 7} of field {tag >> 3}", start)
    if pos > end:
        raise MalformedPayload("field cut off", end)
    return items


def _long_number(data: bytes, pos: "i64", end: "i64", first: "i64", limit: "i64", start: "i64") -> "tuple[i64, i64]":
    """A tag or length of more than one byte: (value, position behind it)."""
    value: i64 = first & 127
    shift: i64 = 7
    last: i64 = shift * limit
    while pos < end:
        byte: i64 = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += 7
        if shift >= last:
            raise MalformedPayload("tag or length too long", start)
    raise MalformedPayload("field cut off", start)


def _skip_long(data: bytes, pos: "i64", end: "i64", start: "i64") -> "i64":
    """The position behind a number of at most ten bytes."""
    limit: i64 = pos + 10
    while pos < end:
        if pos == limit:
            raise MalformedPayload("number longer than ten bytes", start)
        byte: i64 = data[pos]
        pos += 1
        if byte < 128:
            return pos
    raise MalformedPayload("number cut off", start)


def _packed(data: bytes, pos: "i64", end: "i64") -> None:
    while pos < end:
        pos = _skip_long(data, pos, end, pos)


def _text(data: bytes, begin: "i64", end: "i64") -> None:
    """Text is nearly always ASCII: copying it out only to find that would cost more than the rest of the walk."""
    pos: i64 = begin
    while pos + 4 <= end:
        if (data[pos] | data[pos + 1] | data[pos + 2] | data[pos + 3]) & 128:
            _not_ascii(data, begin, end)
            return
        pos += 4
    while pos < end:
        if data[pos] & 128:
            _not_ascii(data, begin, end)
            return
        pos += 1


def _not_ascii(data: bytes, begin: "i64", end: "i64") -> None:
    try:
        data[begin:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedPayload("text that is no UTF-8", begin + error.start) from None
