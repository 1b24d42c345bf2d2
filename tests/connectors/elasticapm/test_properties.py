"""Sums do not depend on how the input is cut, on its order, or on going through the disk."""

import math
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from apm_metrics import DESTINATION, NOON, resource_spans, rows, transaction
from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.connectors.elasticapm.aggregator import Aggregator, Delta
from heliograph.connectors.elasticapm.cells import Cells
from heliograph.connectors.elasticapm.dimensions import Dimensions
from heliograph.connectors.elasticapm.encode import Encoder
from heliograph.connectors.elasticapm.histogram import MAX_BUCKETS, Histogram
from heliograph.connectors.elasticapm.intake import Intake
from heliograph.connectors.elasticapm.spans import SpanReader
from heliograph.connectors.elasticapm.state import cells_of, cells_text, restore_window, window_text
from heliograph.connectors.elasticapm.window import Limits, Window
from heliograph.otlp.messages import resource_message_class

MINUTE = 60_000_000_000
_DURATIONS = st.integers(min_value=0, max_value=2**50)


def histogram(values: Sequence[int]) -> Histogram:
    """Of these values."""
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def state(made: Histogram) -> tuple[Any, ...]:
    """All of it."""
    return made.scale, made.zero, made.first, made.last, made.smallest, made.largest, dict(sorted(made.counts.items()))


@given(st.lists(_DURATIONS), st.lists(_DURATIONS), st.lists(_DURATIONS))
def test_merging_histograms_commutes_and_associates(a: list[int], b: list[int], c: list[int]) -> None:
    whole = histogram(a + b + c)
    left, right = histogram(a), histogram(b)
    left.merge(right, 1)
    left.merge(histogram(c), 1)
    right.merge(histogram(c), 1)
    right.merge(histogram(a), 1)
    assert state(left) == state(right) == state(whole)
    assert whole.count == len(a + b + c)


@given(st.lists(_DURATIONS), st.integers(min_value=1, max_value=9))
def test_a_weight_is_as_many_values(values: list[int], weight: int) -> None:
    weighted = Histogram()
    weighted.merge(histogram(values), weight)
    assert state(weighted) == state(histogram(values * weight))


@given(st.lists(_DURATIONS, min_size=1))
def test_every_value_is_within_its_bucket_and_buckets_are_few(values: list[int]) -> None:
    made = histogram(values)
    assert made.last - made.first < MAX_BUCKETS
    for value in filter(None, values):
        index = math.ceil(math.log2(value) * 2.0**20) - 1 >> 20 - made.scale
        assert made.counts[index] > 0
        base = 2.0 ** (2.0**-made.scale)
        assert base**index * (1 - 1e-6) <= value <= base ** (index + 1) * (1 + 1e-6)


def test_a_range_of_one_to_fifty_milliseconds_has_scale_four() -> None:
    """As Elastic's connector was seen to have."""
    assert histogram([1000, 50_000]).scale == 4


