"""The `ot` member of tracestates: what is read, and which break the grammar."""

import pytest

from heliograph.otlp.tracestate import BadTracestate, representative_count, sampling


@pytest.mark.parametrize(
    ("tracestate", "found"),
    [
        ("", (None, None)),
        ("a=b", (None, None)),
        ("ot=th:8", (2.0, None)),
        ("ot=th:0", (1.0, None)),
        ("ot=rv:0123456789abcd;th:c", (4.0, None)),
        ("ot=p:2;r:3", (None, "2")),
        ("t@s=x , ot=th:8,", (2.0, None)),
    ],
)
def test_read(tracestate: str, found: tuple[float | None, str | None]) -> None:
    assert sampling(tracestate) == found


@pytest.mark.parametrize(
    "tracestate",
    [
        *("ot=th:8;rv:0", "ot=th:", "ot=th:123456789012345", "ot=A:1", "ot", "=a", "K=v", "a=b\x00"),
        *("ot=" + "a" * 257, ",".join(f"k{number}=v" for number in range(33)), "a=" + "b" * 1100),
    ],
)
def test_broken(tracestate: str) -> None:
    """A broken one is refused, and counts as one span where only the count matters."""
    with pytest.raises(BadTracestate):
        sampling(tracestate)
    assert representative_count(tracestate) == 1.0


def test_a_power_that_is_no_number_counts_as_none() -> None:
    """As Go's parser has it: text is 0, too big a number the greatest."""
    assert representative_count("ot=p:x") == 1.0
    assert representative_count("ot=p:" + "9" * 30) == 0.0
