"""Batches that are cut because they are too large: what went out is counted as sent, whatever becomes of the rest."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from heliograph.component.batch import Batch, Completion, Context, Fate, Outcome
from heliograph.component.config import Duration
from heliograph.component.errors import Permanent, Retryable
from heliograph.component.ids import ComponentId, Signal
from heliograph.component.lifecycle import Host
from heliograph.delivery.config import BatchConfig, QueueConfig, RetryConfig
from heliograph.delivery.delivery import Delivery
from heliograph.delivery.halving import Halving, TooLargeForServer
from heliograph.delivery.sender import SendResult
from heliograph.otlp.messages import resource_message_class
from heliograph.testing.clock import ManualClock, settle
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.wait import until

LIMIT = 4


class Server:
    """Takes at most LIMIT records at once, and after `room` requests nothing more."""

    def __init__(self, room: int, error: Exception) -> None:
        self.taken: list[int] = []
        self.room = room
        self.error = error

    async def take(self, parts: Sequence[bytes], items: int, context: Context) -> SendResult:
        await asyncio.sleep(0)
        if items > LIMIT:
            raise TooLargeForServer("too large")
        if len(self.taken) >= self.room:
            raise self.error
        self.taken.append(items)
        return SendResult()


class CuttingSender:
    """As the otlp exporters' senders."""

    def __init__(self, server: Server) -> None:
        self._halving = Halving(server.take, settings("exporter", "nop", "logs").telemetry.log)

    async def open(self, host: Host) -> None:
        pass

    async def send(self, batch: Batch) -> SendResult:
        return await self._halving.send(batch)

    def forget(self, batch: Batch) -> SendResult:
        return self._halving.forget(batch)

    async def close(self) -> None:
        pass


class Bench:
    """One Delivery; batches given by `give` count as received once they are taken, as the pipeline does it."""

    def __init__(self, server: Server, queue: QueueConfig, retry: RetryConfig) -> None:
        self.clock = ManualClock()
        self.host = TestHost(clock=self.clock)
        made = settings("exporter", ComponentId("nop", "x"), "logs")
        self.account = made.telemetry.ledger[Signal.LOGS]
        self.failed = lambda: made.telemetry.metrics.value(
            "otelcol_exporter_send_failed_log_records", {"exporter": "nop/x"}
        )
        self.delivery = Delivery(made, CuttingSender(server), queue=queue, retry=retry, timeout=0)
        self.outcomes: list[Outcome] = []

    async def __aenter__(self) -> "Bench":
        await self.delivery.start(self.host)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.delivery.shutdown(self.clock.monotonic())
        await self.host.close()
        assert self.account.difference == 0, self.account

    async def give(self, items: int) -> None:
        message = resource_message_class("logs")()
        scope = message.scope_logs.add()
        for number in range(items):
            scope.log_records.add().body.string_value = f"record {number}"
        parts = [message.SerializeToString()]
        await self.delivery.consume(Batch(Signal.LOGS, parts, items, completion=Completion(self.outcomes.append)))
        self.account.received += items


RETRY_ONCE = RetryConfig(randomization_factor=0, initial_interval=Duration(1), max_elapsed_time=Duration(1.5))
LATER = Retryable("not now")


async def test_what_went_out_before_the_retries_ran_out_is_sent() -> None:
    """16 records, of which 8 are taken: 8 sent, 8 dropped, and the batch is not delivered."""
    server = Server(2, LATER)
    async with Bench(server, QueueConfig(), RETRY_ONCE) as bench:
        await bench.give(16)
        for _ in range(4):
            await bench.clock.advance(1)
        await until(lambda: len(bench.outcomes) == 1)
        assert bench.outcomes[0] == Outcome(Fate.DROPPED, "retries_exhausted")
        assert (bench.account.sent, dict(bench.account.dropped)) == (8, {"retries_exhausted": 8})
        assert bench.failed() == 8


async def test_what_went_out_before_the_end_is_sent() -> None:
    """The process ends while the rest waits to be tried again."""
    server = Server(3, LATER)
    retry = RetryConfig(randomization_factor=0, initial_interval=Duration(100), max_interval=Duration(100))
    async with Bench(server, QueueConfig(), retry) as bench:
        await bench.give(16)
        await until(lambda: len(server.taken) == 3)
        await settle()
        await bench.delivery.shutdown(bench.clock.monotonic())
        assert (bench.account.sent, dict(bench.account.dropped)) == (12, {"shutdown": 4})


