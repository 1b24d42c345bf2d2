"""The checker's table says what the official descriptors say."""

from typing import Any

from heliograph.otlp.messages import request_class
from heliograph.otlp.schema import MESSAGES

_TYPES = {1: "fixed64", 3: "varint", 4: "varint", 5: "varint", 6: "fixed64", 7: "fixed32", 8: "varint", 9: "text"}
_TYPES |= {12: "bytes", 13: "varint", 14: "varint", 15: "fixed32", 16: "fixed64", 17: "varint", 18: "varint"}


def _described(descriptor: Any, found: dict[str, dict[int, str]]) -> None:
    if descriptor.name in found:
        return
    fields = found.setdefault(descriptor.name, {})
    for field in descriptor.fields:
        if field.message_type:
            fields[field.number] = field.message_type.name
            _described(field.message_type, found)
        else:
            packed = "packed " if field.is_repeated and field.is_packed else ""
            fields[field.number] = packed + _TYPES[field.type]


def test_every_field_of_every_message_is_in_the_table_with_its_type() -> None:
    found: dict[str, dict[int, str]] = {}
    for signal in ("traces", "metrics", "logs"):
        _described(request_class(signal).DESCRIPTOR, found)
    # a field newer than the installed opentelemetry-proto may be in the table only
    for name, fields in found.items():
        assert fields.items() <= MESSAGES[name].items(), name
    assert set(found) == set(MESSAGES)
