"""The processor: who sends when, and what happens when the next component does not take a batch.

- A batch that completes the size is sent within the call that brought it, so a slow next component slows the receiver.
- A batch whose size is not reached is sent by a task of its shard when the time is over.
- When the next component refuses with Retryable, upstream's processor loses the batch. Here it is held and tried
  again, and until it is taken, `consume` refuses with the same reason: senders keep their data, and what is held stays
  bounded.
"""

import asyncio

from heliograph.component.batch import Batch, Fate, Outcome
from heliograph.component.errors import DeliveryError, Permanent, Retryable
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host, Status
from heliograph.processors.batch.config import BatchProcessorConfig
from heliograph.processors.batch.shard import Shard
from heliograph.telemetry.metrics import Counter

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
_SIZES = (10, 25, 50, 75, 100, 250, 500, 750, *range(1000, 10000, 1000), 10000, 20000, 30000, 50000, 100000)
Key = tuple[tuple[str, ...] | None, ...]


class BatchProcessor:
    """Component and Consumer."""

    def __init__(self, settings: Settings, config: BatchProcessorConfig) -> None:
        assert settings.signal is not None
        self._signal = settings.signal
        self._next = settings.outputs[settings.signal]
        self._telemetry = telemetry = settings.telemetry
        self._name = f"processor {settings.id}"
        self._size = config.send_batch_size if config.timeout > 0 else 0
        self._max = config.send_batch_max_size
        self._timeout = config.timeout
        self._keys = tuple(sorted(name.lower() for name in config.metadata_keys))
        self._limit = config.metadata_cardinality_limit
        self._shards: dict[Key, tuple[Shard, asyncio.Lock, asyncio.Event]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self._by_size = telemetry.counter(
            "otelcol_processor_batch_batch_size_trigger_send", "Number of batches sent because of their size."
        )
        self._by_time = telemetry.counter(
            "otelcol_processor_batch_timeout_trigger_send", "Number of batches sent because of the time."
        )
        self._send_size = telemetry.metrics.histogram(
            "otelcol_processor_batch_batch_send_size",
            "Number of units in a batch.",
            {"processor": str(settings.id)},
            _SIZES,
        )
        telemetry.gauge(
            "otelcol_processor_batch_metadata_cardinality",
            "Number of combinations of metadata values.",
            lambda: len(self._shards),
        )
        telemetry.waiting(self._signal, lambda: sum(shard.waiting for shard, _, _ in self._shards.values()))

    async def start(self, host: Host) -> None:
        """Remember the host."""
        self._host = host
        self._clock = host.clock
        host.report(Status.OK)

    async def consume(self, batch: Batch) -> None:
        """Take a batch. Raises Retryable while the next component does not take what is held, Permanent when there are
        too many combinations of metadata."""
        if self._closed:
            raise Retryable(f"{self._name}: shutting down")
        shard, lock, filled = self._shard_of(batch)
        if shard.error is not None:
            after = shard.error.after if isinstance(shard.error, Retryable) else None
            raise Retryable(f"{self._name}: holding {shard.waiting} {self._signal.items}: {shard.error}", after)
        if not self._size and not (self._max and batch.items > self._max):
            self._count(batch, self._by_size)
            await self._next.consume(batch)
            return
        shard.add(batch, self._clock.monotonic())
        if shard.items < self._size:
            filled.set()
            return
        async with lock:
            while shard.pending and shard.items >= self._size and shard.error is None:
                await self._send(shard, self._by_size)
        if shard.pending or shard.held:
            filled.set()

    async def shutdown(self, deadline: float) -> None:
        """Send everything, trying again until `deadline`; what is left is dropped and counted."""
        if self._closed or not self._shards:
            self._closed = True
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())):
                for shard, lock, _ in self._shards.values():
                    async with lock:
                        await self._drain(shard)
        except TimeoutError:
            pass
        for shard, _, _ in self._shards.values():
            self._drop(shard)

    async def _drain(self, shard: Shard) -> None:
        pause = FIRST_PAUSE
        while True:
            while shard.pending:
                shard.held.append(shard.take(0.0))
            if await self._send_held(shard):
                return
            await self._clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _shard_of(self, batch: Batch) -> tuple[Shard, asyncio.Lock, asyncio.Event]:
        metadata = batch.context.metadata
        key: Key = tuple(metadata.get(name) for name in self._keys)
        found = self._shards.get(key)
        if found is not None:
            return found
        if self._keys and self._limit and len(self._shards) >= self._limit:
            raise Permanent(
                f"{self._name}: too many combinations of the values of {', '.join(self._keys)}: "
                f"metadata_cardinality_limit is {self._limit}"
            )
        made = self._shards[key] = (Shard(self._max), asyncio.Lock(), asyncio.Event())
        self._tasks.append(self._host.spawn(self._in_time(*made), f"{self._name} timer"))
        return made

    async def _in_time(self, shard: Shard, lock: asyncio.Lock, filled: asyncio.Event) -> None:
        """Send what waited long enough, and try again what is held."""
        pause = FIRST_PAUSE
        while True:
            if shard.held:
                error = shard.error
                asked = error.after if isinstance(error, Retryable) else None
                await self._clock.sleep(max(pause, asked or 0.0))
                pause = min(pause * 2, LONGEST_PAUSE)
                async with lock:
                    if await self._send_held(shard):
                        pause = FIRST_PAUSE
                continue
            if not shard.pending:
                filled.clear()
                await filled.wait()
                continue
            due = shard.since + self._timeout
            now = self._clock.monotonic()
            if now < due:
                await self._clock.sleep(due - now)
                continue
            async with lock:
                while shard.pending and shard.since + self._timeout <= now and shard.error is None:
                    await self._send(shard, self._by_time)

    async def _send(self, shard: Shard, trigger: Counter) -> None:
        batch = shard.take(self._clock.monotonic())
        self._count(batch, trigger)
        shard.held.append(batch)
        await self._send_held(shard)

    async def _send_held(self, shard: Shard) -> bool:
        """Hand on what is held, in order; true when nothing is left. Held by the caller: the shard's lock."""
        while shard.held:
            batch = shard.held[0]
            try:
                await self._next.consume(batch)
            except Retryable as error:
                if shard.error is None:
                    self._telemetry.log.warning("holding %d %s: %s", shard.waiting, self._signal.items, error)
                    self._host.report(Status.RECOVERABLE_ERROR, str(error))
                shard.error = error
                return False
            except DeliveryError as error:
                self._telemetry.log.error("dropped %d %s: %s", batch.items, self._signal.items, error)
                self._telemetry.dropped(self._signal, batch.items, "permanent_error")
                shard.held.popleft()
                batch.finish(Outcome(Fate.DROPPED, "permanent_error"))
                continue
            shard.held.popleft()
        if shard.error is not None:
            shard.error = None
            self._host.report(Status.OK)
        return True

    def _drop(self, shard: Shard) -> None:
        while shard.pending:
            shard.held.append(shard.take(0.0))
        while shard.held:
            batch = shard.held.popleft()
            self._telemetry.dropped(self._signal, batch.items, "shutdown")
            batch.finish(Outcome(Fate.DROPPED, "shutdown"))

    def _count(self, batch: Batch, trigger: Counter) -> None:
        trigger.add(1)
        self._send_size.observe(batch.items)