async def test_a_permanent_error_of_one_piece_leaves_the_others() -> None:
    server = Server(2, Permanent("never"))
    async with Bench(server, QueueConfig(), RETRY_ONCE) as bench:
        await bench.give(16)
        await until(lambda: len(bench.outcomes) == 1)
        assert (bench.account.sent, dict(bench.account.dropped)) == (8, {"permanent_error": 8})


@pytest.mark.parametrize(
    "queue", [QueueConfig(enabled=False), QueueConfig(wait_for_result=True)], ids=["inline", "wait_for_result"]
)
async def test_what_went_out_before_the_caller_got_the_error_is_a_copy(queue: QueueConfig) -> None:
    """The caller keeps all 16 and will send them again: 8 left here all the same."""
    server = Server(2, LATER)
    async with Bench(server, queue, RETRY_ONCE) as bench:
        giving = asyncio.create_task(bench.give(16))
        await until(lambda: len(server.taken) == 2)
        for _ in range(4):
            await bench.clock.advance(1)
        with pytest.raises(Retryable, match="not now"):
            await giving
        assert (bench.account.received, bench.account.copied, bench.account.sent) == (0, 8, 8)
        assert not bench.account.dropped.total()


async def test_what_went_out_before_the_end_is_a_copy_when_the_caller_waits() -> None:
    """The process ends while the rest waits to be tried again; the caller keeps all 16."""
    server = Server(3, LATER)
    retry = RetryConfig(randomization_factor=0, initial_interval=Duration(100), max_interval=Duration(100))
    async with Bench(server, QueueConfig(wait_for_result=True), retry) as bench:
        giving = asyncio.create_task(bench.give(16))
        await until(lambda: len(server.taken) == 3)
        await settle()
        await bench.delivery.shutdown(bench.clock.monotonic())
        with pytest.raises(Retryable):
            await giving
        assert (bench.account.copied, bench.account.sent) == (12, 12)
        assert not bench.account.dropped.total()


async def test_of_a_batch_with_a_caller_and_without_one_the_sum_is_right() -> None:
    """Two requests in one batch, both callers wait: everything that went out is a copy."""
    server = Server(2, LATER)
    batch = BatchConfig(min_size=16, flush_timeout=Duration(10))
    async with Bench(server, QueueConfig(wait_for_result=True, batch=batch), RETRY_ONCE) as bench:
        giving = [asyncio.create_task(bench.give(8)) for _ in range(2)]
        await until(lambda: len(server.taken) == 2)
        for _ in range(4):
            await bench.clock.advance(1)
        results = await asyncio.gather(*giving, return_exceptions=True)
        assert all(isinstance(result, Retryable) for result in results)
        assert (bench.account.copied, bench.account.sent) == (8, 8)


async def test_very_many_cut_batches_go_on_where_they_stopped() -> None:
    """A hundred of them wait at the same time; none of their pieces goes twice."""
    server = Server(100, LATER)
    retry = RetryConfig(randomization_factor=0, initial_interval=Duration(1), max_elapsed_time=Duration(0))
    async with Bench(server, QueueConfig(num_consumers=100), retry) as bench:
        for _ in range(100):
            await bench.give(8)
        await until(lambda: len(server.taken) == 100)
        await settle()
        server.room = 1000
        await bench.clock.advance(2)
        await until(lambda: len(bench.outcomes) == 100)
        assert server.taken == [4] * 200
        assert bench.account.sent == 800


async def test_nothing_is_remembered_of_a_batch_that_is_over(tmp_path: Path) -> None:
    server = Server(1, LATER)
    halving = Halving(server.take, settings("exporter", "nop", "logs").telemetry.log)
    message = resource_message_class("logs")()
    scope = message.scope_logs.add()
    for _ in range(8):
        scope.log_records.add()
    batch = Batch(Signal.LOGS, [message.SerializeToString()], 8)
    with pytest.raises(Retryable):
        await halving.send(batch)
    assert halving.forget(batch) == SendResult(sent=4)
    assert halving.forget(batch) == SendResult(sent=0)
