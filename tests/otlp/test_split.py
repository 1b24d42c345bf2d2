"""Cutting requests keeps the limit and the count of items, and gives whole messages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.otlp.check import check
from heliograph.otlp.count import count
from heliograph.otlp.request import request
from heliograph.otlp.split import split_bytes, split_items
from payloads import PAYLOADS

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
