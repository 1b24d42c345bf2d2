"""Metrics as documents: data points that Elasticsearch would give one identity share one document.

A time series data stream identifies a document by its dimensions and its time, so all points with the same index,
resource and scope attributes, scope name, time, start time, unit and own attributes go into one document, wherever in
the batch they stand; `_metric_names_hash` (a dimension) tells apart the documents of points that came in
different batches. Documents come out in the order of their first points.

Points that become no value are counted by reason: cumulative histograms and exponential histograms, histograms whose
counts and bounds do not fit, numbers that are NaN, infinite or absent, and a second point of a metric in a document.
Source: exporter.go, internal/metricgroup, internal/datapoints and otelserializer/metrics.go (0.156), observed.
"""

from struct import error as StructError  # noqa: N812
from typing import Final

from xxhash import xxh64_intdigest

from heliograph.exporters.elasticsearch.attribute import (
    HINTS,
    NO_INDEX,
    ROUTE,
    Attribute,
    AttributeMemory,
    attributes_json,
    flags_of,
    hints_of,
    unique,
)
from heliograph.exporters.elasticsearch.documents import Documents
from heliograph.exporters.elasticsearch.json_text import json_string
from heliograph.exporters.elasticsearch.origin import Origin, Origins, Section, identity_of
from heliograph.exporters.elasticsearch.points import (
    CUMULATIVE,
    EXPONENTIAL,
    GAUGE,
    HISTOGRAM,
    SUM,
    SUMMARY,
    Metric,
    Point,
    distribution,
    read_metric,
    read_point,
)
from heliograph.exporters.elasticsearch.route import Route, Router
from heliograph.otlp.errors import MalformedPayload

_AGGREGATE: Final = b"aggregate_metric_double"
_DOC_COUNT: Final = b"_doc_count"
_RAW: Final = b"histogram:raw"

_REMEMBERED: Final = 4096


class PointAttributes:
    """The attributes of a data point. field: `,"attributes":{...}` or nothing."""

    def __init__(self, attributes: list[Attribute]) -> None:
        flags: int = flags_of(attributes)
        self.attributes: list[Attribute] = unique(attributes)
        self.field: bytes = b',"attributes":' + attributes_json(self.attributes, flags) if attributes else b""
        self.identity: bytes = identity_of(self.attributes)
        self.routed: bool = flags & ROUTE != 0
        hints: frozenset[bytes] = hints_of(self.attributes) if flags & HINTS != 0 else frozenset()
        self.no_index: bool = NO_INDEX in hints
        self.aggregate: bool = _AGGREGATE in hints
        self.doc_count: bool = _DOC_COUNT in hints
        self.raw: bool = _RAW in hints


class Group:
    """A document in the making."""

    def __init__(self, route: Route, scope: bytes, start: bytes, end: bytes) -> None:
        self.route: Route = route
        self.scope: bytes = scope
        self.start: bytes = start
        self.end: bytes = end
        self.names: set[bytes] = set()
        self.values: list[bytes] = []
        self.templates: list[bytes] = []
        self.doc_count: int = 0
        self.items: int = 0


class Groups:
    """The documents of one batch, until it is complete."""

    def __init__(self) -> None:
        self.groups: dict[tuple[bytes, bytes, bytes, bytes, int, int], Group] = {}

    def all(self) -> list[Group]:
        """In the order of their first points."""
        return list(self.groups.values())