_SPANS = st.builds(
    lambda us, name, outcome, root, state_, service, minute: (us, name, outcome, root, state_, service, minute),
    _DURATIONS,
    st.sampled_from(["GET /", "POST /", "ü"]),
    st.sampled_from(["success", "failure", "unknown"]),
    st.booleans(),
    st.sampled_from(["", "ot=th:8", "ot=th:c"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([0, -7, -70]),
)


def part(us: int, name: str, outcome: str, root: bool, tracestate: str, service: str, minute: int) -> bytes:
    """A serialized ResourceSpans with one span."""
    values = {**DESTINATION, "transaction.name": name, "event.outcome": outcome, "span.composite.count": us % 5 + 1}
    span = transaction(values, us=us, end=NOON, root=root, trace_state=tracestate, name=name)
    span.end_time_unix_nano += minute * MINUTE
    span.start_time_unix_nano = span.end_time_unix_nano - us * 1000 if us < 10**14 else 0
    message = resource_spans(span, resource={"service.name": service, "host.name": f"{service}1"})
    return bytes(message.SerializeToString())


class Run:
    """An aggregator that is fed and emptied."""

    def __init__(self) -> None:
        self.intervals = (MINUTE, 10 * MINUTE, 60 * MINUTE)
        self.dimensions = Dimensions((), ())
        self.intake = Intake(MINUTE, [], SpanReader([]))
        self.aggregator = Aggregator(self.intervals, Limits(), self.dimensions)

    def feed(self, parts: Sequence[bytes], *, disk: bool) -> None:
        """Count parts, as one commit."""
        delta: Delta = {}
        self.intake.add(Batch(Signal.TRACES, parts, len(parts)), (), NOON + 1, delta)
        if disk:
            delta = {key: cells_of(cells_text(cells)) for key, cells in delta.items()}
        self.aggregator.add(delta)

    def result(self, *, disk: bool = False) -> dict[tuple[Any, ...], Any]:
        """All points of all intervals."""
        found: dict[tuple[Any, ...], Any] = {}
        parse = resource_message_class("metrics").FromString
        for closed in self.aggregator.close(NOON, everything=True):
            window = closed.window
            if disk:
                window = Window(Limits())
                restore_window(window, window_text(closed.window))
            encoder = Encoder(f"{closed.interval}", "x")
            for row in rows([parse(piece) for piece, _ in encoder.pieces(window, closed.start)]):
                key = (closed.interval, closed.start, str(row.resource), row.metric, str(row.attributes))
                assert key not in found
                found[key] = row.point.SerializeToString(deterministic=True)
        return found


@settings(max_examples=30, deadline=None)
@given(st.lists(_SPANS, min_size=1, max_size=25), st.integers(min_value=1, max_value=7), st.booleans(), st.randoms())
def test_the_sum_over_any_split_of_the_input_equals_the_whole(
    spans: list[tuple[Any, ...]], size: int, disk: bool, chance: random.Random
) -> None:
    """In any order, in commits of any size, through the disk or not; late spans included."""
    parts = [part(*span) for span in spans]
    whole = Run()
    whole.feed(parts, disk=False)
    split = Run()
    chance.shuffle(parts)
    for begin in range(0, len(parts), size):
        split.feed(parts[begin : begin + size], disk=disk)
    assert split.result(disk=disk) == whole.result()


@given(st.binary(max_size=200))
def test_no_bytes_can_do_harm(junk: bytes) -> None:
    """Any part, and any span within a sound part."""
    reader = SpanReader(["x"])
    intake = Intake(MINUTE, [], reader)
    sound = part(5, "x", "success", True, "", "a", 0)
    for data in (junk, sound + b"\x12" + bytes([len(junk) % 128]) + junk, b"\x12\x7f\x12\x70" + junk):
        delta: Delta = {}
        intake.add(Batch(Signal.TRACES, [data], 1), (), NOON, delta)
        aggregator = Aggregator((MINUTE,), Limits(), Dimensions((), ()))
        aggregator.add(delta)
        aggregator.close(NOON + MINUTE)


def test_what_is_on_disk_is_read_as_it_was() -> None:
    """Cells with everything in them."""
    delta: Delta = {}
    run = Run()
    run.intake.add(
        Batch(Signal.TRACES, [part(us, "ü", "failure", False, "ot=th:8", "a", 0) for us in (0, 1, 2**40)], 3),
        (),
        NOON,
        delta,
    )
    (cells,) = delta.values()
    text = cells_text(cells)
    again = cells_of(text)
    assert isinstance(again, Cells)
    assert cells_text(again) == text
    assert again.weight == cells.weight


def test_numbers_of_more_than_64_bits_come_through_the_disk() -> None:
    """Durations of 500 years, many times."""
    cells = Cells()
    cell = cells.of(b"").add((b"\2",))
    cell.us = 1 << 70
    (again,) = cells_of(cells_text(cells)).of(b"").cells.values()
    assert again.us == 1 << 70
