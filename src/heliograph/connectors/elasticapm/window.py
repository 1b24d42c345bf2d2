"""The metrics of one interval: resources, and the points of each, with limits on how many there may be.

Limits are Elastic's (resources of a window, metrics of a resource, points of a metric) and one of our own on the
points of a whole window, since the product of Elastic's is no bound that a machine has. What does not fit is not lost:
its values go to a point or resource named `_other`, and how many different ones were merged there is estimated.
The exception is a metric beyond the limit of metrics: that is left out and counted, as Elastic's does.

Everything here is a sum, a minimum, a maximum or a union: the order in which windows are merged does not matter, unless
a limit is reached.
Source: processor/lsmintervalprocessor/internal/merger in elastic/opentelemetry-collector-components.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.connectors.elasticapm.cardinality import Estimator
from heliograph.connectors.elasticapm.cells import Cell, Cells
from heliograph.connectors.elasticapm.dimensions import (
    OTHER_DESTINATION,
    OTHER_SERVICE_TRANSACTION,
    OTHER_TRANSACTION,
    OVERFLOW_RESOURCE,
    Chunks,
    Dimensions,
    Shape,
)
from heliograph.connectors.elasticapm.histogram import Histogram

MAX_POINTS = 20_000
"""Points of a window, whatever the configured limits say."""
MAX_BYTES = 24 * 1024 * 1024
"""Bytes of dimensions of a window; a resource may have a long name, too."""

SUMMARY = "service_summary"
HISTOGRAM = "transaction.duration.histogram"
DURATION = "transaction.duration.summary"
SUCCESS = "event.success_count"
CALLS = "span.destination.service.response_time.count"
TIME = "span.destination.service.response_time.sum.us"
_OF_TRANSACTION = (HISTOGRAM, DURATION, SUCCESS)
_OF_DESTINATION = (TIME, CALLS)


@dataclass(frozen=True, slots=True)
class Limits:
    """Most resources of a window, metrics of a resource, points of a metric; 0 is no limit."""

    resources: int = 8000
    metrics: int = 4000
    points: int = 4000


class Transactions:
    """One point of the three metrics of transactions. us: sum of durations. succeeded and failed: of known outcome."""

    __slots__ = ("failed", "histogram", "succeeded", "us")

    def __init__(self) -> None:
        self.histogram = Histogram()
        self.us = 0
        self.succeeded = 0
        self.failed = 0

    def add(self, cell: Cell, shape: Shape) -> None:
        """Count a cell."""
        if cell.histogram is not None:
            self.histogram.merge(cell.histogram, shape.weight)
        self.us += cell.us * shape.weight
        if shape.succeeded is True:
            self.succeeded += cell.spans * shape.weight
        elif shape.succeeded is False:
            self.failed += cell.spans * shape.weight

    def merge(self, other: "Transactions") -> None:
        """Count what the other has."""
        self.histogram.merge(other.histogram, 1)
        self.us += other.us
        self.succeeded += other.succeeded
        self.failed += other.failed


class Destination:
    """One point of the two metrics of calls to others. us: their durations."""

    __slots__ = ("calls", "us")

    def __init__(self) -> None:
        self.calls = 0
        self.us = 0.0

    def add(self, cell: Cell, shape: Shape) -> None:
        """Count a cell."""
        self.calls += (cell.spans - cell.composite_spans + cell.composite_calls) * shape.weight
        self.us += (cell.us - cell.composite_us + cell.composite_sum) * shape.adjusted

    def merge(self, other: "Destination") -> None:
        """Count what the other has."""
        self.calls += other.calls
        self.us += other.us


class Node:
    """The metrics of one resource. summary: None when there is no service_summary. metrics: names that the limit let
    in; refused: those that it did not. overflow: by metricset, the points that became `_other`."""

    __slots__ = ("destinations", "metrics", "overflow", "refused", "service_transactions", "summary", "transactions")

    def __init__(self) -> None:
        self.summary: int | None = None
        self.service_transactions: dict[Chunks, Transactions] = {}
        self.transactions: dict[Chunks, Transactions] = {}
        self.destinations: dict[Chunks, Destination] = {}
        self.metrics: set[str] = set()
        self.refused: set[str] = set()
        self.overflow: dict[str, Estimator] = {}

    def admit(self, names: tuple[str, ...], limit: int) -> None:
        """Let metrics in while there is room."""
        for name in names:
            if name not in self.metrics:
                (self.refused if 0 < limit <= len(self.metrics) else self.metrics).add(name)

    def overflowed(self, metricset: str) -> Estimator:
        """The estimator of a metricset."""
        found = self.overflow.get(metricset)
        if found is None:
            found = self.overflow[metricset] = Estimator()
        return found


class Budget:
    """What the windows of one interval use together, whatever groups of client metadata there are."""

    __slots__ = ("points", "size")

    def __init__(self) -> None:
        self.points = 0
        self.size = 0

    def spent(self) -> bool:
        """Whether there is no more room."""
        return self.points >= MAX_POINTS or self.size >= MAX_BYTES


class Window:
    """The metrics of one interval of one group of client metadata."""

    def __init__(self, limits: Limits, budget: Budget | None = None) -> None:
        self.limits = limits
        self._budget = budget or Budget()
        self.nodes: dict[Chunks, Node] = {}
        self.resources_overflowed: Estimator | None = None

    def add(self, cells: Cells, dimensions: Dimensions) -> None:
        """Count what came in."""
        for resource, of_resource in cells.resources.items():
            if not of_resource.items and not of_resource.cells:
                continue  # all its spans were late, or could not be read
            common_key, transaction_key = dimensions.resource(resource)
            common = self.node(common_key)
            node: Node | None = None
            total = of_resource.items
            for key, cell in of_resource.cells.items():
                shape = dimensions.shape(key)
                total += cell.spans * shape.weight
                if shape.service_transaction is not None:
                    self.service_transactions(common, shape.service_transaction).add(cell, shape)
                if shape.transaction is not None:
                    if node is None:
                        node = self.node(transaction_key)
                    self.transactions(node, shape.transaction).add(cell, shape)
                if shape.destination is not None:
                    self.destinations(common, shape.destination).add(cell, shape)
            self.summary(common, total)

    def merge(self, other: "Window") -> None:
        """Count what another window has."""
        for key, theirs in other.nodes.items():
            ours = self.node(key)
            if theirs.summary is not None:
                self.summary(ours, theirs.summary)
            for chunks, point in theirs.service_transactions.items():
                self.service_transactions(ours, chunks).merge(point)
            for chunks, point in theirs.transactions.items():
                self.transactions(ours, chunks).merge(point)
            for chunks, calls in theirs.destinations.items():
                self.destinations(ours, chunks).merge(calls)
            for metricset, estimator in theirs.overflow.items():
                ours.overflowed(metricset).merge(estimator)
            for name in theirs.refused - ours.metrics:
                ours.admit((name,), self.limits.metrics)
        if other.resources_overflowed is not None:
            if self.resources_overflowed is None:
                self.resources_overflowed = Estimator()
            self.resources_overflowed.merge(other.resources_overflowed)

    def node(self, key: Chunks) -> Node:
        """The metrics of a resource, or of the one for all that do not fit."""
        found = self.nodes.get(key)
        if found is not None:
            return found
        if key != OVERFLOW_RESOURCE:
            limit = self.limits.resources
            full = 0 < limit <= len(self.nodes) - (OVERFLOW_RESOURCE in self.nodes)
            if full or self._budget.spent():
                if self.resources_overflowed is None:
                    self.resources_overflowed = Estimator()
                self.resources_overflowed.add(key)
                return self.node(OVERFLOW_RESOURCE)
        node = self.nodes[key] = Node()
        self._budget.size += sum(map(len, key))
        self._budget.points += 1
        return node

    def summary(self, node: Node, items: int) -> None:
        """Count spans, log records or data points."""
        node.admit((SUMMARY,), self.limits.metrics)
        node.summary = (node.summary or 0) + items

    def service_transactions(self, node: Node, key: Chunks) -> Transactions:
        """The point of these dimensions, or the one for all that do not fit."""
        points = node.service_transactions
        found = points.get(key)
        if found is None:
            key = self._fitting(node, "service_transaction", key, OTHER_SERVICE_TRANSACTION, _transactions_of(node))
            node.admit(_OF_TRANSACTION, self.limits.metrics)
            found = points.get(key) or points.setdefault(key, Transactions())
        return found

    def transactions(self, node: Node, key: Chunks) -> Transactions:
        """The point of these dimensions, or the one for all that do not fit."""
        points = node.transactions
        found = points.get(key)
        if found is None:
            key = self._fitting(node, "transaction", key, OTHER_TRANSACTION, _transactions_of(node))
            node.admit(_OF_TRANSACTION, self.limits.metrics)
            found = points.get(key) or points.setdefault(key, Transactions())
        return found

    def destinations(self, node: Node, key: Chunks) -> Destination:
        """The point of these dimensions, or the one for all that do not fit."""
        points = node.destinations
        found = points.get(key)
        if found is None:
            used = len(points) - (OTHER_DESTINATION in points)
            key = self._fitting(node, "service_destination", key, OTHER_DESTINATION, used)
            node.admit(_OF_DESTINATION, self.limits.metrics)
            found = points.get(key) or points.setdefault(key, Destination())
        return found

    def overflows(self) -> Iterator[tuple[str, int]]:
        """(kind, estimate) of what did not fit: resource, metric, datapoint."""
        if self.resources_overflowed is not None:
            yield "resource", self.resources_overflowed.estimate()
        for node in self.nodes.values():
            if node.refused:
                yield "metric", len(node.refused)
            for estimator in node.overflow.values():
                yield "datapoint", estimator.estimate()

    def _fitting(self, node: Node, metricset: str, key: Chunks, other: Chunks, used: int) -> Chunks:
        """The key for a new point: its own while there is room."""
        if key == other:
            return other
        if 0 < self.limits.points <= used or self._budget.spent():
            node.overflowed(metricset).add(key)
            return other
        self._budget.points += 1
        self._budget.size += sum(map(len, key))
        return key


def _transactions_of(node: Node) -> int:
    """Points of the metrics of transactions, which both metricsets share when their resources are alike."""
    own, all_ = node.service_transactions, node.transactions
    return len(own) + len(all_) - (OTHER_SERVICE_TRANSACTION in own) - (OTHER_TRANSACTION in all_)
