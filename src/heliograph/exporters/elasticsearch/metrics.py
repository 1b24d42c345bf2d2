"""Metrics as documents: data points that Elasticsearch would give one identity share one document.

A time series data stream identifies a document by its dimensions and its time, so all points with the same index,
resource and scope attributes, scope name, time, start time, unit and own attributes go into one document, wherever in
the batch they stand; `_metric_names_hash` (a dimension) tells apart the documents of points that came in
different batches. Documents come out in the order of their first points.

Points that become no value are counted by reason: cumulative histograms and exponential histograms, histograms whose
counts and bounds do not fit, numbers that are NaN, infinite or absent, and a second point of a metric in a document.
Source: exporter.go, internal/metricgroup, internal/datapoints and otelserializer/metrics.go (0.156), observed.
"""

from struct import Struct, unpack_from
from struct import error as StructError  # noqa: N812

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
from heliograph.exporters.elasticsearch.histogram import aggregate_json, explicit_json, exponential_json
from heliograph.exporters.elasticsearch.json_text import float_text, json_string
from heliograph.exporters.elasticsearch.origin import Origin, Origins, Section, identity_of
from heliograph.exporters.elasticsearch.route import Route, Router
from heliograph.exporters.elasticsearch.value import items_of, read_varint, signed, skip, skip_any
from heliograph.otlp.errors import MalformedPayload

_FIXED64 = Struct("<Q").unpack_from
_SIGNED64 = Struct("<q").unpack_from
_DOUBLE = Struct("<d").unpack_from

_GAUGE: int = 42
_SUM: int = 58
_HISTOGRAM: int = 74
_EXPONENTIAL: int = 82
_SUMMARY: int = 90
_CUMULATIVE: int = 2

_AGGREGATE: bytes = b"aggregate_metric_double"
_DOC_COUNT: bytes = b"_doc_count"
_RAW: bytes = b"histogram:raw"

_REMEMBERED: int = 4096


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


class Metric:
    """What the points of one metric have in common. kind: the tag of its data in the message Metric."""

    def __init__(self) -> None:
        self.name: bytes = b""
        self.unit: bytes = b""
        self.kind: int = 0
        self.temporality: int = 0
        self.monotonic: bool = False
        self.points: list[bytes] = []
        self.name_json: bytes = b""
        self.template_key: bytes = b""


class Group:
    """A document in the making."""

    def __init__(self, route: Route, start: bytes, end: bytes) -> None:
        self.route: Route = route
        self.start: bytes = start
        self.end: bytes = end
        self.names: set[bytes] = set()
        self.values: list[bytes] = []
        self.templates: list[bytes] = []
        self.doc_count: int = 0
        self.items: int = 0


class Point:
    """One data point, read. value: JSON, or nothing when it has none. template: the dynamic template's name."""

    def __init__(self) -> None:
        self.pairs: list[bytes] = []
        self.start: int = 0
        self.time: int = 0
        self.count: int = 0
        self.total: float = 0.0
        self.value: bytes = b""
        self.template: bytes = b""
        self.reason: str = ""


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

    def read(self, section: Section, number: int, groups: Groups, documents: Documents) -> int:
        """Put the points of the section's metric `number` into groups; how many it had. Raises MalformedPayload."""
        try:
            metric: Metric = _read_metric(section.data, section.starts[number], section.stops[number])
            kind: int = metric.kind
            if (kind in (_HISTOGRAM, _EXPONENTIAL)) and metric.temporality == _CUMULATIVE:
                what: str = "histogram" if kind == _HISTOGRAM else "exponential histogram"
                note: str = f'dropping cumulative temporality {what} "{_shown(metric.name)}"'
                documents.leave_out("cumulative_histogram", len(metric.points), note if metric.points else "")
                return len(metric.points)
            for raw in metric.points:
                self._point(metric, raw, section.origin, groups, documents)
            return len(metric.points)
        except (IndexError, StructError) as error:
            raise MalformedPayload("the message is cut off") from error

    def finish(self, groups: list[Group], documents: Documents) -> None:
        """Make documents of groups."""
        for group in groups:
            names: bytes = b"".join(sorted(group.names))
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
        point: Point = Point()
        kind: int = metric.kind
        if kind in (_GAUGE, _SUM):
            _read_number(metric, raw, point)
        elif kind == _HISTOGRAM:
            _read_histogram(raw, point)
        elif kind == _EXPONENTIAL:
            _read_exponential(raw, point)
        else:
            _read_summary(raw, point)
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
            group = Group(route, start + route.data_stream, own.field + origin.fields)
            groups.groups[key] = group
        if metric.name in group.names:
            name: str = _shown(metric.name)
            documents.leave_out("duplicate_metric", 1, f"metric with name '{name}' is already in its document")
            return
        group.names.add(metric.name)
        if own.doc_count:
            group.doc_count = 1 if kind in (_GAUGE, _SUM) else point.count
        value: bytes = point.value
        if not point.reason and not value:
            value = _distribution(raw, point, own, kind)
            point.template = b"summary" if own.aggregate or kind == _SUMMARY else b"histogram"
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


