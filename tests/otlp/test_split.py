"""Cutting requests keeps the limit, every item below its resource and scope, and their order."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.otlp.check import check
from heliograph.otlp.count import count
from heliograph.otlp.messages import resource_message_class
from heliograph.otlp.request import request
from heliograph.otlp.split import split_bytes, split_items
from payloads import PAYLOADS

Item = tuple[bytes, ...]
"""A record or data point, after everything that stands above it: resource, scope, schema URLs, metric."""

SIGNALS = pytest.mark.parametrize("signal", sorted(PAYLOADS))


@SIGNALS
@settings(max_examples=25, deadline=None)
@given(limit=st.integers(1, 40))
def test_pieces_by_items_are_full_and_complete(signal: str, limit: int) -> None:
    """All pieces but the last hold exactly the limit; together they hold every item."""
    parts, items = check(signal, PAYLOADS[signal]())
    pieces = split_items(signal, parts, limit)
    sizes = [sum(count(signal, part) for part in piece) for piece, _ in pieces]
    assert sizes == [said for _, said in pieces]
    assert sum(sizes) == items
    assert all(size == limit for size in sizes[:-1])
    assert sizes[-1] <= limit


@SIGNALS
@settings(max_examples=25, deadline=None)
@given(limit=st.integers(1, 12000))
def test_pieces_by_bytes_keep_the_limit(signal: str, limit: int) -> None:
    """A piece over the limit holds a single record; together they hold every item."""
    parts, items = check(signal, PAYLOADS[signal]())
    pieces = split_bytes(signal, parts, limit)
    assert sum(said for _, said in pieces) == items
    for piece, said in pieces:
        body = request(piece)
        assert check(signal, body)[1] == said
        assert len(body) <= limit or said == 1


def bare(message: Any, *repeated: str) -> bytes:
    """A message without what is repeated in it."""
    copy = type(message)()
    copy.CopyFrom(message)
    for name in repeated:
        copy.ClearField(name)
    return bytes(copy.SerializeToString())


def items_of(signal: str, parts: Iterable[bytes]) -> list[Item]:
    """Every item of the parts, in order, read by the official classes."""
    scopes, records = {
        "traces": ("scope_spans", "spans"),
        "logs": ("scope_logs", "log_records"),
        "metrics": ("scope_metrics", "metrics"),
    }[signal]
    found: list[Item] = []
    for data in parts:
        part = resource_message_class(signal).FromString(data)
        for scope in getattr(part, scopes):
            above = (bare(part, scopes), bare(scope, records))
            for record in getattr(scope, records):
                if signal != "metrics":
                    found.append((*above, record.SerializeToString()))
                    continue
                kind = record.WhichOneof("data")
                metric = (bare(record, kind), kind.encode(), bare(getattr(record, kind), "data_points"))
                points = getattr(record, kind).data_points
                found.extend((*above, *metric, point.SerializeToString()) for point in points)
    return found


@SIGNALS
@pytest.mark.parametrize("split", [split_items, split_bytes])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pieces_hold_the_items_of_the_input_in_order(
    signal: str, split: Callable[..., list[tuple[list[bytes], int]]], data: st.DataObject
) -> None:
    """One piece after the other gives the items of the input, each below its resource, scope and metric."""
    limit = data.draw(st.integers(0, 40) if split is split_items else st.integers(0, 12000))
    parts, _ = check(signal, PAYLOADS[signal]())
    pieces = split(signal, parts, limit)
    assert items_of(signal, (part for piece, _ in pieces for part in piece)) == items_of(signal, parts)
