"""The walk and the official parser on mutated requests: they must agree on what is malformed.

The walk may refuse more, but only groups and known fields with another wire type.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph.otlp.count import count
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.messages import request_class
from heliograph.otlp.request import request
from heliograph.otlp.resource import resource_of, with_resource
from heliograph.otlp.split import split_bytes, split_items
from heliograph.otlp.walk import walk
from payloads import PAYLOADS

SEEDS = {signal: make(1) for signal, make in PAYLOADS.items()}
EXAMPLES = int(os.environ.get("HELIOGRAPH_FUZZ_EXAMPLES", "400"))
BOUNDED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def _official(signal: str, body: bytes) -> bool:
    from google.protobuf.message import DecodeError

    try:
        request_class(signal).FromString(body)
    except DecodeError:
        return False
    return True


@st.composite
def _mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    signal = draw(st.sampled_from(sorted(SEEDS)))
    body = bytearray(SEEDS[signal])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                body[at] = draw(st.integers(0, 255))
            case 1:
                body[at] ^= 1 << draw(st.integers(0, 7))
            case 2:
                body[at:at] = draw(st.binary(max_size=12))
            case 3:
                del body[at : at + draw(st.integers(1, 12))]
            case 4:
                other = SEEDS[draw(st.sampled_from(sorted(SEEDS)))]
                begin = draw(st.integers(0, len(other) - 1))
                size = draw(st.integers(1, 64))
                body[at : at + size] = other[begin : begin + size]
        if not body:
            body = bytearray(b"\x0a\x00")
    return signal, bytes(body)


def _agree(signal: str, body: bytes) -> None:
    accepted = _official(signal, body)
    parts: list[bytes] | None
    problem = ""
    try:
        parts, items = walk(signal, body)
    except MalformedPayload as error:
        problem = error.problem
        parts = None
    if parts is None:
        assert not accepted or "wire type" in problem, problem
        return
    assert accepted
    assert sum(count(signal, part) for part in parts) == items
    assert walk(signal, request(parts)) == (parts, items)


@BOUNDED
@given(_mutated())
def test_mutated_requests(case: tuple[str, bytes]) -> None:
    _agree(*case)


@BOUNDED
@given(st.sampled_from(sorted(SEEDS)), st.binary(max_size=80))
def test_random_bytes(signal: str, body: bytes) -> None:
    _agree(signal, body)
    _agree(signal, request([body]))


@BOUNDED
@given(_mutated(), st.integers(1, 40))
def test_whatever_was_accepted_can_be_edited_and_split_without_losing_an_item(
    case: tuple[str, bytes], limit: int
) -> None:
    signal, body = case
    try:
        parts, items = walk(signal, body)
    except MalformedPayload:
        return
    for pieces in (split_items(signal, parts, limit), split_bytes(signal, parts, limit * 100)):
        assert sum(number for _, number in pieces) == items
        for piece, number in pieces:
            assert walk(signal, request(piece))[1] == number
    for part in parts:
        assert resource_of(with_resource(part, resource_of(part))) == resource_of(part)


@pytest.mark.parametrize("signal", sorted(SEEDS))
def test_every_single_byte_changed(signal: str) -> None:
    body = SEEDS[signal]
    for at in range(0, len(body), 11):
        for value in (0x00, 0x7F, 0x80, 0xFF):
            _agree(signal, body[:at] + bytes([value]) + body[at + 1 :])
