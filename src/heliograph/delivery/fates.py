"""What became of the entries of an exporter's queue: counted, told to whoever waits, and their room given back.

A work that was sent is made of pieces of entries; an entry is over with its last piece. Three rules:

- Every item that is accepted leaves `waiting` here, once, with its fate in the ledger.
- Who waits for an entry within its call keeps the data: what failed is told as an error, not counted as dropped, and
  what went out of it nevertheless is a copy, as the whole request comes again.
- What a Resuming sender did with a work that is given up counts as it says; only the rest has failed.
"""

from collections.abc import Callable, Iterable

from heliograph.component.batch import DELIVERED, Batch, Fate, Outcome
from heliograph.component.errors import Retryable
from heliograph.component.ids import Signal
from heliograph.delivery.accounts import Accounts
from heliograph.delivery.attempts import Failed, Log
from heliograph.delivery.batch import Work
from heliograph.delivery.queue import Entry, SendQueue
from heliograph.delivery.sender import Resuming, Sender, SendResult
from heliograph.delivery.spool import Record

SHUTDOWN = Outcome(Fate.DROPPED, "shutdown")


class Fates:
    """The ends of one exporter's entries. name: of the exporter, with its endpoint, for messages. acknowledge: of the
    queue on disk, if that is where they are: called with the record of an entry that is over."""

    def __init__(
        self, name: str, signal: Signal, log: Log, sender: Sender, queue: SendQueue, accounts: Accounts
    ) -> None:
        self._name = name
        self._signal = signal
        self._log = log
        self._resuming = sender if isinstance(sender, Resuming) else None
        self._queue = queue
        self._accounts = accounts
        self.acknowledge: Callable[[Record], None] | None = None

    def sent(self, work: Work, result: SendResult) -> None:
        """The other side took a work."""
        outcome = self._accounts.settle(work.items, result)
        for entry, items in work.pieces:
            self.end(entry, items, outcome)

    def failed(self, work: Work, failed: Failed) -> None:
        """A work has no more attempts."""
        outcome = Outcome(Fate.DROPPED, failed.reason)
        over = self.forget(work.batch)
        lost = 0
        for entry, items in work.pieces:
            if not self._kept(entry, items, failed):
                lost += items
                self.end(entry, items, outcome)
        self._accounts.failed(work.items - over)
        self._accounts.orphaned(max(0, over - lost))  # whoever waited sends everything again
        lost = max(0, lost - over)
        if lost:
            self._accounts.dropped(lost, failed.reason)
            self._log.error("dropped %d %s: %s", lost, self._signal.items, failed.error)

    def abandoned(self, works: Iterable[Work], queued: Iterable[Entry]) -> None:
        """The time to shut down is over: these works, sent or not, and these entries are dropped."""
        works = list(works)
        pieces = [piece for work in works for piece in work.pieces]
        pieces.extend((entry, entry.items) for entry in queued)
        over = sum(self.forget(work.batch) for work in works)
        stopped = Failed(SHUTDOWN.reason, Retryable(f"{self._name}: shutting down"))
        lost = 0
        for entry, items in pieces:
            if not self._kept(entry, items, stopped):
                lost += items
                self.end(entry, items, SHUTDOWN)
        self._accounts.orphaned(max(0, over - lost))
        lost = max(0, lost - over)
        if lost:
            self._accounts.failed(lost)
            self._accounts.dropped(lost, SHUTDOWN.reason)
            self._log.error("dropped %d %s at the end of the time to shut down", lost, self._signal.items)

    def forget(self, batch: Batch | None) -> int:
        """Count what a sender did with a batch that is given up; returns the items that are over."""
        if batch is None or self._resuming is None:
            return 0
        part = self._resuming.forget(batch)
        if part.over:
            self._accounts.settle(part.over, part)
        return part.over

    def end(self, entry: Entry, items: int, outcome: Outcome) -> None:
        """One piece of an entry, of so many items, has its fate; the ledger knows it already."""
        self._accounts.waiting -= items
        if not entry.piece_done(outcome):
            return
        if entry.record is not None and self.acknowledge is not None:
            self.acknowledge(entry.record)
        self._queue.release(entry.size)
        if entry.failure is not None and entry.result is not None:
            if not entry.result.done():
                self._accounts.orphaned(entry.items - entry.kept)  # whoever waited sends everything again
                entry.result.set_exception(entry.failure.error)
                return
            entry.outcome = Outcome(Fate.DROPPED, entry.failure.reason)
            self._accounts.dropped(entry.kept, entry.failure.reason)
        if entry.completion is not None:
            try:
                entry.completion(entry.outcome)
            except Exception:  # noqa: BLE001  a mistake of whoever waits is theirs: the sending goes on
                self._log.exception("the fate of a request could not be told")
        if entry.result is not None and not entry.result.done():
            entry.result.set_result(None)

    def _kept(self, entry: Entry, items: int, failed: Failed) -> bool:
        """End a piece that failed while somebody waits for its entry's fate; false if nobody does."""
        if entry.result is None or entry.result.done():
            return False
        entry.failure = failed
        entry.kept += items
        self.end(entry, items, DELIVERED)
        return True
