"""When windows are written, what is in them, and where late spans go."""

import pytest

from apm_metrics import INSTANCE, MINUTE, NOON, Bench, Row, resource_spans, rows, span, transaction
from heliograph.component.batch import DELIVERED, Context
from heliograph.component.errors import Overloaded, Permanent


def summaries(found: list[Row], interval: str) -> dict[int, int]:
    """Number of items by time (minutes after noon, and milliseconds) of an interval."""
    return {
        (row.time - NOON) // MINUTE if (row.time - NOON) % MINUTE == 0 else row.time: row.value
        for row in found
        if row.dataset == f"service_summary.{interval}"
    }


async def test_windows_end_with_the_clock_and_nothing_is_written_before(bench: Bench) -> None:
    """The connector starts 10 s after a full hour."""
    await bench.start()
    await bench.send(resource_spans(span()))
    assert await bench.rows(49) == []
    assert summaries(await bench.rows(2), "1m") == {0: 1}
    await bench.send(resource_spans(span(end=NOON + MINUTE), span(end=NOON + MINUTE)))
    assert summaries(await bench.rows(60), "1m") == {0: 1, 1: 2}
    assert summaries(await bench.rows(7 * 60), "10m") == {}
    assert summaries(await bench.rows(60), "10m") == {0: 3}
    assert summaries(await bench.rows(60 * 60), "60m") == {0: 3}
    assert bench.outcomes == [DELIVERED, DELIVERED]


async def test_nothing_is_written_for_a_window_without_data(bench: Bench) -> None:
    await bench.start()
    assert await bench.rows(3 * 3600) == []


async def test_stopping_writes_every_window(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(transaction(), transaction()))
    await bench.connector.shutdown(bench.clock.monotonic() + 5)
    found = rows(bench.sink.messages)
    for interval in ("1m", "10m", "60m"):
        assert summaries(found, interval) == {0: 2}
    ledger = bench.settings.telemetry.ledger
    assert (ledger["traces"].consumed, ledger["metrics"].created) == (2, len(found))


async def test_a_late_span_goes_into_the_window_in_which_it_ended(bench: Bench) -> None:
    """Not the one before the present, which would be a second document each minute, and not what no index takes."""
    await bench.start()
    await bench.clock.advance(30 * 60)  # 12:30:10
    ends = [0, 29 * MINUTE, 30 * MINUTE, -24 * MINUTE, -26 * MINUTE, 9 * 60 * MINUTE]
    await bench.send(resource_spans(*(span(end=NOON + end) for end in ends)))
    found = await bench.rows(60)
    assert summaries(found, "1m") == {0: 1, 30: 4, -24: 1}
    assert summaries(found, "10m") == {0: 1, -30: 1}
    assert summaries(found, "60m") == {-60: 1}
    assert summaries(await bench.rows(3600), "10m") == {0: 1, -30: 1, 30: 4}
    assert summaries(rows(bench.sink.messages), "60m") == {-60: 1, 0: 5}


async def test_a_window_that_gets_more_later_is_written_again_with_what_came_since(bench: Bench) -> None:
    """One millisecond later: another document of the same series, since both together are the whole."""
    await bench.start()
    await bench.send(resource_spans(span(), span()))
    await bench.rows(10 * 60)
    await bench.send(resource_spans(span(end=NOON)))
    found = await bench.rows(60)
    assert summaries(found, "1m") == {0: 2, NOON + 1_000_000: 1}
    assert summaries(found, "10m") == {0: 2, NOON + 1_000_000: 1}
    assert len({row.resource[INSTANCE] for row in found}) == 1


async def test_intervals_can_be_shorter(bench: Bench) -> None:
    await bench.start({"aggregation": {"intervals": ["5s", "10s"]}})
    await bench.send(resource_spans(span(end=NOON + 10_000_000_000)))
    found = await bench.rows(10)
    assert [(row.attributes["metricset.interval"], row.value) for row in found] == [("0m", 1), ("0m", 1)]


async def test_client_metadata_keeps_aggregates_apart_and_is_passed_on(bench: Bench) -> None:
    await bench.start({"aggregation": {"metadata_keys": ["X-Tenant"]}})
    for tenant in ("a", "b", "b"):
        await bench.send(resource_spans(span()), context=Context(metadata={"x-tenant": (tenant,), "other": ("1",)}))
    await bench.send(resource_spans(span()))
    await bench.rows()
    found = {
        (dict(batch.context.metadata).get("x-tenant", ()), rows(list(batch.messages()))[0].value)
        for batch in bench.sink.batches
    }
    assert found == {(("a",), 1), (("b",), 2), ((), 1)}


async def test_a_pipeline_that_is_full_gets_the_windows_later_in_order(bench: Bench) -> None:
    await bench.start()
    bench.sink.refuse = Overloaded("full")
    await bench.send(resource_spans(span()))
    assert await bench.rows(60) == []
    await bench.send(resource_spans(span(), span()))
    assert await bench.rows(60) == []
    bench.sink.refuse = None
    assert list(summaries(await bench.rows(30), "1m").items()) == [(0, 1), (1, 2)]


async def test_what_is_refused_for_good_is_dropped_and_counted(bench: Bench) -> None:
    await bench.start()
    bench.sink.refuse = Permanent("never")
    await bench.send(resource_spans(span()))
    await bench.rows(60)
    assert bench.settings.telemetry.ledger["metrics"].dropped["refused"] == 1
    assert bench.settings.telemetry.ledger["metrics"].created == 1


@pytest.mark.parametrize("transactions", [1, 700])
async def test_a_large_window_comes_in_pieces_that_keep_a_document_together(bench: Bench, transactions: int) -> None:
    """The three metrics of one set of dimensions are one document."""
    await bench.start()
    await bench.send(resource_spans(*(transaction({"transaction.name": f"t{n}"}) for n in range(transactions))))
    total = 4 + 3 * transactions
    assert len(await bench.rows(least=total)) == total
    for batch in bench.sink.batches:
        found = rows(list(batch.messages()))
        assert batch.items == len(found) < 1100
        names = [row.attributes.get("transaction.name") for row in found if row.dataset == "transaction.1m"]
        assert all(names.count(name) == 3 for name in names)