class MetricEncoder:
    """Encodes metrics. One for each exporter; what it remembers is bounded."""

    def __init__(self, fixed_index: bytes) -> None:
        self.memory: AttributeMemory = AttributeMemory(True, _REMEMBERED)
        self.router: Router = Router(b"metrics", fixed_index)
        self.origins: Origins = Origins(self.memory, self.router, self.router)
        self.young: dict[tuple[bytes, ...], PointAttributes] = {}
        self.old: dict[tuple[bytes, ...], PointAttributes] = {}
        self.hashes: dict[bytes, bytes] = {}

    def set_date(self, date: bytes) -> None:
        """Append a separator and date to every index (logstash_format)."""
        if self.router.set_date(date):
            self.origins.forget()

    def sections(self, part: bytes) -> list[Section]:
        """Cut a part into the metrics of its scopes. Raises MalformedPayload."""
        try:
            return self.origins.sections(part)
        except (IndexError, StructError) as error:
            raise MalformedPayload("the message is cut off") from error

    def metric(self, section: Section, number: int, documents: Documents) -> Metric:
        """Read the section's metric `number`; without points when none of them will be in a document. Raises
        MalformedPayload."""
        try:
            metric: Metric = read_metric(section.data, section.starts[number], section.stops[number])
        except (IndexError, StructError) as error:
            raise MalformedPayload("the message is cut off") from error
        kind: int = metric.kind
        if kind in (HISTOGRAM, EXPONENTIAL) and metric.temporality == CUMULATIVE and metric.points:
            what: str = "histogram" if kind == HISTOGRAM else "exponential histogram"
            note: str = f'dropping cumulative temporality {what} "{_shown(metric.name)}"'
            documents.leave_out("cumulative_histogram", len(metric.points), note)
            metric.points = []
        return metric

    def group(
        self, metric: Metric, first: int, last: int, origin: Origin, groups: Groups, documents: Documents
    ) -> None:
        """Put the metric's points first..last-1 into groups. Raises MalformedPayload."""
        try:
            for number in range(first, last):
                self._point(metric, metric.points[number], origin, groups, documents)
        except (IndexError, StructError) as error:
            raise MalformedPayload("the message is cut off") from error

    def finish(self, groups: list[Group], documents: Documents) -> None:
        """Make documents of groups."""
        for group in groups:
            names: bytes = b"".join(sorted(group.names)) + group.scope
            hash: bytes | None = self.hashes.get(names)
            if hash is None:
                if len(self.hashes) >= _REMEMBERED:
                    self.hashes = {}
                hash = b"%x" % xxh64_intdigest(names)
                self.hashes[names] = hash
            action: bytes = group.route.action
            if group.templates:
                action = group.route.action_line(b"", b"", b"{" + b",".join(group.templates) + b"}")
            pieces: list[bytes] = [action, group.start, group.end, b',"metrics":{', b",".join(group.values), b"}"]
            if group.doc_count != 0:
                pieces.append(b',"_doc_count":%d' % group.doc_count)
            pieces.append(b',"_metric_names_hash":"' + hash + b'"}\n')
            documents.lines.append(b"".join(pieces))
            documents.items.append(group.items)

    def _point(self, metric: Metric, raw: bytes, origin: Origin, groups: Groups, documents: Documents) -> None:
        kind: int = metric.kind
        point: Point = read_point(metric, raw)
        own: PointAttributes = self._attributes(point.pairs)
        if own.no_index:
            documents.leave_out("noindex", 1, "")
            return
        route: Route = origin.route.of_record(own.attributes) if own.routed else origin.route.usual
        key: tuple[bytes, bytes, bytes, bytes, int, int] = (
            route.index,
            origin.identity,
            own.identity,
            metric.unit,
            point.time,
            point.start,
        )
        group: Group | None = groups.groups.get(key)
        if group is None:
            start: bytes = b'{"@timestamp":%d' % (point.time // 1000000)
            if point.start != 0:
                start += b',"start_timestamp":%d' % (point.start // 1000000)
            if metric.unit:
                start += b',"unit":' + json_string(metric.unit)
            group = Group(route, origin.scope, start + route.data_stream, own.field + origin.fields)
            groups.groups[key] = group
        if metric.name in group.names:
            name: str = _shown(metric.name)
            documents.leave_out("duplicate_metric", 1, f"metric with name '{name}' is already in its document")
            return
        group.names.add(metric.name)
        if own.doc_count:
            group.doc_count = 1 if kind in (GAUGE, SUM) else point.count
        value: bytes = point.value
        if not point.reason and not value:
            value = distribution(raw, point, kind, own.aggregate, own.raw)
            point.template = b"summary" if own.aggregate or kind == SUMMARY else b"histogram"
            if not value:
                point.reason = "invalid_histogram"
        if point.reason:
            documents.leave_out(point.reason, 1, f'invalid data point of "{_shown(metric.name)}": {point.reason}')
            return
        group.values.append(metric.name_json + b":" + value)
        group.templates.append(metric.template_key + b':"' + point.template + b'"')
        group.items += 1

    def _attributes(self, pairs: list[bytes]) -> PointAttributes:
        key: tuple[bytes, ...] = tuple(pairs)
        found: PointAttributes | None = self.young.get(key)
        if found is not None:
            return found
        found = self.old.get(key)
        if found is None:
            attributes: list[Attribute] = []
            for pair in pairs:
                attributes.append(self.memory.find(pair))
            found = PointAttributes(attributes)
            if sum([len(pair) for pair in pairs]) > 4096:
                return found
        if len(self.young) >= _REMEMBERED:
            self.old = self.young
            self.young = {}
        self.young[key] = found
        return found


def _shown(name: bytes) -> str:
    return name[:200].decode("utf-8", "replace")
