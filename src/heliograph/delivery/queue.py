"""What waits to be sent: entries in order, and the room that they take.

    reserve(size) -> room is taken (or refused, or waited for) ... release(size) when the entry's fate is known

What is being sent still takes room, as upstream: queue_size bounds everything that was accepted and has no fate yet.
An entry that was cut into pieces is over when its last piece is; the worst fate of the pieces is its own.
"""

import asyncio
from collections import deque
from collections.abc import Iterator

from heliograph.component.batch import DELIVERED, NO_CONTEXT, Batch, Completion, Context, Outcome
from heliograph.component.errors import Overloaded, Retryable
from heliograph.delivery.attempts import Failed
from heliograph.delivery.config import QueueSizer
from heliograph.delivery.spool import Record


def size_of(sizer: QueueSizer, batch: Batch) -> int:
    """The room a batch takes."""
    if sizer == "requests":
        return 1
    return batch.items if sizer == "items" else batch.size


class Entry:
    """One accepted request.

    parts: its data; None while it is on disk only. record: where it is on disk. result: set with the error or None
    when somebody waits for the fate within its call. kept: items of pieces that failed while somebody waited, who keeps
    them and, told `failure`, sends the whole request again.
    """

    __slots__ = (
        "completion",
        "context",
        "failure",
        "items",
        "kept",
        "outcome",
        "parts",
        "pieces",
        "record",
        "result",
        "size",
    )

    def __init__(
        self,
        parts: tuple[bytes, ...] | None,
        items: int,
        size: int,
        *,
        context: Context = NO_CONTEXT,
        completion: Completion | None = None,
        record: Record | None = None,
        result: "asyncio.Future[None] | None" = None,
    ) -> None:
        self.parts = parts
        self.items = items
        self.size = size
        self.context = context
        self.completion = completion
        self.record = record
        self.result = result
        self.pieces = 1
        self.outcome = DELIVERED
        self.failure: Failed | None = None
        self.kept = 0

    def piece_done(self, outcome: Outcome) -> bool:
        """Note the fate of one piece; true when it was the last one."""
        self.pieces -= 1
        if outcome.fate > self.outcome.fate:
            self.outcome = outcome
        return self.pieces == 0


class SendQueue:
    """Entries first in, first out, bounded by `capacity` in the queue's unit."""

    def __init__(self, capacity: int, unit: str, owner: str) -> None:
        self.capacity = capacity
        self.used = 0
        self._unit = unit
        self._owner = owner
        self._entries: deque[Entry] = deque()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._refused = False

    @property
    def pressed(self) -> bool:
        """Whether somebody found no room and none has come free since."""
        return self._refused or bool(self._waiting)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def fits(self, size: int) -> bool:
        """Whether `reserve` would take the room at once."""
        return self.used + size <= self.capacity and not self._waiting

    async def reserve(self, size: int, block: bool) -> None:
        """Take room for an entry, at most the capacity. Raises Overloaded when there is none (unless `block`: then it
        waits its turn)."""
        if self.fits(size):
            self.used += size
            return
        if not block:
            self._refused = True
            raise Overloaded(f"{self._owner}: sending queue is full ({self.used} of {self.capacity} {self._unit})")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(size)
            else:
                self._admit()
            raise

    def restore(self, entry: Entry) -> None:
        """Put an entry that a former process accepted; it takes room even if there is none."""
        self.used += entry.size
        self._entries.append(entry)

    def put(self, entry: Entry) -> None:
        """Append an entry whose room was reserved."""
        self._entries.append(entry)

    def take(self) -> Entry | None:
        """The oldest entry, or None. Its room stays taken."""
        return self._entries.popleft() if self._entries else None

    def release(self, size: int) -> None:
        """Give room back; whoever waits for it gets it in order."""
        self.used -= size
        self._refused = False
        if self._waiting:
            self._admit()

    def refuse_waiting(self, message: str) -> None:
        """End all waiting for room with Retryable."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(Retryable(message))

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done():
                if self.used + size > self.capacity:
                    return
                self.used += size
                turn.set_result(None)
            self._waiting.popleft()
