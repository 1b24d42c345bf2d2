"""Log records as OTLP bytes, written directly: opentelemetry/proto/logs/v1/logs.proto and common/v1/common.proto.

Field numbers used. LogRecord: 1 time, 2 severity number, 3 severity text, 5 body, 6 attributes, 11 observed time.
AnyValue: 1 string, 2 bool, 3 int, 4 double, 5 array, 6 kvlist, 7 bytes. ResourceLogs: 1 resource, 2 scope logs.
ScopeLogs: 1 scope, 2 records. Text that is no valid Unicode (a lone surrogate from JSON) has its bad parts replaced.
"""

import struct
from typing import Final

from heliograph.otlp.wire import varint
from heliograph.receivers.file_log.operators.entry import Entry

_DOUBLE: Final = struct.Struct("<d")
_MAX_DEPTH: Final = 64


_BYTE: Final = tuple(bytes((number,)) for number in range(256))


def field(tag: int, payload: bytes) -> bytes:
    """A length-delimited field; `tag` is field number * 8 + 2 and below 128."""
    length = len(payload)
    return _BYTE[tag] + (_BYTE[length] if length < 128 else varint(length)) + payload


def text(value: str) -> bytes:
    """UTF-8, with what cannot be encoded replaced."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def any_value(value: object, depth: int = 0) -> bytes:
    """The payload of an AnyValue. Beyond 64 levels a value is left empty."""
    if isinstance(value, str):
        return field(0x0A, text(value))
    if value is None or depth > _MAX_DEPTH:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF)
        return b"\x21" + _DOUBLE.pack(float(value) if abs(value) < 10**300 else 0.0)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    if isinstance(value, dict):
        return field(0x32, b"".join([key_value(0x0A, str(name), item, depth + 1) for name, item in value.items()]))
    if isinstance(value, list | tuple):
        return field(0x2A, b"".join([field(0x0A, any_value(item, depth + 1)) for item in value]))
    if isinstance(value, bytes):
        return field(0x3A, value)
    return field(0x0A, text(str(value)))


_NAMES: Final[dict[str, bytes]] = {}
_NAMES_KEPT: Final = 4096


def _name(name: str) -> bytes:
    """The key of a KeyValue as its field. Keys are remembered: they repeat from record to record."""
    found = field(0x0A, text(name))
    if len(name) <= 128:
        if len(_NAMES) >= _NAMES_KEPT:
            _NAMES.clear()
        _NAMES[name] = found
    return found


def key_value(tag: int, name: str, value: object, depth: int = 0) -> bytes:
    """A KeyValue as the field with this tag."""
    key = _NAMES.get(name)
    if key is None:
        key = _name(name)
    if isinstance(value, str):
        raw = text(value)
        size = len(raw)
        if size < 126:
            return field(tag, key + b"\x12" + _BYTE[size + 2] + b"\x0a" + _BYTE[size] + raw)
        return field(tag, key + field(0x12, field(0x0A, raw)))
    if isinstance(value, float):
        return field(tag, key + b"\x12\x09\x21" + _DOUBLE.pack(value))
    return field(tag, key + field(0x12, any_value(value, depth)))


_PAIRS: Final[dict[tuple[str, str], bytes]] = {}
_PAIRS_KEPT: Final = 4096


def attribute(name: str, value: object) -> bytes:
    """An attribute of a LogRecord. Short texts are remembered: most repeat from record to record."""
    if not isinstance(value, str) or len(value) > 256:
        return key_value(0x32, name, value)
    found = _PAIRS.get((name, value))
    if found is None:
        if len(_PAIRS) >= _PAIRS_KEPT:
            _PAIRS.clear()
        found = _PAIRS[name, value] = key_value(0x32, name, value)
    return found


def attributes(values: dict[str, object], tag: int = 0x32) -> bytes:
    """Attributes, each as a field with this tag (LogRecord: 6; Resource: 1, which is 0x0A)."""
    return b"".join([key_value(tag, name, value) for name, value in values.items()])


def record(entry: Entry) -> bytes:
    """The LogRecord of an entry as a field of ScopeLogs."""
    head = b""
    if entry.timestamp:
        head = b"\x09" + (entry.timestamp & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")
    if entry.severity:
        head += b"\x10" + varint(entry.severity)
    if entry.severity_text:
        head += field(0x1A, text(entry.severity_text))
    payload = b"".join(
        (
            head,
            field(0x2A, any_value(entry.body)),
            b"".join([attribute(name, value) for name, value in entry.attributes.items()]),
            key_value(0x32, "log.record.uid", entry.uid) if entry.uid else b"",
            b"\x59",
            entry.observed.to_bytes(8, "little"),
        )
    )
    return b"\x12" + varint(len(payload)) + payload


def resource(values: dict[str, object]) -> bytes:
    """The payload of a Resource."""
    return attributes(values, 0x0A)


def resource_logs(resource_payload: bytes, records: bytes) -> bytes:
    """A ResourceLogs message of one scope without a name; `records` are fields made by `record`."""
    scope_length = len(records) + 2
    return b"".join(
        (
            b"\x0a",
            varint(len(resource_payload)),
            resource_payload,
            b"\x12",
            varint(scope_length),
            b"\x0a\x00",
            records,
        )
    )
