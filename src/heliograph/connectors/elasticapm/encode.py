"""A window as serialized ResourceMetrics, in pieces of a bounded size.

All is delta, without a start time, and of the scope that Elastic's connector writes. The time of every point is the
begin of its window plus one millisecond for each time the window was written before: Elasticsearch makes a document's
id of its dimensions and its milliseconds, so writing the same window again is a duplicate that it refuses, and writing
what came later is a document of its own. The three metrics of one set of dimensions stay in one piece.
Sources: opentelemetry-proto metrics.proto; connector/elasticapmconnector/config.go for names, units and descriptions.
"""

import struct
from collections.abc import Iterator

from heliograph.connectors.elasticapm.dimensions import Chunks, chunk
from heliograph.connectors.elasticapm.histogram import Histogram
from heliograph.connectors.elasticapm.window import (
    CALLS,
    DURATION,
    HISTOGRAM,
    SUCCESS,
    SUMMARY,
    TIME,
    Destination,
    Node,
    Transactions,
    Window,
)
from heliograph.otlp.wire import field, varint

SCOPE = "github.com/open-telemetry/opentelemetry-collector-contrib/connector/signaltometricsconnector"
INSTANCE = "signal_to_metrics.service.instance.id"
POINTS_OF_A_PIECE = 1000

_DELTA = b"\x10\x01"
_EXPONENTIAL, _HISTOGRAM, _NUMBER = b"\x0a", b"\x4a", b"\x3a"  # tags of a point's attributes
_DOC_COUNT = chunk("elasticsearch.mapping.hints", ["_doc_count"])
_AGGREGATE = chunk("elasticsearch.mapping.hints", ["aggregate_metric_double"])
_LARGEST = (1 << 63) - 1
_OF = {"service_transaction": "service transaction", "transaction": "transaction"}


class Encoder:
    """Of one interval. label: as in `metricset.interval`, for example "1m". instance: of the one who writes."""

    def __init__(self, label: str, instance: str) -> None:
        self._label = label
        self._instance = b"\x0a" + chunk(INSTANCE, instance)
        self._scope = field(1, field(1, SCOPE.encode()))
        self._common: dict[str, Chunks] = {}

    def pieces(self, window: Window, time_ns: int) -> Iterator[tuple[bytes, int]]:
        """(serialized ResourceMetrics, data points)."""
        time = b"\x19" + struct.pack("<Q", time_ns)
        for key, node in window.nodes.items():
            resource = field(1, b"".join([b"\x0a" + item for item in key]) + self._instance)
            writer = _Writer()
            self._small(writer, node, time)
            for metricset, points in (
                ("service_transaction", node.service_transactions),
                ("transaction", node.transactions),
            ):
                for dimensions, transactions in points.items():
                    self._transactions(writer, node, metricset, dimensions, transactions, time)
                    if writer.points >= POINTS_OF_A_PIECE:
                        yield self._piece(resource, writer)
                        writer = _Writer()
            for dimensions, destination in node.destinations.items():
                self._destination(writer, node, dimensions, destination, time)
                if writer.points >= POINTS_OF_A_PIECE:
                    yield self._piece(resource, writer)
                    writer = _Writer()
            if writer.points:
                yield self._piece(resource, writer)

    def _piece(self, resource: bytes, writer: "_Writer") -> tuple[bytes, int]:
        return resource + field(2, self._scope + writer.metrics()), writer.points

    def _of(self, metricset: str) -> Chunks:
        """The attributes that all points of a metricset have."""
        found = self._common.get(metricset)
        if found is None:
            found = self._common[metricset] = (
                chunk("metricset.name", metricset),
                chunk("metricset.interval", self._label),
                chunk("processor.event", "metric"),
                chunk("data_stream.dataset", f"{metricset}.{self._label}"),
            )
        return found

    def _small(self, writer: "_Writer", node: Node, time: bytes) -> None:
        """Number of items, and what did not fit."""
        if node.summary is not None and SUMMARY in node.metrics:
            writer.number(SUMMARY, "", "", self._of("service_summary"), _integer(node.summary), time)
        if node.refused:
            attributes = (*self._of("service_summary"), chunk("overflow", "metric"))
            text = "Metrics left out because of the limit of metrics"
            writer.number("_overflow_metric", text, "", attributes, _integer(len(node.refused)), time)
        for metricset, estimator in node.overflow.items():
            attributes = (*self._of(metricset), chunk("overflow", "datapoint"))
            text = "Points merged into one because of the limit of points"
            writer.number("_overflow_datapoints", text, "", attributes, _integer(estimator.estimate()), time)

    def _transactions(
        self, writer: "_Writer", node: Node, metricset: str, dimensions: Chunks, point: Transactions, time: bytes
    ) -> None:
        attributes = (*dimensions, *self._of(metricset))
        of = _OF[metricset]
        histogram = point.histogram
        count = histogram.count
        if HISTOGRAM in node.metrics:
            text = f"APM {of} aggregated metrics as histogram"
            data = _exponential(histogram, point.us, (*attributes, _DOC_COUNT), time)
            writer.add(10, HISTOGRAM, text, "us", data)
        if DURATION in node.metrics:
            below = histogram.zero + sum([n for index, n in histogram.counts.items() if index < 0])
            data = _explicit(below, count - below, float(point.us), (*attributes, _AGGREGATE), time)
            writer.add(9, DURATION, f"APM {of} aggregated metrics as summary", "us", data)
        known = point.succeeded + point.failed
        if known and SUCCESS in node.metrics:
            data = _explicit(known, 0, float(point.succeeded), (*attributes, _AGGREGATE), time)
            writer.add(9, SUCCESS, f"Success count as a metric for {of}", "us", data)

    def _destination(self, writer: "_Writer", node: Node, dimensions: Chunks, point: Destination, time: bytes) -> None:
        attributes = (*dimensions, *self._of("service_destination"))
        text = "APM span destination metrics"
        if TIME in node.metrics:
            writer.number(TIME, text, "us", attributes, b"\x21" + struct.pack("<d", point.us), time)
        if CALLS in node.metrics:
            writer.number(CALLS, text, "", attributes, _integer(point.calls), time)