def _read_metric(data: bytes, pos: int, end: int) -> Metric:
    metric: Metric = Metric()
    while pos < end:
        tag, pos = read_varint(data, pos)
        if tag & 7 != 2:
            pos = skip(data, pos, tag & 7)
            continue
        size, pos = read_varint(data, pos)
        stop: int = pos + size
        if stop > end:
            raise MalformedPayload("a field is longer than its message", pos)
        if tag == 10:
            metric.name = data[pos:stop]
        elif tag == 26:
            metric.unit = data[pos:stop]
        elif tag in (_GAUGE, _SUM, _HISTOGRAM, _EXPONENTIAL, _SUMMARY):
            metric.kind = tag
            metric.points = items_of(data[pos:stop])
            metric.temporality = 0
            metric.monotonic = False
            if tag != _GAUGE and tag != _SUMMARY:
                _read_aggregation(data, pos, stop, metric)
        pos = stop
    metric.name_json = json_string(metric.name)
    metric.template_key = json_string(b"metrics." + metric.name)
    return metric


def _read_aggregation(data: bytes, pos: int, end: int, metric: Metric) -> None:
    while pos < end:
        tag, pos = read_varint(data, pos)
        if tag == 16:
            metric.temporality, pos = read_varint(data, pos)
        elif tag == 24:
            number, pos = read_varint(data, pos)
            metric.monotonic = number != 0
        elif tag & 7 == 2:
            size, pos = read_varint(data, pos)
            pos += size
        else:
            pos = skip(data, pos, tag & 7)


def _read_number(metric: Metric, raw: bytes, point: Point) -> None:
    counter: bool = metric.kind == _SUM and metric.monotonic and metric.temporality == _CUMULATIVE
    point.reason = "no_value"
    pos: int = 0
    end: int = len(raw)
    while pos < end:
        tag: int = raw[pos]
        pos += 1
        if tag == 58:
            size, pos = read_varint(raw, pos)
            if pos + size > end:
                raise MalformedPayload("a field is longer than its message", pos)
            point.pairs.append(raw[pos : pos + size])
            pos += size
        elif tag == 25:
            point.time = _FIXED64(raw, pos)[0]
            pos += 8
        elif tag == 17:
            point.start = _FIXED64(raw, pos)[0]
            pos += 8
        elif tag == 33:
            value: float = _DOUBLE(raw, pos)[0]
            pos += 8
            point.value = float_text(value)
            point.reason = "no_value" if point.value == b"null" else ""
            point.template = b"counter_double" if counter else b"gauge_double"
        elif tag == 49:
            point.value = b"%d" % _SIGNED64(raw, pos)[0]
            pos += 8
            point.reason = ""
            point.template = b"counter_long" if counter else b"gauge_long"
        else:
            pos = _skip_field(raw, pos - 1, end)


def _read_histogram(raw: bytes, point: Point) -> None:
    pos: int = 0
    end: int = len(raw)
    while pos < end:
        tag: int = raw[pos]
        pos += 1
        if tag == 74:
            size, pos = read_varint(raw, pos)
            point.pairs.append(raw[pos : pos + size])
            pos += size
        else:
            pos = _read_shared(raw, tag, pos, end, point)


def _read_exponential(raw: bytes, point: Point) -> None:
    pos: int = 0
    end: int = len(raw)
    while pos < end:
        tag: int = raw[pos]
        pos += 1
        if tag == 10:
            size, pos = read_varint(raw, pos)
            point.pairs.append(raw[pos : pos + size])
            pos += size
        else:
            pos = _read_shared(raw, tag, pos, end, point)


