"""The pending batches of one combination of metadata.

Batches are joined whole; only one that alone exceeds the greatest size is split. So a joined batch may be somewhat
smaller than send_batch_max_size where upstream would fill it to the last record by splitting the next one.
"""

from collections import deque

from heliograph.component.batch import Batch, merge
from heliograph.otlp.split import split_items


class Shard:
    """held: joined batches that the next component did not take yet, oldest first; they go before everything else.
    since: when the oldest pending batch came. error: why something is held."""

    __slots__ = ("_max", "error", "held", "items", "pending", "since")

    def __init__(self, max_size: int) -> None:
        self._max = max_size
        self.pending: deque[Batch] = deque()
        self.held: deque[Batch] = deque()
        self.items = 0
        self.since = 0.0
        self.error: Exception | None = None

    @property
    def waiting(self) -> int:
        """Items that are here."""
        return self.items + sum(batch.items for batch in self.held)

    def add(self, batch: Batch, now: float) -> None:
        """Append a batch; a too great one becomes several."""
        if not self.pending:
            self.since = now
        self.items += batch.items
        if self._max and batch.items > self._max:
            self.pending.extend(batch.split(split_items(str(batch.signal), batch.parts, self._max)))
        else:
            self.pending.append(batch)

    def take(self, now: float) -> Batch:
        """The next batch to send: everything that is pending, or as much of it as the greatest size allows."""
        if not self._max or self.items <= self._max:
            joined = merge(list(self.pending))
            self.pending.clear()
            self.items = 0
            return joined
        chosen = [self.pending.popleft()]
        items = chosen[0].items
        while self.pending and items + self.pending[0].items <= self._max:
            chosen.append(self.pending.popleft())
            items += chosen[-1].items
        self.items -= items
        self.since = now
        return merge(chosen)
