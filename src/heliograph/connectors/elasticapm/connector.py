"""The connector: counts what comes in, writes each window when the clock says that it is over.

Without a directory a batch is taken as soon as it is counted. With one `consume` returns, and the sender is told, when
what it adds is on disk (store.py): batches that come while the disk is busy share the next write. Windows are written
on the boundaries of the smallest interval, at the stop of the process all of them, unfinished ones included, as
Elastic's connector does.

A disk that fails makes the component unhealthy, no more: its state is then as safe as one without a directory.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from heliograph.component.batch import Batch
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host, Status
from heliograph.connectors.elasticapm.aggregator import MAX_GROUPS, Aggregator, Delta, Group
from heliograph.connectors.elasticapm.config import ElasticApmConfig
from heliograph.connectors.elasticapm.dimensions import Dimensions
from heliograph.connectors.elasticapm.intake import Intake
from heliograph.connectors.elasticapm.keeper import Keeper
from heliograph.connectors.elasticapm.outbox import Outbox, Piece
from heliograph.connectors.elasticapm.spans import SpanReader
from heliograph.connectors.elasticapm.store import Store, sent
from heliograph.connectors.elasticapm.window import Limits

_DEFAULT_INTERVALS = (60.0, 600.0, 3600.0)
_MUCH = 4 << 20
"""About the bytes of what came in, above which it is merged into the windows, and that in a thread."""
_LITTLE = 1 << 18
_SKIPPED = "Items left out of aggregated metrics, by reason."
_OVERFLOW = "The estimated count of unique items that overflowed due to cardinality limits."
T = TypeVar("T")


class ElasticApmConnector:
    """Component and Consumer."""

    def __init__(self, settings: Settings, config: ElasticApmConfig) -> None:
        telemetry = self._telemetry = settings.telemetry
        aggregation = config.aggregation
        intervals = [round(seconds * 1000) * 1_000_000 for seconds in aggregation.intervals or _DEFAULT_INTERVALS]
        limits = aggregation.limits
        self._reader = SpanReader(config.custom_span_attributes)
        self._intake = Intake(intervals[0], aggregation.metadata_keys, self._reader)
        self._aggregator = Aggregator(
            intervals,
            Limits(limits.resource.max_cardinality, limits.metric.max_cardinality, limits.datapoint.max_cardinality),
            Dimensions(config.custom_resource_attributes, config.custom_span_attributes),
        )
        self._directory = aggregation.directory
        self._store: Store | None = None
        self._outbox = Outbox(settings.outputs[Signal.METRICS], telemetry, self._load, self._sent)
        self._silent = config.error_mode == "silent"
        self._skipped = {
            reason: telemetry.counter("heliograph_elasticapm_not_aggregated", _SKIPPED, reason=reason)
            for reason in ("tracestate", "odd", "metadata")
        }
        self._said: dict[str, int] = {}
        self._delta: Delta = {}
        self._groups: set[Group] = set()
        self._unfinished: list[Batch] = []
        self._acknowledged: list[int] = []
        self._turn = asyncio.Lock()
        self._work = asyncio.Event()
        self._committed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False
        for signal in Signal:
            telemetry.waiting(signal, lambda signal=signal: self._waiting(signal))  # type: ignore[misc]

    async def start(self, host: Host) -> None:
        """Read the state, begin to watch the clock. Raises StartError."""
        self._host = host
        if self._directory:
            self._store = await asyncio.to_thread(Store, self._directory)
            if self._store.set_aside:
                self._telemetry.log.error(
                    "the state in %s is damaged (%s): renamed to *.damaged, beginning anew",
                    self._directory,
                    self._store.set_aside,
                )
        self._keeper = Keeper(self._aggregator, self._store, self._overflowed)
        for piece in await asyncio.to_thread(self._keeper.restore):
            self._outbox.put(piece)
        self._tasks = [
            host.spawn(self._watch_clock(), "elasticapm windows"),
            host.spawn(self._commit_always(), "elasticapm state"),
            host.spawn(self._outbox.run(host.clock), "elasticapm outbox"),
        ]

    async def shutdown(self, deadline: float) -> None:
        """Write every window and hand it on; what is not taken until then stays in the directory, if there is one."""
        if not self._tasks or self._stopped:
            return
        async with self._turn:
            self._stopped = True
            *workers, sender = self._tasks
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            await self._commit()
            await self._write(self._host.clock.now_ns(), everything=True)
        left = deadline - self._host.clock.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._outbox.drain(), max(left, 0))
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        self._outbox.abandon()
        if self._store is not None:
            self._note_sent()
            self._store.release()

    async def consume(self, batch: Batch) -> None:
        """Count a batch; returns when that is as safe as configured. Raises nothing."""
        group = self._intake.group(batch.context)
        if group and group not in self._groups and len(self._groups) >= MAX_GROUPS:
            self._skip("metadata", batch.items)
        else:
            if group:
                self._groups.add(group)
            self._intake.add(batch, group, self._host.clock.now_ns(), self._delta)
            self._count_skipped()
        if self._store is None:
            self._finish(batch)
            if self._weight() > _MUCH:
                async with self._turn:
                    await self._commit()
        else:
            self._unfinished.append(batch)
            self._work.set()
            try:
                await self._committed.wait()
            except asyncio.CancelledError:
                # It is counted all the same, but whoever handed it in was not told and counts nothing.
                self._telemetry.ledger[batch.signal].copied += batch.items
                raise

    def _finish(self, batch: Batch) -> None:
        self._telemetry.consumed(batch.signal, batch.items)
        batch.finish()

    def _waiting(self, signal: Signal) -> int:
        return sum([batch.items for batch in self._unfinished if batch.signal is signal])

    def _weight(self) -> int:
        return sum([cells.weight for cells in self._delta.values()])

    async def _commit_always(self) -> None:
        """With a directory: write what came in, as fast as the disk can."""
        while True:
            await self._work.wait()
            async with self._turn:
                try:
                    await self._commit()
                except Exception as error:
                    self._telemetry.log.exception("what came in could not be counted")
                    self._host.report(Status.RECOVERABLE_ERROR, f"what came in could not be counted: {error!r}")

    async def _commit(self) -> None:
        """Take what came in into the state, and finish the batches that brought it. Within `_turn`."""
        self._work.clear()
        weight = self._weight()
        delta, self._delta = self._delta, {}
        batches, self._unfinished = self._unfinished, []
        committed, self._committed = self._committed, asyncio.Event()
        numbers, self._acknowledged = self._acknowledged, []
        try:
            if delta or numbers:
                await self._do(lambda: self._keeper.commit(delta, numbers), weight)
                self._report()
        finally:
            for batch in batches:
                self._finish(batch)
            committed.set()

    async def _write(self, now_ns: int, *, everything: bool = False) -> None:
        """Write the windows that are over. Within `_turn`."""
        self._groups.clear()
        pieces = await self._do(lambda: self._keeper.close(now_ns, everything=everything), self._aggregator.weight())
        self._report()
        for piece in pieces:
            self._outbox.put(piece)

    async def _do(self, work: Callable[[], T], weight: int) -> T:
        """Do it here when it is little and needs no disk, else in a thread."""
        if self._store is None and weight <= _LITTLE:
            return work()
        return await asyncio.to_thread(work)

    async def _watch_clock(self) -> None:
        clock = self._host.clock
        length = self._aggregator.intervals[0]
        while True:
            end = self._aggregator.slot(clock.now_ns()) + length
            while (left := end - clock.now_ns()) > 0:
                await clock.sleep(left / 1e9)
            async with self._turn:
                await self._commit()
                await self._write(self._aggregator.slot(clock.now_ns()))

    def _report(self) -> None:
        error = self._keeper.error
        if self._store is None:
            return
        if error:
            self._host.report(
                Status.RECOVERABLE_ERROR,
                f"the state cannot be written to {self._directory}: {error}; a crash would lose what was aggregated",
            )
            self._say("disk", f"the state cannot be written to {self._directory}: {error}")
        else:
            self._host.report(Status.OK)

    def _count_skipped(self) -> None:
        reader = self._reader
        if reader.bad_tracestate:
            self._skip("tracestate", reader.bad_tracestate)
        if reader.odd:
            self._skip("odd", reader.odd)
        reader.bad_tracestate = reader.odd = 0

    def _skip(self, reason: str, items: int) -> None:
        self._skipped[reason].add(items)
        if not self._silent:
            self._say(reason, f"items were left out of aggregated metrics ({reason}); said once a minute at most")

    def _say(self, what: str, text: str) -> None:
        minute = int(self._host.clock.monotonic() // 60)
        if self._said.get(what) != minute:
            self._said[what] = minute
            self._telemetry.log.warning("%s", text)

    def _overflowed(self, interval: str, kind: str, estimate: int) -> None:
        self._telemetry.counter("otelcol_lsminterval_overflow", _OVERFLOW, interval=interval, kind=kind).add(estimate)

    async def _load(self, number: int) -> tuple[bytes, ...]:
        assert self._store is not None
        return await asyncio.to_thread(self._store.parts, number)

    def _sent(self, piece: Piece) -> None:
        """A piece has arrived, or never will."""
        if piece.number:
            self._acknowledged.append(piece.number)
            if self._stopped:
                self._note_sent()
            else:
                self._work.set()

    def _note_sent(self) -> None:
        """Note acknowledgements at once; after the stop nobody else does."""
        numbers, self._acknowledged = self._acknowledged, []
        if numbers and self._store is not None:
            self._store.write([change for number in numbers for change in sent(number)])
