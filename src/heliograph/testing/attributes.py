"""Attributes of official messages to and from dictionaries, for tests that compare them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from heliograph.otlp.attributes import from_any_value, to_any_value


def key_values(attributes: Mapping[str, Any]) -> Sequence[Any]:
    """KeyValue messages."""
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

    pairs = []
    for key, value in attributes.items():
        pair = KeyValue(key=key)
        to_any_value(value, pair.value)
        pairs.append(pair)
    return pairs


def plain(pairs: Iterable[Any]) -> dict[str, Any]:
    """A dictionary of KeyValue messages. Raises ValueError when a key is there twice."""
    found: dict[str, Any] = {}
    for pair in pairs:
        if pair.key in found:
            raise ValueError(f"attribute {pair.key!r} is there twice")
        found[pair.key] = from_any_value(pair.value)
    return found
