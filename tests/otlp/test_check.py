"""The door: what is refused, what is counted, and that both ways of checking agree."""

import pytest

from heliograph.otlp.check import check, check_by_parser
from heliograph.otlp.count import count
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.request import request
from heliograph.otlp.walk import walk
from heliograph.otlp.wire import field, varint
from payloads import PAYLOADS

ITEMS = {"traces": 12, "logs": 12, "metrics": 30}


@pytest.mark.parametrize("signal", PAYLOADS)
@pytest.mark.parametrize("how", [check, walk, check_by_parser])
def test_a_whole_request_is_taken_counted_and_cut(signal: str, how: type) -> None:
    body = PAYLOADS[signal]()
    parts, items = how(signal, body)
    assert items == ITEMS[signal] == sum(count(signal, part) for part in parts)
    assert len(parts) == 2
    assert request(parts) == body


@pytest.mark.parametrize("how", [walk, check_by_parser])
def test_an_empty_body_is_an_empty_request(how: type) -> None:
    assert how("traces", b"") == ([], 0)


@pytest.mark.parametrize("signal", PAYLOADS)
@pytest.mark.parametrize("how", [walk, check_by_parser])
def test_a_request_cut_anywhere_but_between_parts_is_refused(signal: str, how: type) -> None:
    body = PAYLOADS[signal](1)
    for end in range(1, len(body)):
        with pytest.raises(MalformedPayload):
            how(signal, body[:end])


def _span(inside: bytes) -> bytes:
    return field(1, field(2, field(2, inside)))


def _nested(levels: int) -> bytes:
    value = b"\x10\x01"
    for _ in range(levels):
        value = field(5, field(1, value))
    return value


BOTH = {
    "text that is no UTF-8": _span(field(5, b"ok\xff")),
    "surrogate": _span(field(5, b"\xed\xa0\x80")),
    "field number 0": _span(b"\x00\x01"),
    "tag of six bytes": _span(b"\x80\x80\x80\x80\x80\x00\x01"),
    "field number over 2^29": _span(b"\x88\x80\x80\x80\x10\x00"),
    "number of eleven bytes": _span(b"\x30" + b"\xff" * 10 + b"\x01"),
    "length of six bytes": b"\x0a\x80\x80\x80\x80\x80\x00",
    "length beyond the end": b"\x0a\xff\xff\xff\xff\x07",
    "message beyond its parent": field(1, b"\x12\x05abcde"[:4]),
    "wire type 6": _span(b"\x86\x02"),
    "wire type 7": _span(b"\x2f"),
    "end of a group that never began": _span(b"\x84\x02"),
    "nested too deep": _span(field(9, field(2, _nested(48)))),
    "fixed64 cut off": _span(b"\x39\x00\x00"),
    "tag without a value": _span(b"\x30"),
}
WALK_ONLY = {
    "group": _span(b"\x83\x02\x84\x02"),
    "number where text belongs": _span(b"\x28\x01"),
    "text where a number belongs": _span(b"\x32\x01\x05"),
    "number where a message belongs": b"\x08\x01",
}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("how", [walk, check_by_parser])
def test_what_the_official_parser_refuses_is_refused(name: str, how: type) -> None:
    with pytest.raises(MalformedPayload) as caught:
        how("traces", BOTH[name])
    assert str(caught.value)


@pytest.mark.parametrize("name", WALK_ONLY)
def test_the_walk_also_refuses_groups_and_wrong_wire_types_and_says_where(name: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        walk("traces", WALK_ONLY[name])
    assert caught.value.offset >= 0


def test_the_message_has_the_offset_of_the_bad_text() -> None:
    body = _span(field(5, b"good text\xc3"))
    with pytest.raises(MalformedPayload, match=f"no UTF-8 at byte {len(body) - 1}"):
        walk("traces", body)


@pytest.mark.parametrize("levels", [0, 1, 46, 47])
def test_values_nested_as_deep_as_the_official_parser_takes_are_taken(levels: int) -> None:
    body = _span(field(9, field(2, _nested(levels))))
    assert walk("traces", body)[1] == check_by_parser("traces", body)[1] == 1


def test_unknown_fields_unpacked_lists_and_long_forms_of_numbers_are_fine() -> None:
    point = b"\x31" + bytes(8) + b"\x32\x10" + bytes(16)  # bucket_counts: one alone, then two packed
    body = field(1, field(2, field(2, field(9, field(1, point)))))
    assert walk("metrics", body)[1] == check_by_parser("metrics", body)[1] == 1
    unknown = (
        varint(500 << 3 | 2) + b"\x02\xff\xff" + varint(20 << 3) + b"\x80\x80\x00" + varint(21 << 3 | 5) + bytes(4)
    )
    body = _span(b"\x30\x82\x80\x00" + unknown)
    assert walk("traces", body)[1] == check_by_parser("traces", body)[1] == 1


@pytest.mark.parametrize(
    "body",
    [b"\x7b\x7c", b"\x08\x01", b"\x0a\x02\x10\x01", b"\x0a\x02\x7b\x7c"],
    ids=["group", "known field as a number", "the same inside a part", "group inside a part"],
)
def test_the_parser_refuses_what_the_walk_and_upstream_refuse(body: bytes) -> None:
    """The upstream Collector answers 400 to each of these; an unknown field of an allowed type is fine."""
    with pytest.raises(MalformedPayload):
        check_by_parser("logs", body)
    assert check_by_parser("logs", b"\x78\x01") == ([], 0)
