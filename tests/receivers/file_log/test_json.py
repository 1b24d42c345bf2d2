"""json_parser beside the standard library's decoder: the same maps, types and errors, whatever the text."""

import json
import logging
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from heliograph.config.decode import from_plain
from heliograph.receivers.file_log.operators.entry import Entry
from heliograph.receivers.file_log.operators.parsers import JsonParser, JsonParserConfig

NUMBERS = some.integers(-(2**70), 2**70) | some.floats(allow_nan=True) | some.just(-0.0)
VALUES = some.recursive(
    some.none() | some.booleans() | NUMBERS | some.text(some.characters(), max_size=8),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
TEXTS = some.dictionaries(some.text(max_size=4), VALUES, max_size=5).map(json.dumps) | some.text(
    some.sampled_from('{}[]":,-0123456789.eE \n\\ud8natrulsNI'), max_size=24
)


def expected(text: str, ints: bool) -> Any:
    """What the standard library reads; None for what is refused."""

    def whole(digits: str) -> int | float:
        return int(digits) if ints and -(2**63) <= int(digits) < 2**63 else float(digits)

    def refuse(name: str) -> float:
        raise ValueError(name)

    try:
        found = json.loads(text, parse_int=whole, parse_constant=refuse)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def exactly(value: Any) -> Any:
    """A form in which -0.0, 0.0, 0 and False differ."""
    if isinstance(value, dict):
        return {name: exactly(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return type(value).__name__, value, math.copysign(1, value) if isinstance(value, float) else 0


@pytest.mark.parametrize("ints", [False, True])
def test_as_the_standard_library(ints: bool) -> None:
    """Also for numbers beyond 64 bits, infinities, -0, lone surrogates, and texts that are no JSON."""
    parser = JsonParser(from_plain(JsonParserConfig, {"type": "json_parser", "parse_ints": ints}), logging.getLogger())

    @given(TEXTS)
    @example('{"a":-0,"b":[-0,0,-0.0,1e400],"c":"\\ud800","d":18446744073709551616,"e":-0e1}')
    @example('{"a":1,"a":2} ')
    @example('{"a":' + "9" * 400 + "}")
    @example('{"when":"2026-01-01","n":9223372036854775808}')
    def same(text: str) -> None:
        try:
            found = parser.parse(text, Entry("", 0))
        except ValueError:
            found = None
        assert exactly(found) == exactly(expected(text, ints))

    same()
