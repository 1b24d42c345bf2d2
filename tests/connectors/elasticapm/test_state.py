"""The state in a directory: what a sender was told is kept, through stops, crashes of the pipeline and of the disk."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from apm_metrics import INSTANCE, MINUTE, NOON, Bench, Row, resource_spans, rows, span, transaction
from heliograph.component.batch import DELIVERED, Context
from heliograph.component.errors import Overloaded, StartError
from heliograph.component.lifecycle import Status
from heliograph.connectors.elasticapm import store
from heliograph.connectors.elasticapm.store import Store, add_delta, sent, to_send
from heliograph.testing.wait import until

Benches = Callable[[], Bench]


@pytest.fixture
async def another(tmp_path: Path) -> AsyncIterator[Benches]:
    """Makes connectors, to be started with `config(tmp_path)`."""
    made: list[Bench] = []

    def make() -> Bench:
        made.append(Bench())
        return made[-1]

    yield make
    for bench in made:
        await end(bench)


async def end(bench: Bench) -> None:
    """Stop without a crash."""
    if bench.connector is not None:
        await bench.connector.shutdown(bench.clock.monotonic() + 1)
    await bench.host.close()
    assert not bench.host.crashes


async def die(bench: Bench) -> None:
    """As good as killed: nothing is written or handed on any more, the directory is free."""
    await bench.host.close()
    bench.connector._tasks = []
    bench.connector._store.release()


def config(folder: Path, **more: Any) -> dict[str, Any]:
    """With a directory."""
    return {"aggregation": {"directory": str(folder / "state"), **more}}


def summaries(found: list[Row], interval: str) -> dict[int, int]:
    """Number of items by nanoseconds after noon."""
    return {row.time - NOON: row.value for row in found if row.dataset == f"service_summary.{interval}"}


async def test_a_batch_is_taken_when_it_is_on_disk(another: Benches, tmp_path: Path) -> None:
    first = another()
    await first.start(config(tmp_path))
    await first.send(resource_spans(span(), span()))
    assert first.outcomes == [DELIVERED]
    with sqlite3.connect(tmp_path / "state" / "elasticapm.db") as database:
        assert database.execute("SELECT count(*) FROM delta").fetchone() == (1,)


async def test_a_crash_loses_nothing_and_counts_nothing_twice(another: Benches, tmp_path: Path) -> None:
    """Before the window ends, after it was written and not acknowledged, and in the midst of the longer windows."""
    first = another()
    await first.start(config(tmp_path))
    await first.send(resource_spans(transaction(), transaction()))
    await die(first)
    second = another()
    second.sink.refuse = Overloaded("full")
    await second.start(config(tmp_path))
    await second.send(resource_spans(transaction()))
    await second.rows(60)
    await until(lambda: second.sink.refused, "the window")
    await die(second)
    third = another()
    third.sink.hold = True
    await third.clock.advance(60)
    await third.start(config(tmp_path))
    await until(lambda: third.sink.batches, "the window")
    sent_once = rows(third.sink.messages)
    assert summaries(sent_once, "1m") == {0: 3}
    await third.send(resource_spans(span(end=NOON + MINUTE)))
    await die(third)
    fourth = another()
    await fourth.clock.advance(2 * 60)
    await fourth.start(config(tmp_path))
    await until(lambda: fourth.sink.batches, "the window again")
    again = rows(fourth.sink.messages)
    assert [str(row.point) for row in again] == [str(row.point) for row in sent_once], "not the same document"
    for _ in range(9):
        await fourth.clock.advance(60)
        await until(lambda: fourth.clock.sleeping, "the end of the minute's work")
    await until(lambda: len(summaries(rows(fourth.sink.messages), "10m")) > 0, "the longer window")
    found = rows(fourth.sink.messages)
    assert summaries(found, "1m") == {0: 3, MINUTE: 1}
    assert summaries(found, "10m") == {0: 4}
    assert {row.resource[INSTANCE] for row in sent_once + found} == {found[0].resource[INSTANCE]}
    await end(fourth)
    assert summaries(rows(fourth.sink.messages), "60m") == {0: 4}


async def test_a_stop_writes_everything_and_what_comes_after_the_start_is_a_further_document(
    another: Benches, tmp_path: Path
) -> None:
    first = another()
    await first.start(config(tmp_path))
    await first.send(resource_spans(span()))
    await end(first)
    assert summaries(rows(first.sink.messages), "60m") == {0: 1}
    second = another()
    await second.start(config(tmp_path))
    await second.send(resource_spans(span(), span()))
    await end(second)
    for interval in ("1m", "10m", "60m"):
        assert summaries(rows(second.sink.messages), interval) == {1_000_000: 2}
    third = another()
    await third.start(config(tmp_path))
    await end(third)
    assert third.sink.batches == []


async def test_what_the_pipeline_does_not_take_before_the_stop_is_sent_after_the_start(
    another: Benches, tmp_path: Path
) -> None:
    first = another()
    first.sink.refuse = Overloaded("full")
    await first.start(config(tmp_path))
    await first.send(resource_spans(span()))
    await end(first)
    second = another()
    await second.start(config(tmp_path))
    await until(lambda: second.sink.items == 3, "three windows")
    assert summaries(rows(second.sink.messages), "60m") == {0: 1}
    await until(lambda: outbox(tmp_path) == 0, "the acknowledgement on disk")


def outbox(folder: Path) -> int:
    """Pieces that wait for an acknowledgement."""
    with sqlite3.connect(folder / "state" / "elasticapm.db") as database:
        return int(database.execute("SELECT count(*) FROM outbox").fetchone()[0])


async def test_metadata_comes_through_the_disk(another: Benches, tmp_path: Path) -> None:
    first = another()
    await first.start(config(tmp_path, metadata_keys=["tenant"]))
    await first.send(resource_spans(span()), context=Context(metadata={"tenant": ("a", "ü")}))
    await die(first)
    second = another()
    await second.start(config(tmp_path, metadata_keys=["tenant"]))
    await end(second)
    assert [dict(batch.context.metadata) for batch in second.sink.batches] == [{"tenant": ("a", "ü")}] * 3


async def test_a_directory_has_one_user(another: Benches, tmp_path: Path) -> None:
    first, second = another(), another()
    await first.start(config(tmp_path))
    with pytest.raises(StartError, match="used by another connector or process"):
        await second.start(config(tmp_path))


async def test_a_directory_that_cannot_be_made_is_named(another: Benches, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StartError, match=r"aggregation::directory .*state cannot be used"):
        await another().start(config(tmp_path))


async def test_a_damaged_file_is_set_aside(another: Benches, tmp_path: Path) -> None:
    """Aggregates are no reason for a gateway not to start."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "elasticapm.db").write_bytes(b"no database" * 1000)
    first = another()
    await first.start(config(tmp_path))
    assert (tmp_path / "state" / "elasticapm.db.damaged").exists()
    await first.send(resource_spans(span()))
    await end(first)
    assert summaries(rows(first.sink.messages), "1m") == {0: 1}


