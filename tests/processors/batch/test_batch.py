"""The batch processor: sizes, times, metadata, and that a refusing next component loses nothing."""

import asyncio

import pytest

from heliograph.component.batch import Batch, Completion, Context, Fate, Outcome
from heliograph.component.errors import ConfigError, Overloaded, Permanent, Retryable
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.otlp.messages import resource_message_class
from heliograph.processors.batch.config import BatchProcessorConfig
from heliograph.processors.batch.processor import BatchProcessor
from heliograph.testing.clock import ManualClock, settle
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer


def part(records: int) -> bytes:
    message = resource_message_class("logs")()
    scope = message.scope_logs.add()
    for number in range(records):
        scope.log_records.add().body.int_value = number
    return bytes(message.SerializeToString())


class Bench:
    def __init__(self, sink: SinkConsumer | None = None, **keys: object) -> None:
        self.sink = sink or SinkConsumer()
        self.clock = ManualClock()
        self.host = TestHost(clock=self.clock)
        self.settings = settings("processor", "batch", "logs", {"logs": self.sink})
        self.ledger = self.settings.telemetry.ledger
        self.processor = BatchProcessor(self.settings, from_plain(BatchProcessorConfig, keys))
        self.outcomes: list[Outcome] = []

    async def __aenter__(self) -> "Bench":
        await self.processor.start(self.host)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.processor.shutdown(self.clock.monotonic())
        await self.host.close()
        assert self.host.crashes == []
        account = self.ledger[Signal.LOGS]
        account.sent += self.sink.items
        assert account.difference == 0

    async def give(self, items: int, **metadata: str) -> None:
        context = Context(metadata={name: (value,) for name, value in metadata.items()})
        batch = Batch(Signal.LOGS, [part(items)], items, context=context, completion=Completion(self.outcomes.append))
        await self.processor.consume(batch)
        self.ledger[Signal.LOGS].received += items

    @property
    def sizes(self) -> list[int]:
        return [batch.items for batch in self.sink.batches]

    def metric(self, name: str) -> float:
        return self.settings.telemetry.metrics.value(f"otelcol_processor_batch_{name}", {"processor": "batch"})


async def test_size_3_and_7_requests_give_3_3_and_1_at_the_timeout() -> None:
    """As observed of upstream; resources are not merged."""
    async with Bench(send_batch_size=3, timeout="1s") as bench:
        for _ in range(7):
            await bench.give(1)
        assert bench.sizes == [3, 3]
        assert len(bench.sink.batches[0].parts) == 3
        assert len(bench.outcomes) == 6
        await bench.clock.advance(1)
        assert bench.sizes == [3, 3, 1]
        assert len(bench.outcomes) == 7
        assert (bench.metric("batch_size_trigger_send"), bench.metric("timeout_trigger_send")) == (2, 1)


async def test_the_time_begins_with_the_first_request() -> None:
    async with Bench() as bench:
        await bench.clock.advance(10)
        await bench.give(1)
        await bench.clock.advance(0.19)
        await bench.give(1)
        assert bench.sizes == []
        await bench.clock.advance(0.01)
        assert bench.sizes == [2]


@pytest.mark.parametrize("keys", [{"timeout": "0s"}, {"send_batch_size": 0}])
async def test_without_time_or_size_each_request_goes_at_once(keys: dict[str, object]) -> None:
    async with Bench(**keys) as bench:
        await bench.give(2)
        await bench.give(3)
        assert bench.sizes == [2, 3]


async def test_without_size_errors_go_back_to_the_caller() -> None:
    sink = SinkConsumer(refuse=[Overloaded("full"), Permanent("no")])
    async with Bench(sink, timeout="0s") as bench:
        with pytest.raises(Overloaded):
            await bench.give(1)
        with pytest.raises(Permanent):
            await bench.give(1)
        await bench.give(1)
        assert bench.sizes == [1]


async def test_no_batch_exceeds_the_greatest_size() -> None:
    async with Bench(send_batch_size=4, send_batch_max_size=5) as bench:
        await bench.give(13)
        await bench.give(3)
        await bench.give(3)
        await bench.clock.advance(1)
        assert max(bench.sizes) <= 5
        assert sum(bench.sizes) == 19
        assert len(bench.outcomes) == 3


