"""Attribute values go to AnyValue and back unchanged, as bytes and as official messages."""

import math
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from heliograph.otlp.attributes import (
    decode_any_value,
    decode_attributes,
    decode_key_value,
    encode_any_value,
    encode_attributes,
    encode_key_value,
    from_any_value,
    to_any_value,
)
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.wire import field

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | TEXT | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def typed(value: Any) -> Any:
    """The value with its types and the order of its maps: True is not 1, 1 is not 1.0, -0.0 is not 0.0."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, dict):
        return {"pairs": [(key, typed(item)) for key, item in value.items()]}
    return type(value), struct.pack("<d", value) if isinstance(value, float) else value


@settings(max_examples=300, deadline=None)
@given(value=VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    """By our own walk, and by the official class in both directions."""
    data = encode_any_value(value)
    assert typed(decode_any_value(data)) == typed(value)
    message = AnyValue.FromString(data)
    assert typed(from_any_value(message)) == typed(value)
    assert to_any_value(value, AnyValue(string_value="old")) == message
    assert typed(decode_any_value(message.SerializeToString())) == typed(value)


@settings(max_examples=100, deadline=None)
@given(pairs=st.dictionaries(TEXT, VALUES, max_size=6))
def test_attributes_keep_keys_values_and_order(pairs: dict[str, Any]) -> None:
    found = decode_attributes(encode_attributes(pairs))
    assert [(key, typed(value)) for key, value in found] == [(key, typed(value)) for key, value in pairs.items()]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "bool_value"),
        (False, "bool_value"),
        (1, "int_value"),
        (0, "int_value"),
        (0.0, "double_value"),
        ("", "string_value"),
        (b"", "bytes_value"),
        ([], "array_value"),
        ({}, "kvlist_value"),
        (None, None),
    ],
)
def test_the_kind_of_small_and_empty_values(value: Any, kind: str | None) -> None:
    """Zero, empty and false are values; only None has no kind."""
    data = encode_any_value(value)
    assert AnyValue.FromString(data).WhichOneof("value") == kind
    assert typed(decode_any_value(data)) == typed(value)


def test_nan_stays() -> None:
    found = decode_any_value(encode_any_value(math.nan))
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1, 10**40])
def test_integers_outside_64_bits_become_text(number: int) -> None:
    assert decode_any_value(encode_any_value(number)) == str(number)


def test_other_types_are_refused() -> None:
    for value in (object(), {1}, 1j, [object()], {"a": object()}):
        with pytest.raises(TypeError, match="cannot be"):
            encode_any_value(value)


def test_keys_said_twice_stay_in_a_list_of_pairs() -> None:
    assert decode_attributes(encode_key_value(1, "a", 1) + encode_key_value(1, "a", 2)) == [("a", 1), ("a", 2)]


def test_the_last_kind_of_a_oneof_wins() -> None:
    assert decode_any_value(encode_any_value("text") + encode_any_value(7)) == 7
    assert decode_any_value(encode_any_value([1]) + encode_any_value([2])) == [1, 2]


@pytest.mark.parametrize(
    ("wrap", "wrap_bytes"),
    [
        (lambda value: [value], lambda data: field(5, field(1, data))),
        (lambda value: {"": value}, lambda data: field(6, field(1, field(2, data)))),
    ],
    ids=["lists", "maps"],
)
def test_nesting_has_a_limit(wrap: Callable[[Any], Any], wrap_bytes: Callable[[bytes], bytes]) -> None:
    """Fifty levels are read, more are malformed, however many: no RecursionError."""
    value: Any = "leaf"
    data = encode_any_value(value)
    for _ in range(50):
        value = wrap(value)
        data = wrap_bytes(data)
    assert decode_any_value(data) == value
    for _ in range(5_000):
        data = wrap_bytes(data)
        with pytest.raises(MalformedPayload, match="too deep"):
            decode_any_value(data)


def test_text_that_is_no_utf8_is_malformed() -> None:
    pair = bytearray(KeyValue(key="kkkk").SerializeToString())
    pair[-1] = 0xFF
    with pytest.raises(MalformedPayload, match="UTF-8"):
        decode_key_value(bytes(pair))
