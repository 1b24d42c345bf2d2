"""Joining queued entries into batches, and cutting what is too great. No I/O, no clock of its own.

Rules, after upstream's `sending_queue::batch`:
- a batch is sent when it reaches min_size, or flush_timeout after its first entry came (unlike upstream also when the
  queue is full and nothing is being sent: then no more can come, and waiting would only hold up the sender);
- a batch never exceeds max_size (0: no limit); a single record that is greater goes alone;
- entries whose listed metadata differ never meet; of entries that meet, those metadata stay known.

A batch is filled with whole Resource* messages. Upstream cuts the next request in the middle of a resource to fill a
batch to the last record; here the batch leaves a little smaller instead, which saves copying the resource.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from heliograph.component.batch import NO_CONTEXT, Batch, Context
from heliograph.component.ids import Signal
from heliograph.delivery.config import BatchConfig, BatchSizer
from heliograph.delivery.queue import Entry
from heliograph.otlp.count import count
from heliograph.otlp.split import split_bytes, split_items


class Work:
    """What is sent at once: the data, and what entries it is made of as (entry, items). batch: as the sender has it.
    common: the context when entries of different ones meet."""

    __slots__ = ("batch", "common", "context", "items", "parts", "pieces", "size")

    def __init__(self, context: Context, common: Context = NO_CONTEXT) -> None:
        self.common = common
        self.batch: Batch | None = None
        self.context = context
        self.parts: list[bytes] = []
        self.items = 0
        self.size = 0
        self.pieces: list[tuple[Entry, int]] = []

    def add(self, entry: Entry, parts: Sequence[bytes], items: int, size: int) -> None:
        """Append data of an entry."""
        if self.pieces and self.context is not entry.context and self.context != entry.context:
            self.context = self.common
        self.parts.extend(parts)
        self.items += items
        self.size += size
        self.pieces.append((entry, items))


def whole(entry: Entry, parts: Sequence[bytes]) -> Work:
    """The work of sending an entry as it came."""
    work = Work(entry.context)
    work.add(entry, parts, entry.items, 0)
    return work


class Batcher:
    """Pending batches by partition."""

    def __init__(self, signal: Signal, config: BatchConfig, sizer: BatchSizer) -> None:
        self._signal = str(signal)
        self._config = config
        self._by_bytes = sizer == "bytes"
        self._split = split_bytes if self._by_bytes else split_items
        self._keys = tuple(name.lower() for name in config.partition.metadata_keys)
        self._pending: dict[tuple[tuple[str, ...] | None, ...], tuple[float, Work]] = {}

    def __iter__(self) -> Iterator[Work]:
        return (work for _, work in self._pending.values())

    def add(self, entry: Entry, parts: Sequence[bytes], now: float) -> list[Work]:
        """Take an entry; returns the batches that are ready now. entry.pieces is set to the number of them it is in."""
        key = self._partition(entry.context)
        held = self._pending.pop(key, None)
        since, pending = held if held is not None else (now, self._work(entry))
        entry.pieces = 0
        ready: deque[Work] = deque()
        size = self._size(parts) if self._by_bytes else entry.items
        limit = self._config.max_size
        if limit and pending.size + size > limit:
            since, pending = now, self._fill(pending, entry, parts, ready)
        else:
            _append(pending, entry, parts, entry.items, size)
        if pending.size >= self._config.min_size:
            ready.append(pending)
        elif pending.pieces:
            self._pending[key] = since, pending
        return list(ready)

    def due(self, now: float) -> list[Work]:
        """The batches whose time is over."""
        limit = now - self._config.flush_timeout
        over = [key for key, (since, _) in self._pending.items() if since <= limit]
        return [self._pending.pop(key)[1] for key in over]

    def next_due(self) -> float | None:
        """When `due` next has something, as a time of the same clock; None when nothing is pending."""
        if not self._pending:
            return None
        return min(since for since, _ in self._pending.values()) + self._config.flush_timeout

    def flush(self) -> list[Work]:
        """Everything that is pending."""
        works = [work for _, work in self._pending.values()]
        self._pending.clear()
        return works

    def _fill(self, pending: Work, entry: Entry, parts: Sequence[bytes], ready: deque[Work]) -> Work:
        """Distribute an entry that does not fit whole; full batches go to `ready`, the last one is returned."""
        limit = self._config.max_size
        for part in parts:
            items = count(self._signal, part)
            size = wire_size(part) if self._by_bytes else items
            if pending.size and pending.size + size > limit:
                ready.append(pending)
                pending = self._work(entry)
            if size <= limit:
                _append(pending, entry, (part,), items, size)
                continue
            pieces = self._split(self._signal, [part], limit)
            for piece, piece_items in pieces[:-1]:
                full = self._work(entry)
                _append(full, entry, piece, piece_items, limit)
                ready.append(full)
            piece, piece_items = pieces[-1]
            _append(pending, entry, piece, piece_items, self._size(piece) if self._by_bytes else piece_items)
        return pending

    def _work(self, entry: Entry) -> Work:
        """An empty work for entries like this one: what parts batches is known of all of them."""
        if not self._keys:
            return Work(entry.context)
        known = entry.context.metadata
        return Work(entry.context, Context(metadata={name: known[name] for name in self._keys if name in known}))

    def _partition(self, context: Context) -> tuple[tuple[str, ...] | None, ...]:
        return tuple(context.metadata.get(name) for name in self._keys)

    def _size(self, parts: Sequence[bytes]) -> int:
        return sum(map(wire_size, parts))


def _append(work: Work, entry: Entry, parts: Sequence[bytes], items: int, size: int) -> None:
    if work.pieces and work.pieces[-1][0] is entry:
        work.parts.extend(parts)
        work.items += items
        work.size += size
        work.pieces[-1] = (entry, work.pieces[-1][1] + items)
        return
    work.add(entry, parts, items, size)
    entry.pieces += 1


def wire_size(part: bytes) -> int:
    """Bytes that a part takes in an Export*ServiceRequest."""
    length = len(part)
    return length + 1 + max(1, (length.bit_length() + 6) // 7)