class _Writer:
    """Collects data points by metric."""

    def __init__(self) -> None:
        self.points = 0
        self._metrics: dict[tuple[int, str, str, str], list[bytes]] = {}

    def add(self, kind: int, name: str, text: str, unit: str, point: bytes) -> None:
        """kind: field of a Metric."""
        self._metrics.setdefault((kind, name, text, unit), []).append(field(1, point))
        self.points += 1

    def number(self, name: str, text: str, unit: str, attributes: Chunks, value: bytes, time: bytes) -> None:
        """A point of a sum. value: the serialized field."""
        self.add(7, name, text, unit, time + value + b"".join([_NUMBER + item for item in attributes]))

    def metrics(self) -> bytes:
        """Serialized fields of a ScopeMetrics."""
        return b"".join(
            [
                field(2, _texts(name, text, unit) + field(kind, b"".join(points) + _DELTA))
                for (kind, name, text, unit), points in self._metrics.items()
            ]
        )


def _texts(name: str, text: str, unit: str) -> bytes:
    return b"".join([field(n, value.encode()) for n, value in ((1, name), (2, text), (3, unit)) if value])


def _integer(value: int) -> bytes:
    return b"\x31" + struct.pack("<q", max(min(value, _LARGEST), -_LARGEST))


def _exponential(histogram: Histogram, us: int, attributes: Chunks, time: bytes) -> bytes:
    pieces = [_EXPONENTIAL + item for item in attributes]
    pieces.append(time)
    pieces.append(b"\x21" + struct.pack("<Q", min(histogram.count, _LARGEST)))
    pieces.append(b"\x29" + struct.pack("<d", us))
    pieces.append(b"\x30" + _zigzag(histogram.scale))
    if histogram.zero:
        pieces.append(b"\x39" + struct.pack("<Q", min(histogram.zero, _LARGEST)))
    if histogram.counts:
        counts = histogram.counts
        dense = [counts.get(index, 0) for index in range(histogram.first, histogram.last + 1)]
        small = max(dense) < 128  # then each is one byte
        packed = bytes(dense) if small else b"".join([varint(min(count, _LARGEST)) for count in dense])
        pieces.append(field(8, b"\x08" + _zigzag(histogram.first) + field(2, packed)))
    pieces.append(b"\x61" + struct.pack("<d", max(histogram.smallest, 0)))
    pieces.append(b"\x69" + struct.pack("<d", max(histogram.largest, 0)))
    return b"".join(pieces)


def _explicit(below: int, above: int, total: float, attributes: Chunks, time: bytes) -> bytes:
    """A histogram with one bound, 1."""
    below, above = min(below, _LARGEST), min(above, _LARGEST)
    pieces = [time, b"\x21", struct.pack("<Q", min(below + above, _LARGEST)), b"\x29", struct.pack("<d", total)]
    pieces.append(field(6, struct.pack("<QQ", below, above)))
    pieces.append(field(7, struct.pack("<d", 1.0)))
    pieces += [_HISTOGRAM + item for item in attributes]
    return b"".join(pieces)


def _zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)
