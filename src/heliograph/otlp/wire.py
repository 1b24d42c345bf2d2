"""The protobuf wire format: variable-length integers, tags and length-delimited fields.

A message is a sequence of fields, each a tag (`number << 3 | wire type`, itself a variable-length integer) and a value.
Source: protobuf.dev/programming-guides/encoding. Numbers here are unsigned 64 bit; the limits are those of the
official parser (10 bytes for a value, 5 for a tag or a length).
"""

from typing import Final

from heliograph.otlp.errors import MalformedPayload

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
START_GROUP: Final = 3
END_GROUP: Final = 4
FIXED32: Final = 5

MASK64: Final = (1 << 64) - 1


_SHORT: Final = [bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7]) for n in range(2048)]


def varint(n: int) -> bytes:
    """An unsigned integer; a negative one is taken as its 64-bit two's complement, as int64 fields are."""
    if n < 0:
        n &= MASK64
    if n < 2048:
        return _SHORT[n]
    out: list[int] = []
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """(value, position behind it). Raises MalformedPayload when it is cut off or longer than ten bytes."""
    start = pos
    size = len(data)
    value = 0
    shift = 0
    while pos < size:
        byte = data[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & MASK64, pos
        shift += 7
        if shift == 70:
            raise MalformedPayload("number longer than ten bytes", start)
    raise MalformedPayload("number cut off", start)


def tag(number: int, wire_type: int) -> bytes:
    """The tag of a field."""
    return varint(number << 3 | wire_type)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field: tag, length, payload."""
    return varint(number << 3 | LENGTH) + varint(len(payload)) + payload


def skip(data: bytes, pos: int, wire_type: int) -> int:
    """The position behind a value that begins at `pos`. Raises MalformedPayload."""
    if wire_type == LENGTH:
        length, begin = read_varint(data, pos)
        end = begin + length
    elif wire_type == VARINT:
        _, end = read_varint(data, pos)
    elif wire_type == FIXED64:
        end = pos + 8
    elif wire_type == FIXED32:
        end = pos + 4
    elif wire_type == START_GROUP:
        end = _skip_group(data, pos)
    else:
        raise MalformedPayload(f"wire type {wire_type} is not known here", pos)
    if end > len(data):
        raise MalformedPayload("field cut off", pos)
    return end


def _skip_group(data: bytes, pos: int) -> int:
    """The position behind a group, a form of message that protobuf gave up long ago."""
    start = pos
    depth = 1
    while pos < len(data):
        number, pos = read_varint(data, pos)
        wire_type = number & 7
        if wire_type == START_GROUP:
            depth += 1
        elif wire_type == END_GROUP:
            depth -= 1
            if depth == 0:
                return pos
        else:
            pos = skip(data, pos, wire_type)
    raise MalformedPayload("group without an end", start)