def _read_summary(raw: bytes, point: Point) -> None:
    pos: int = 0
    end: int = len(raw)
    while pos < end:
        tag: int = raw[pos]
        pos += 1
        if tag == 58:
            size, pos = read_varint(raw, pos)
            point.pairs.append(raw[pos : pos + size])
            pos += size
        else:
            pos = _read_shared(raw, tag, pos, end, point)


def _read_shared(raw: bytes, tag: int, pos: int, end: int, point: Point) -> int:
    """Fields that all distributions number alike: start time, time, count, sum."""
    if tag == 25:
        point.time = _FIXED64(raw, pos)[0]
    elif tag == 17:
        point.start = _FIXED64(raw, pos)[0]
    elif tag == 33:
        point.count = _FIXED64(raw, pos)[0]
    elif tag == 41:
        point.total = _DOUBLE(raw, pos)[0]
    else:
        return _skip_field(raw, pos - 1, end)
    return pos + 8


def _distribution(raw: bytes, point: Point, own: PointAttributes, kind: int) -> bytes:
    """The value of a summary, histogram or exponential histogram; nothing when it makes no sense."""
    if kind == _SUMMARY or own.aggregate:
        return aggregate_json(point.total, point.count)
    if kind == _HISTOGRAM:
        counts: list[int] = []
        bounds: list[float] = []
        pos: int = 0
        end: int = len(raw)
        while pos < end:
            tag, pos = read_varint(raw, pos)
            if tag == 50 or tag == 58:
                size, pos = read_varint(raw, pos)
                if pos + size > end or size % 8 != 0:
                    raise MalformedPayload("a packed field has the wrong length", pos)
                if tag == 50:
                    counts.extend(unpack_from(f"<{size // 8}Q", raw, pos))
                else:
                    bounds.extend(unpack_from(f"<{size // 8}d", raw, pos))
                pos += size
            elif tag == 49:
                counts.append(_FIXED64(raw, pos)[0])
                pos += 8
            elif tag == 57:
                bounds.append(_DOUBLE(raw, pos)[0])
                pos += 8
            else:
                pos = skip_any(raw, pos, tag)
        return explicit_json(counts, bounds, point.count, point.total, own.raw)
    return _exponential(raw, own.raw)


def _exponential(raw: bytes, as_bounds: bool) -> bytes:
    scale: int = 0
    zeros: int = 0
    positive_offset: int = 0
    negative_offset: int = 0
    positive: list[int] = []
    negative: list[int] = []
    pos: int = 0
    end: int = len(raw)
    while pos < end:
        tag, pos = read_varint(raw, pos)
        if tag == 48:
            number, pos = read_varint(raw, pos)
            scale = _zigzag32(number)
        elif tag == 57:
            zeros = _FIXED64(raw, pos)[0]
            pos += 8
        elif tag == 66 or tag == 74:
            size, pos = read_varint(raw, pos)
            if pos + size > end:
                raise MalformedPayload("a field is longer than its message", pos)
            if tag == 66:
                positive_offset = _read_buckets(raw, pos, pos + size, positive)
            else:
                negative_offset = _read_buckets(raw, pos, pos + size, negative)
            pos += size
        else:
            pos = skip_any(raw, pos, tag)
    return exponential_json(scale, zeros, positive_offset, positive, negative_offset, negative, as_bounds)


def _read_buckets(raw: bytes, pos: int, end: int, counts: list[int]) -> int:
    offset: int = 0
    while pos < end:
        tag, pos = read_varint(raw, pos)
        if tag == 8:
            number, pos = read_varint(raw, pos)
            offset = _zigzag32(number)
        elif tag == 18:
            size, pos = read_varint(raw, pos)
            stop: int = pos + size
            if stop > end:
                raise MalformedPayload("a field is longer than its message", pos)
            while pos < stop:
                count, pos = read_varint(raw, pos)
                counts.append(count)
        elif tag == 16:
            count, pos = read_varint(raw, pos)
            counts.append(count)
        else:
            pos = skip_any(raw, pos, tag)
    return offset


def _zigzag32(number: int) -> int:
    number &= 0xFFFFFFFF
    return signed((number >> 1) ^ (0xFFFFFFFFFFFFFFFF if number & 1 else 0))


def _skip_field(raw: bytes, pos: int, end: int) -> int:
    tag, pos = read_varint(raw, pos)
    pos = skip_any(raw, pos, tag)
    if pos > end:
        raise MalformedPayload("a field is longer than its message", pos)
    return pos
