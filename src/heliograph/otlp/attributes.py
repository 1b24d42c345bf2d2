"""Attribute values: Python on one side, AnyValue on the other, as bytes or as official messages.

str, bool, int, float, bytes, list, dict and None stand for the kinds of AnyValue (None: no kind set). The order
of a map is kept; so are keys said twice, in lists of pairs.
Source: opentelemetry-proto common.proto.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.wire import FIXED64, LENGTH, VARINT, field, read_varint, skip, varint

Value = str | bool | int | float | bytes | list["Value"] | dict[str, "Value"] | None

_DOUBLE = struct.Struct("<d")
_DEPTH_LIMIT = 100


def encode_any_value(value: Any) -> bytes:
    """A serialized AnyValue. An int outside 64 bits becomes its decimal text. Raises TypeError for other types."""
    if isinstance(value, str):
        return field(1, value.encode("utf-8", "replace"))
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            return field(1, str(value).encode())
        return b"\x18" + varint(value)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return field(7, bytes(value))
    if isinstance(value, Mapping):
        return field(6, encode_attributes(value))
    if isinstance(value, Sequence):
        return field(5, b"".join([field(1, encode_any_value(item)) for item in value]))
    raise TypeError(f"an attribute value cannot be {type(value).__name__}")


def encode_key_value(number: int, key: str, value: Any) -> bytes:
    """A KeyValue as field `number` of a message. Raises TypeError."""
    return field(number, field(1, key.encode("utf-8", "replace")) + field(2, encode_any_value(value)))


def encode_attributes(attributes: Mapping[str, Any], number: int = 1) -> bytes:
    """KeyValues as field `number`; with 1 that is a whole serialized Resource or KeyValueList. Raises TypeError."""
    return b"".join([encode_key_value(number, key, value) for key, value in attributes.items()])


def decode_any_value(data: bytes, depth: int = 0) -> Value:
    """The value of a serialized AnyValue; the last kind wins, as in any oneof. Raises MalformedPayload."""
    if depth > _DEPTH_LIMIT:
        raise MalformedPayload("attribute value nested too deep")
    value: Value = None
    pos, size = 0, len(data)
    while pos < size:
        tag, pos = read_varint(data, pos)
        wire_type = tag & 7
        end = skip(data, pos, wire_type)
        number = tag >> 3
        if wire_type == LENGTH:
            _, begin = read_varint(data, pos)
            payload = data[begin:end]
            if number == 1:
                value = _text(payload)
            elif number == 5:
                items = [decode_any_value(item, depth + 2) for item in _repeated(payload)]
                value = [*value, *items] if isinstance(value, list) else items
            elif number == 6:
                pairs = [decode_key_value(pair, depth + 2) for pair in _repeated(payload)]
                value = {**value, **dict(pairs)} if isinstance(value, dict) else dict(pairs)
            elif number == 7:
                value = payload
        elif wire_type == VARINT and number in (2, 3):
            raw, _ = read_varint(data, pos)
            value = raw != 0 if number == 2 else raw - (1 << 64) if raw >> 63 else raw
        elif wire_type == FIXED64 and number == 4:
            value = _DOUBLE.unpack_from(data, pos)[0]
        pos = end
    return value


def decode_key_value(data: bytes, depth: int = 0) -> tuple[str, Value]:
    """(key, value) of a serialized KeyValue. Raises MalformedPayload."""
    key, value = "", b""
    pos, size = 0, len(data)
    while pos < size:
        tag, pos = read_varint(data, pos)
        end = skip(data, pos, tag & 7)
        if tag in (1 << 3 | LENGTH, 2 << 3 | LENGTH):
            _, begin = read_varint(data, pos)
            if tag >> 3 == 1:
                key = _text(data[begin:end])
            else:
                value += data[begin:end]
        pos = end
    return key, decode_any_value(value, depth)


def decode_attributes(resource: bytes) -> list[tuple[str, Value]]:
    """(key, value) pairs of a serialized Resource, in order, doubles included. Raises MalformedPayload."""
    return [decode_key_value(pair) for pair in _repeated(resource)]


def to_any_value(value: Any, message: Any) -> Any:
    """Set an official AnyValue message to a Python value and return it. Raises TypeError."""
    message.Clear()
    message.MergeFromString(encode_any_value(value))
    return message


def from_any_value(message: Any) -> Value:
    """The Python value of an official AnyValue message."""
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [from_any_value(item) for item in message.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: from_any_value(pair.value) for pair in message.kvlist_value.values}
    value: Value = getattr(message, kind)
    return value


def _repeated(data: bytes) -> list[bytes]:
    """The payloads of field 1."""
    found = []
    pos, size = 0, len(data)
    while pos < size:
        tag, pos = read_varint(data, pos)
        end = skip(data, pos, tag & 7)
        if tag == 1 << 3 | LENGTH:
            _, begin = read_varint(data, pos)
            found.append(data[begin:end])
        pos = end
    return found


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedPayload("text that is no UTF-8") from None
