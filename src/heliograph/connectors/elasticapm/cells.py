"""What is counted while spans come in: one cell for all spans of a resource that are alike in every dimension.

A span touches one cell, whatever number of metrics it ends in; the metrics are made of the cells when a window ends or
the cells become too many (window.py). A cell's key holds the dimensions as they came, see KEY.

KEY, a tuple of bytes: kind (ROOT, TRANSACTION, DESTINATION), adjusted count (b"" for 1, else a double), name of the
span (destinations only), then the raw values of ATTRIBUTES and the custom span attributes, b"" for absent.
"""

from typing import Final

from heliograph.connectors.elasticapm.histogram import Histogram

ROOT: Final = 1
TRANSACTION: Final = 2
DESTINATION: Final = 4

HEAD: Final = 3
"""Places in a key before the attributes."""

TYPE: Final = 3
NAME: Final = 4
RESULT: Final = 5
OUTCOME: Final = 6
TARGET_TYPE: Final = 7
TARGET_NAME: Final = 8
DESTINATION_RESOURCE: Final = 9
CUSTOM: Final = 10
"""Places in a key of attributes; custom ones begin at CUSTOM."""

ATTRIBUTES: Final = (
    "transaction.type",
    "transaction.name",
    "transaction.result",
    "event.outcome",
    "service.target.type",
    "service.target.name",
    "span.destination.service.resource",
)

Key = tuple[bytes, ...]

_CELL_BYTES: Final = 700
_RESOURCE_BYTES: Final = 400


class Cell:
    """spans: how many. us: their durations. Both unweighted; the adjusted count is in the key.

    composite_*: of the spans that say how many calls they stand for (`span.composite.count`): how many such spans, and
    the calls; of those with `span.composite.sum.us`: their durations, and that sum.
    """

    __slots__ = ("composite_calls", "composite_spans", "composite_sum", "composite_us", "histogram", "spans", "us")

    def __init__(self) -> None:
        self.spans: int = 0
        self.us: int = 0
        self.histogram: Histogram | None = None
        self.composite_spans: int = 0
        self.composite_calls: int = 0
        self.composite_us: int = 0
        self.composite_sum: float = 0.0

    def merge(self, other: "Cell") -> None:
        """Add what another cell of the same key has."""
        self.spans += other.spans
        self.us += other.us
        self.composite_spans += other.composite_spans
        self.composite_calls += other.composite_calls
        self.composite_us += other.composite_us
        self.composite_sum += other.composite_sum
        if other.histogram is not None:
            if self.histogram is None:
                self.histogram = Histogram()
            self.histogram.merge(other.histogram, 1)


class ResourceCells:
    """Of one resource. items: what goes into service_summary and nowhere else, weighted."""

    __slots__ = ("cells", "items")

    def __init__(self) -> None:
        self.items: int = 0
        self.cells: dict[Key, Cell] = {}

    def add(self, key: Key) -> Cell:
        """A new cell for a key that has none."""
        cell = self.cells[key] = Cell()
        return cell


class Cells:
    """Of one window, by serialized Resource."""

    __slots__ = ("resources", "weight")

    def __init__(self) -> None:
        self.resources: dict[bytes, ResourceCells] = {}
        self.weight: int = 0  # about the bytes of memory, as of the last `measure`

    def of(self, resource: bytes) -> ResourceCells:
        """The cells of a resource, made when there are none."""
        found = self.resources.get(resource)
        if found is None:
            found = self.resources[resource] = ResourceCells()
            self.weight += _RESOURCE_BYTES + len(resource)
        return found

    def grew(self, keys: int, size: int) -> None:
        """Note that `keys` cells were added, whose keys have `size` bytes together."""
        self.weight += keys * _CELL_BYTES + size

    def merge(self, other: "Cells") -> None:
        """Add what the other has; the other is used up."""
        for resource, theirs in other.resources.items():
            ours = self.resources.get(resource)
            if ours is None:
                self.resources[resource] = theirs
                continue
            ours.items += theirs.items
            for key, cell in theirs.cells.items():
                mine = ours.cells.get(key)
                if mine is None:
                    ours.cells[key] = cell
                else:
                    mine.merge(cell)
        self.weight += other.weight
