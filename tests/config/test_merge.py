"""Merging configurations as upstream does."""

import pytest

from heliograph.component.config import Origin
from heliograph.config.merge import merge, unfolded
from heliograph.config.tree import parse


@pytest.mark.parametrize(
    ("earlier", "later", "result"),
    [
        ("{a: {b: 1, c: 2}}", "{a: {c: 3, d: 4}}", {"a": {"b": 1, "c": 3, "d": 4}}),
        ("{a: [1, 2]}", "{a: [3]}", {"a": [3]}),
        ("{a: {b: 1}}", "{a: null}", {"a": None}),
        ("{a: null}", "{a: {b: 1}}", {"a": {"b": 1}}),
        ("{a: {b: 1}}", "{a: text}", {"a": "text"}),
        ("{a: 1}", "{b: 2}", {"a": 1, "b": 2}),
        ("{a: {b: 1}}", "{a::b: 2, 'c::d::e': 3}", {"a": {"b": 2}, "c": {"d": {"e": 3}}}),
        ("{a: {b: {c: 1}}}", "{a: {b::d: 2}}", {"a": {"b": {"c": 1, "d": 2}}}),
    ],
)
def test_maps_are_merged_and_everything_else_is_replaced(earlier: str, later: str, result: object) -> None:
    """Deep maps, replaced lists, nulls that reset, keys with ::."""
    merged = merge(parse(earlier, Origin("a")), unfolded(parse(later, Origin("b"))))
    assert merged.plain() == result


def test_origins_and_paths_survive_a_merge() -> None:
    """Each value keeps the file it came from, and an unfolded key has the whole path."""
    merged = merge(parse("{a: {b: 1}}", Origin("one")), unfolded(parse("a::c: 2", Origin("two"))))
    assert isinstance(merged.value, dict)
    inner = merged.value["a"].value
    assert isinstance(inner, dict)
    assert inner["b"].origin.source == "one"
    assert (inner["c"].origin.source, inner["c"].path) == ("two", ("a", "c"))
