"""The connector: counts what comes in, writes each window when the clock says that it is over.

Without a directory a batch is acknowledged as soon as it is counted. With one, when what it adds is on disk (store.py):
batches that come while the disk is busy share the next write. Windows are written on the boundaries of the smallest
interval, at the stop of the process all of them, unfinished ones included, as Elastic's connector does.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from uuid import uuid4

from heliograph.component.batch import Batch
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host
from heliograph.connectors.elasticapm.aggregator import MAX_GROUPS, Aggregator, Closed, Delta, Group
from heliograph.connectors.elasticapm.config import ElasticApmConfig
from heliograph.connectors.elasticapm.dimensions import Dimensions
from heliograph.connectors.elasticapm.encode import POINTS_OF_A_PIECE, Encoder
from heliograph.connectors.elasticapm.intake import Intake
from heliograph.connectors.elasticapm.outbox import Outbox, Piece
from heliograph.connectors.elasticapm.spans import SpanReader
from heliograph.connectors.elasticapm.window import Limits

_DEFAULT_INTERVALS = (60.0, 600.0, 3600.0)
_PIECE_BYTES = 1 << 20
_DELTA_BYTES = 4 << 20
_REVISION_NS = 1_000_000
_HELP = "Spans left out of aggregated metrics, by reason."


def label(interval_ns: int) -> str:
    """As in `metricset.interval`: whole minutes."""
    return f"{interval_ns // 60_000_000_000}m"


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
        self._encoders = self._encoders_of(str(uuid4()))
        self._outbox = Outbox(settings.outputs[Signal.METRICS], telemetry, self._load, self._sent)
        self._silent = config.error_mode == "silent"
        self._skipped = {
            reason: telemetry.counter("heliograph_elasticapm_not_aggregated", _HELP, reason=reason)
            for reason in ("tracestate", "odd", "metadata")
        }
        self._said: dict[str, int] = {}
        self._delta: Delta = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def start(self, host: Host) -> None:
        """Begin to watch the clock."""
        self._host = host
        self._tasks = [
            host.spawn(self._watch_clock(), "elasticapm windows"),
            host.spawn(self._outbox.run(host.clock), "elasticapm outbox"),
        ]

    async def shutdown(self, deadline: float) -> None:
        """Write every window and hand it on."""
        if not self._tasks or self._stopped:
            return
        self._stopped = True
        ticker, sender = self._tasks
        ticker.cancel()
        await asyncio.gather(ticker, return_exceptions=True)
        self._write(self._host.clock.now_ns(), everything=True)
        left = deadline - self._host.clock.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._outbox.drain(), max(left, 0))
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        self._outbox.abandon()

    async def consume(self, batch: Batch) -> None:
        """Count a batch; it is finished once that is as safe as configured. Raises nothing."""
        now = self._host.clock.now_ns()
        group = self._intake.group(batch.context)
        if group and (group, self._aggregator.slot(now)) not in self._delta and self._groups_full(group):
            self._skip("metadata", batch.items)
        else:
            self._intake.add(batch, group, now, self._delta)
            self._count_skipped()
        self._telemetry.consumed(batch.signal, batch.items)
        if sum([cells.weight for cells in self._delta.values()]) > _DELTA_BYTES:
            self._merge_delta()
        batch.finish()

    def _merge_delta(self) -> None:
        delta, self._delta = self._delta, {}
        self._aggregator.add(delta)

    def _groups_full(self, group: Group) -> bool:
        known = {key for key, _ in self._delta}
        return group not in known and len(known) + self._aggregator.groups() >= MAX_GROUPS

    def _count_skipped(self) -> None:
        reader = self._reader
        if reader.bad_tracestate:
            self._skip("tracestate", reader.bad_tracestate)
        if reader.odd:
            self._skip("odd", reader.odd)
        reader.bad_tracestate = reader.odd = 0

    def _skip(self, reason: str, items: int) -> None:
        self._skipped[reason].add(items)
        slot = self._aggregator.slot(self._host.clock.now_ns())
        if not self._silent and self._said.get(reason) != slot:
            self._said[reason] = slot
            self._telemetry.log.warning("%d items are left out of aggregated metrics: %s", items, reason)

    async def _watch_clock(self) -> None:
        clock = self._host.clock
        length = self._aggregator.intervals[0]
        while True:
            end = self._aggregator.slot(clock.now_ns()) + length
            while (left := end - clock.now_ns()) > 0:
                await clock.sleep(left / 1e9)
            self._write(end)

    def _write(self, now_ns: int, *, everything: bool = False) -> None:
        self._merge_delta()
        for closed in self._aggregator.close(now_ns, everything=everything):
            for piece in self._pieces(closed):
                self._outbox.put(piece)

    def _encoders_of(self, instance: str) -> list[Encoder]:
        return [Encoder(label(interval), instance) for interval in self._aggregator.intervals]

    def _pieces(self, closed: Closed) -> Iterator[Piece]:
        """A window, cut."""
        name = label(self._aggregator.intervals[closed.interval])
        for kind, estimate in closed.window.overflows():
            self._telemetry.counter(
                "otelcol_lsminterval_overflow",
                "The estimated count of unique items that overflowed due to cardinality limits.",
                interval=name,
                kind=kind,
            ).add(estimate)
        parts: list[bytes] = []
        points = size = 0
        time = closed.start + closed.revision * _REVISION_NS
        for part, count in self._encoders[closed.interval].pieces(closed.window, time):
            if parts and (points + count > POINTS_OF_A_PIECE or size + len(part) > _PIECE_BYTES):
                yield Piece(closed.group, tuple(parts), points)
                parts, points, size = [], 0, 0
            parts.append(part)
            points += count
            size += len(part)
        if parts:
            yield Piece(closed.group, tuple(parts), points)

    async def _load(self, number: int) -> tuple[bytes, ...]:
        raise KeyError(number)

    def _sent(self, piece: Piece) -> None:
        """A piece has arrived."""
