"""Metrics and their data points, read from OTLP bytes: what they have in common, and their values as JSON.

Field numbers are those of opentelemetry/proto/metrics/v1/metrics.proto; templates and values are upstream's
(internal/datapoints of exporter/elasticsearchexporter 0.156, observed).
"""

from struct import Struct, unpack_from
from typing import Final

from heliograph.exporters.elasticsearch.histogram import aggregate_json, explicit_json, exponential_json
from heliograph.exporters.elasticsearch.json_text import float_text, json_string
from heliograph.exporters.elasticsearch.value import items_of, read_varint, signed, skip, skip_any
from heliograph.otlp.errors import MalformedPayload

_FIXED64: Final = Struct("<Q").unpack_from
_SIGNED64: Final = Struct("<q").unpack_from
_DOUBLE: Final = Struct("<d").unpack_from

GAUGE: Final = 42
SUM: Final = 58
HISTOGRAM: Final = 74
EXPONENTIAL: Final = 82
SUMMARY: Final = 90
"""Tags of a metric's data in the message Metric."""
CUMULATIVE: Final = 2


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


def read_point(metric: Metric, raw: bytes) -> Point:
    """Read a data point: its attributes and times; of a number also value and template."""
    point: Point = Point()
    kind: int = metric.kind
    if kind in (GAUGE, SUM):
        _read_number(metric, raw, point)
    elif kind == HISTOGRAM:
        _read_histogram(raw, point)
    elif kind == EXPONENTIAL:
        _read_exponential(raw, point)
    else:
        _read_summary(raw, point)
    return point


def read_metric(data: bytes, pos: int, end: int) -> Metric:
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
        elif tag in (GAUGE, SUM, HISTOGRAM, EXPONENTIAL, SUMMARY):
            metric.kind = tag
            metric.points = items_of(data[pos:stop])
            metric.temporality = 0
            metric.monotonic = False
            if tag != GAUGE and tag != SUMMARY:
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
    counter: bool = metric.kind == SUM and metric.monotonic and metric.temporality == CUMULATIVE
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


def distribution(raw: bytes, point: Point, kind: int, aggregate: bool, as_bounds: bool) -> bytes:
    """The value of a summary, histogram or exponential histogram; nothing when it makes no sense. aggregate, as_bounds:
    what mapping hints ask for."""
    if kind == SUMMARY or aggregate:
        return aggregate_json(point.total, point.count)
    if kind == HISTOGRAM:
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
        return explicit_json(counts, bounds, point.count, point.total, as_bounds)
    return _exponential(raw, as_bounds)


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
