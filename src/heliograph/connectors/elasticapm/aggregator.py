"""Which window an item belongs to, and which windows are over. No I/O, no clock of its own.

Time is cut into slots of the smallest interval. An item belongs to the slot of the moment at which it comes, as with
Elastic's, when it is of that slot or the one before: the tail of each minute would otherwise be a second document. A
span that ended earlier belongs to the slot in which it ended, as long as Elasticsearch surely takes a document of the
longest window that it falls in (LATE; a time series index of the default settings takes two hours). Older ones belong
to the present again, and so do log records and data points, which are only counted.

Once a slot is over, it is a window of the smallest interval, and is merged into the windows of the longer ones. A
window that was written and gets more, because something was late, is written again as the next revision: with what
came since.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from heliograph.connectors.elasticapm.cells import Cells
from heliograph.connectors.elasticapm.dimensions import Dimensions
from heliograph.connectors.elasticapm.window import Budget, Limits, Window

Group = tuple[tuple[str, tuple[str, ...]], ...]
"""Client metadata: keys in lower case, sorted, with their values."""

Delta = dict[tuple[Group, int], Cells]
"""What came in, by group and begin of slot (nanoseconds)."""

LATE = 55 * 60 * 1_000_000_000
MAX_LATE_SLOTS = 64
MAX_CELL_BYTES = 8 * 1024 * 1024
"""About the memory of all cells, and of those of late slots in a delta."""
MAX_GROUPS = 1000
_MOST_REVISIONS = 10_000
_PAST = -1
_POINT_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Closed:
    """A window that is to be written. interval: its place in the list of intervals."""

    interval: int
    group: Group
    start: int
    revision: int
    window: Window


class _Slot:
    __slots__ = ("cells", "window")

    def __init__(self) -> None:
        self.cells = Cells()
        self.window: Window | None = None


class Aggregator:
    """By one configuration. intervals: nanoseconds, the smallest first."""

    def __init__(self, intervals: Iterable[int], limits: Limits, dimensions: Dimensions) -> None:
        self.intervals = tuple(intervals)
        self._limits = limits
        self._dimensions = dimensions
        self._slots: dict[tuple[Group, int], _Slot] = {}
        self.windows: dict[tuple[int, Group, int], Window] = {}
        self._budgets: dict[tuple[int, int], Budget] = {}
        self._newest: dict[int, int] = {}
        self.revisions: dict[tuple[int, int], int] = {}

    def slot(self, ns: int) -> int:
        """The begin of the slot that a moment is in."""
        return ns - ns % self.intervals[0]

    def weight(self) -> int:
        """About the bytes of what is counted."""
        budgets = sum([budget.size + budget.points * _POINT_BYTES for budget in self._budgets.values()])
        return self._cells_weight() + budgets

    def _cells_weight(self) -> int:
        return sum([slot.cells.weight for slot in self._slots.values()])

    def add(self, delta: Mapping[tuple[Group, int], Cells]) -> None:
        """Take what came in; the cells are used up."""
        for key, cells in delta.items():
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = _Slot()
            slot.cells.merge(cells)
        if self._cells_weight() > MAX_CELL_BYTES:
            for key, slot in self._slots.items():
                self._fold(key, slot)

    def close(self, now_ns: int, *, everything: bool = False) -> list[Closed]:
        """Take out what is over at `now_ns`, or all there is."""
        closed: list[Closed] = []
        smallest = self.intervals[0]
        for key in [key for key in self._slots if everything or key[1] + smallest <= now_ns]:
            group, start = key
            slot = self._slots[key]
            window = self._fold(key, slot)
            del self._slots[key]
            if not window.nodes:
                continue
            closed.append(self._closed(0, group, start, window))
            for interval, length in enumerate(self.intervals[1:], 1):
                self.longer(interval, group, start - start % length).merge(window)
        for interval, group, start in list(self.windows):
            if everything or start + self.intervals[interval] <= now_ns:
                closed.append(self._closed(interval, group, start, self.windows.pop((interval, group, start))))
        open_ = {(0, start) for _, start in self._slots} | {(interval, start) for interval, _, start in self.windows}
        self._budgets = {key: budget for key, budget in self._budgets.items() if key in open_}
        for revised in {(item.interval, item.start) for item in closed}:
            self.revisions[revised] = self.revisions.pop(revised, 0) + 1
        while len(self.revisions) > _MOST_REVISIONS:
            del self.revisions[next(iter(self.revisions))]
        return closed

    def longer(self, interval: int, group: Group, start: int) -> Window:
        """The window of a longer interval, made when there is none."""
        key = (interval, group, start)
        found = self.windows.get(key)
        if found is None:
            found = self.windows[key] = self._new(interval, start)
        return found

    def _fold(self, key: tuple[Group, int], slot: _Slot) -> Window:
        """Make metrics of the cells of a slot."""
        if slot.window is None:
            slot.window = self._new(0, key[1])
        slot.window.add(slot.cells, self._dimensions)
        slot.cells = Cells()
        return slot.window

    def _new(self, interval: int, start: int) -> Window:
        """Windows of the past share one budget, so that nobody can fill an hour of them at once."""
        newest = self._newest[interval] = max(start, self._newest.get(interval, start))
        budget = self._budgets.setdefault((interval, start if start == newest else _PAST), Budget())
        return Window(self._limits, budget)

    def _closed(self, interval: int, group: Group, start: int, window: Window) -> Closed:
        return Closed(interval, group, start, self.revisions.get((interval, start), 0), window)
