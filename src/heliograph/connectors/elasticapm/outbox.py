"""Written windows on their way into the pipeline: in order, again and again while it refuses, until acknowledged.

What waits is bounded in memory. Beyond that a piece that is on disk too is read again when its turn comes; without a
directory the oldest is dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from heliograph.component.batch import Batch, Completion, Context, Fate, Outcome
from heliograph.component.clock import Clock
from heliograph.component.errors import DeliveryError, Permanent, Retryable
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Consumer
from heliograph.connectors.elasticapm.aggregator import Group
from heliograph.telemetry.component import ComponentTelemetry

MAX_WAITING_BYTES = 64 * 1024 * 1024
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class Piece:
    """Some ResourceMetrics of one window. number: in the state on disk, 0 when there is none. parts: None while only
    the disk has them."""

    group: Group
    parts: tuple[bytes, ...] | None
    items: int
    number: int = 0

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return sum(map(len, self.parts or ()))


class Outbox:
    """load: reads the parts of a piece from disk. done: told of each piece that needs no sending any more."""

    def __init__(
        self,
        output: Consumer,
        telemetry: ComponentTelemetry,
        load: Callable[[int], Awaitable[tuple[bytes, ...]]],
        done: Callable[[Piece], None],
    ) -> None:
        self._output = output
        self._telemetry = telemetry
        self._load = load
        self._done = done
        self._waiting: deque[Piece] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, piece: Piece) -> None:
        """Send a piece when its turn comes."""
        self._waiting.append(piece)
        self._bytes += piece.size
        self._idle.clear()
        self._some.set()
        if self._bytes > MAX_WAITING_BYTES:
            self._make_room()

    async def run(self, clock: Clock) -> None:
        """Send for ever."""
        while True:
            await self._some.wait()
            while self._waiting:
                await self._send(clock)
            self._idle.set()
            self._some.clear()

    async def drain(self) -> None:
        """Return when everything has been handed on."""
        await self._idle.wait()

    def abandon(self) -> None:
        """The process ends: what only memory has is lost and counted."""
        for piece in self._waiting:
            if not piece.number:
                self._telemetry.created(Signal.METRICS, piece.items)
                self._telemetry.dropped(Signal.METRICS, piece.items, "shutdown")
        self._waiting.clear()

    async def _send(self, clock: Clock) -> None:
        """Hand on the first piece."""
        piece = self._waiting[0]
        pause = _FIRST_PAUSE
        while self._waiting and self._waiting[0] is piece:
            parts = piece.parts if piece.parts is not None else await self._load(piece.number)
            if not parts:
                self._telemetry.log.error("%d aggregated data points were lost with the disk", piece.items)
                self._done(piece)
                self._waiting.popleft()
                return
            batch = Batch(
                Signal.METRICS,
                parts,
                piece.items,
                context=Context(metadata=dict(piece.group)),
                completion=Completion(lambda outcome: self._finished(piece, outcome)),
            )
            self._telemetry.created(Signal.METRICS, piece.items)
            try:
                await self._output.consume(batch)
            except Permanent as error:
                self._telemetry.log.error("aggregated metrics were refused for good and are dropped: %s", error)
                self._telemetry.dropped(Signal.METRICS, piece.items, "refused")
                self._done(piece)
            except DeliveryError as error:
                self._telemetry.created(Signal.METRICS, -piece.items)
                after = error.after if isinstance(error, Retryable) and error.after is not None else 0.0
                await clock.sleep(max(pause, after))
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            if self._waiting and self._waiting[0] is piece:
                self._waiting.popleft()
                self._bytes -= piece.size
            return

    def _finished(self, piece: Piece, outcome: Outcome) -> None:
        if outcome.fate is Fate.DROPPED:
            self._telemetry.log.error("%d aggregated data points were lost: %s", piece.items, outcome.reason)
        self._done(piece)

    def _make_room(self) -> None:
        """Forget what is on disk as well, newest first; then the oldest."""
        for piece in reversed(self._waiting):
            if self._bytes <= MAX_WAITING_BYTES:
                return
            if piece.number and piece is not self._waiting[0]:
                self._bytes -= piece.size
                piece.parts = None
        while self._bytes > MAX_WAITING_BYTES and len(self._waiting) > 1:
            piece = self._waiting[1]
            del self._waiting[1]  # the first is being sent
            self._bytes -= piece.size
            self._telemetry.created(Signal.METRICS, piece.items)
            self._telemetry.dropped(Signal.METRICS, piece.items, "waiting_too_long")
            self._telemetry.log.error("dropped %d aggregated data points: the pipeline takes nothing", piece.items)
            self._done(piece)