async def test_a_disk_that_fails_makes_it_unhealthy_and_stops_nothing(another: Benches, tmp_path: Path) -> None:
    """Another one holds the file; once it is free again everything is on disk."""
    first = another()
    await first.start(config(tmp_path))
    first.connector._store._database.execute("PRAGMA busy_timeout = 0")
    blocker = sqlite3.connect(tmp_path / "state" / "elasticapm.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    await first.send(resource_spans(span()))
    assert first.outcomes == [DELIVERED]
    assert first.host.status is Status.RECOVERABLE_ERROR
    assert "locked" in first.host.reports[-1][1]
    blocker.execute("COMMIT")
    await first.send(resource_spans(span()))
    assert first.host.status is Status.OK
    assert blocker.execute("SELECT count(*) FROM delta").fetchone() == (2,)
    blocker.close()
    await die(first)
    second = another()
    await second.start(config(tmp_path))
    await end(second)
    assert summaries(rows(second.sink.messages), "1m") == {0: 2}


def test_changes_that_cannot_be_written_are_bounded(tmp_path: Path) -> None:
    """Then the file is emptied when the disk is back: what it had is old, and would be counted twice."""
    before, store._MAX_BACKLOG = store._MAX_BACKLOG, 10_000
    try:
        made = Store(str(tmp_path))
        assert made.write([add_delta(1, "[]", "old"), *to_send(1, "[]", 1, [b"x"])]) == ""
        made._database.execute("PRAGMA busy_timeout = 0")
        blocker = sqlite3.connect(tmp_path / "elasticapm.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for _ in range(30):
            assert "locked" in made.write([add_delta(2, "[]", "x" * 1000)])
            assert made._backlog_bytes < 12_000
        blocker.execute("COMMIT")
        blocker.close()
        assert made.write([add_delta(3, "[]", "new"), *sent(9)]) == ""
        found = list(made.deltas())
        assert (1, "[]", "old") not in found
        assert found[-1] == (3, "[]", "new")
        assert list(made.outbox()) == []
        made.release()
    finally:
        store._MAX_BACKLOG = before
