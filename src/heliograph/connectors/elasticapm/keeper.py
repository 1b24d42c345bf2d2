"""Between what is counted and what is on disk: the only one who changes either, one change at a time.

`commit` makes a delta durable and then part of the windows; `close` takes out the windows that are over and makes
pieces of them. Without a store the same happens in memory. Both are plain functions, called one after another, from a
thread when there is much to do.
"""

from collections.abc import Callable, Iterable, Iterator
from uuid import uuid4

from heliograph.connectors.elasticapm.aggregator import Aggregator, Closed, Delta
from heliograph.connectors.elasticapm.encode import POINTS_OF_A_PIECE, Encoder
from heliograph.connectors.elasticapm.outbox import Piece
from heliograph.connectors.elasticapm.state import (
    cells_of,
    cells_text,
    group_of,
    group_text,
    restore_window,
    window_text,
)
from heliograph.connectors.elasticapm.store import (
    Change,
    Store,
    add_delta,
    forget_written,
    keep_longer,
    longer_over,
    sent,
    slot_over,
    to_send,
    was_written,
)

_PIECE_BYTES = 1 << 20
_REVISION_NS = 1_000_000
_REMEMBERED_NS = 6 * 3600 * 1_000_000_000


def label(interval_ns: int) -> str:
    """As in `metricset.interval`: whole minutes."""
    return f"{interval_ns // 60_000_000_000}m"


class Keeper:
    """overflow: told (label of the interval, kind, estimate) of what did not fit into a window. error: why the last
    change is not on disk, or ""."""

    def __init__(self, aggregator: Aggregator, store: Store | None, overflow: Callable[[str, str, int], None]) -> None:
        self._aggregator = aggregator
        self._store = store
        self._overflow = overflow
        self._next = 1
        self.error = ""
        instance = store.instance if store is not None else str(uuid4())
        self._encoders = [Encoder(label(interval), instance) for interval in aggregator.intervals]

    def restore(self) -> list[Piece]:
        """Read what is on disk; the pieces that wait for being sent."""
        store, aggregator = self._store, self._aggregator
        if store is None:
            return []
        places = {length: place for place, length in enumerate(aggregator.intervals)}
        for length, start, times in store.written():
            if length in places:
                aggregator.revisions[places[length], start] = times
        for length, start, metadata, data in store.longer():
            if places.get(length, 0):
                restore_window(aggregator.longer(places[length], group_of(metadata), start), data)
        for slot, metadata, data in store.deltas():
            aggregator.add({(group_of(metadata), aggregator.slot(slot)): cells_of(data)})
        pieces = [Piece(group_of(metadata), None, items, number) for number, metadata, items in store.outbox()]
        self._next = max([piece.number for piece in pieces], default=0) + 1
        return pieces

    def commit(self, delta: Delta, acknowledged: Iterable[int] = ()) -> None:
        """Take in what came; acknowledged: numbers of pieces."""
        if self._store is not None:
            changes = [add_delta(slot, group_text(group), cells_text(cells)) for (group, slot), cells in delta.items()]
            for number in acknowledged:
                changes += sent(number)
            self.error = self._store.write(changes)
        self._aggregator.add(delta)

    def close(self, now_ns: int, *, everything: bool = False) -> list[Piece]:
        """The pieces of all windows that are over at `now_ns`, or of all there are."""
        aggregator = self._aggregator
        closed = aggregator.close(now_ns, everything=everything)
        pieces = [piece for window in closed for piece in self._pieces(window)]
        if self._store is not None and closed:
            self.error = self._store.write(self._changes(closed, pieces, now_ns))
        return pieces

    def _changes(self, closed: list[Closed], pieces: list[Piece], now_ns: int) -> Iterator[Change]:
        aggregator = self._aggregator
        for piece in pieces:
            assert piece.parts is not None
            yield from to_send(piece.number, group_text(piece.group), piece.items, piece.parts)
        for window in closed:
            length, metadata = aggregator.intervals[window.interval], group_text(window.group)
            if window.interval == 0:
                yield slot_over(window.start, metadata)
            else:
                yield longer_over(length, window.start, metadata)
            yield was_written(length, window.start, window.revision + 1)
        for (interval, group, start), longer in aggregator.windows.items():
            yield keep_longer(aggregator.intervals[interval], start, group_text(group), window_text(longer))
        yield forget_written(now_ns - _REMEMBERED_NS - aggregator.intervals[-1])

    def _pieces(self, closed: Closed) -> Iterator[Piece]:
        """A window, cut."""
        name = label(self._aggregator.intervals[closed.interval])
        for kind, estimate in closed.window.overflows():
            self._overflow(name, kind, estimate)
        parts: list[bytes] = []
        points = size = 0
        time = closed.start + closed.revision * _REVISION_NS
        for part, count in self._encoders[closed.interval].pieces(closed.window, time):
            if parts and (points + count > POINTS_OF_A_PIECE or size + len(part) > _PIECE_BYTES):
                yield self._piece(closed, parts, points)
                parts, points, size = [], 0, 0
            parts.append(part)
            points += count
            size += len(part)
        if parts:
            yield self._piece(closed, parts, points)

    def _piece(self, closed: Closed, parts: list[bytes], points: int) -> Piece:
        number = 0
        if self._store is not None:
            number, self._next = self._next, self._next + 1
        return Piece(closed.group, tuple(parts), points, number)