async def test_different_metadata_are_not_joined_and_bounded() -> None:
    async with Bench(metadata_keys=["X-Tenant"], metadata_cardinality_limit=2, send_batch_size=2) as bench:
        await bench.give(1, **{"x-tenant": "a"})
        await bench.give(1, **{"x-tenant": "b"})
        await bench.give(1, **{"x-tenant": "a"})
        assert bench.sizes == [2]
        assert bench.sink.batches[0].context.metadata == {"x-tenant": ("a",)}
        with pytest.raises(Permanent, match="metadata_cardinality_limit is 2"):
            await bench.give(1, **{"x-tenant": "c"})
        assert bench.metric("metadata_cardinality") == 2


async def test_a_refused_batch_is_held_and_meanwhile_nothing_more_is_taken() -> None:
    sink = SinkConsumer(refuse=Overloaded("sending queue is full", after=3))
    async with Bench(sink, send_batch_size=2) as bench:
        await bench.give(2)
        with pytest.raises(Retryable, match="holding 2 log_records: sending queue is full") as error:
            await bench.give(1)
        assert error.value.after == 3
        await bench.clock.advance(10)
        assert bench.outcomes == []
        sink.refuse = None
        await bench.clock.advance(10)
        assert bench.sizes == [2]
        assert bench.outcomes == [Outcome(Fate.DELIVERED)]
        await bench.give(2)
        assert bench.sizes == [2, 2]


async def test_a_batch_refused_at_the_timeout_is_held_too() -> None:
    sink = SinkConsumer(refuse=[Retryable("down")] * 3)
    async with Bench(sink) as bench:
        await bench.give(2)
        await bench.clock.advance(0.2)
        assert sink.refused == 1
        await bench.clock.advance(5)
        assert bench.outcomes == [Outcome(Fate.DELIVERED)]


async def test_a_permanent_error_drops_counts_and_tells() -> None:
    async with Bench(SinkConsumer(refuse=[Permanent("no")]), send_batch_size=2) as bench:
        await bench.give(2)
        assert bench.outcomes == [Outcome(Fate.DROPPED, "permanent_error")]
        assert bench.ledger[Signal.LOGS].dropped == {"permanent_error": 2}
        await bench.give(2)
        assert bench.sizes == [2]


class SlowSink(SinkConsumer):
    """Takes a batch when `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def consume(self, batch: Batch) -> None:
        await self.gate.wait()
        await super().consume(batch)


async def test_a_slow_next_component_slows_the_caller() -> None:
    sink = SlowSink()
    async with Bench(sink, send_batch_size=2) as bench:
        call = asyncio.create_task(bench.give(2))
        await settle()
        assert not call.done()
        sink.gate.set()
        await call
        assert bench.sizes == [2]


async def test_shutdown_sends_what_is_pending() -> None:
    async with Bench() as bench:
        await bench.give(3)
        await bench.processor.shutdown(100)
        assert bench.sizes == [3]
        with pytest.raises(Retryable, match="shutting down"):
            await bench.give(1)
        await bench.processor.shutdown(100)


async def test_shutdown_drops_and_counts_what_is_never_taken() -> None:
    async with Bench(SinkConsumer(refuse=Retryable("down"))) as bench:
        await bench.give(3)
        await bench.processor.shutdown(bench.clock.monotonic() + 0.05)
        assert bench.outcomes == [Outcome(Fate.DROPPED, "shutdown")]
        assert bench.ledger[Signal.LOGS].dropped == {"shutdown": 3}


def test_rules_name_the_key() -> None:
    with pytest.raises(ConfigError, match="send_batch_max_size"):
        from_plain(BatchProcessorConfig, {"send_batch_size": 10, "send_batch_max_size": 5})
    with pytest.raises(ConfigError, match="duplicate entry 'A'"):
        from_plain(BatchProcessorConfig, {"metadata_keys": ["a", "A"]})
