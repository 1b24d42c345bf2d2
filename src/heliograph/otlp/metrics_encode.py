"""Data points -> serialized metrics, without building protobuf objects: scrapes run on every node for ever.

Field numbers are opentelemetry-proto's metrics.proto. Attribute sets are encoded once and remembered.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from heliograph.otlp.attributes import encode_key_value
from heliograph.otlp.wire import field

_INT_POINT = struct.Struct("<BQBQBq")  # start_time_unix_nano, time_unix_nano, as_int
_DOUBLE_POINT = struct.Struct("<BQBQBd")  # start_time_unix_nano, time_unix_nano, as_double
_START, _TIME, _DOUBLE, _INT = (2 << 3) | 1, (3 << 3) | 1, (4 << 3) | 1, (6 << 3) | 1
_POINT_ATTRIBUTES = 7
_INT64 = range(-(2**63), 2**63)
_CUMULATIVE, _MONOTONIC = b"\x10\x02", b"\x18\x01"


@dataclass(frozen=True, slots=True)
class Metric:
    """kind: "sum" (cumulative), "counter" (cumulative and monotonic) or "gauge"; whole: whether values are integers;
    on: whether it is reported when the configuration says nothing."""

    name: str
    unit: str
    kind: str
    whole: bool
    on: bool
    description: str


def metric_table(*rows: tuple[str, str, str, bool, bool, str]) -> dict[str, Metric]:
    """Metrics by name, from the fields of Metric in order."""
    return {row[0]: Metric(*row) for row in rows}


Attributes = tuple[tuple[str, str], ...]
Point = tuple[Attributes, float]


@lru_cache(maxsize=8192)
def _attributes(pairs: Attributes) -> bytes:
    return b"".join(encode_key_value(_POINT_ATTRIBUTES, key, value) for key, value in pairs)


@lru_cache(maxsize=1024)
def _head(metric: Metric) -> bytes:
    texts = (metric.name, metric.description, metric.unit)
    return b"".join(field(number, text.encode()) for number, text in enumerate(texts, 1))


def encode_metric(metric: Metric, points: Iterable[Point], start_ns: int, time_ns: int) -> tuple[bytes, int]:
    """A serialized Metric and its number of points. A whole number outside 64 bits becomes the nearest one inside.
    Raises ValueError and OverflowError for a whole number that is not finite."""
    encoded: list[bytes] = []
    for pairs, value in points:
        if metric.whole:
            whole = int(value)
            if whole not in _INT64:
                whole = _INT64[-1] if whole > 0 else _INT64[0]
            head = _INT_POINT.pack(_START, start_ns, _TIME, time_ns, _INT, whole)
        else:
            head = _DOUBLE_POINT.pack(_START, start_ns, _TIME, time_ns, _DOUBLE, value)
        encoded.append(field(1, head + _attributes(pairs)))
    data = b"".join(encoded)
    if metric.kind == "gauge":
        return _head(metric) + field(5, data), len(encoded)
    tail = _CUMULATIVE + _MONOTONIC if metric.kind == "counter" else _CUMULATIVE
    return _head(metric) + field(7, data + tail), len(encoded)


def encode_metrics(
    metrics: Mapping[str, Metric], found: Mapping[str, Iterable[Point]], start_ns: int, time_ns: int
) -> tuple[bytes, int]:
    """All metrics of a ScopeMetrics (fields number 2) and the number of points. Metrics without points are left out."""
    chunks: list[bytes] = []
    total = 0
    for name, points in found.items():
        encoded, count = encode_metric(metrics[name], points, start_ns, time_ns)
        if count:
            chunks.append(field(2, encoded))
            total += count
    return b"".join(chunks), total


def resource_metrics(resource: bytes, scope: bytes, metrics: bytes, schema_url: str) -> bytes:
    """A serialized ResourceMetrics with one scope. resource and scope are serialized messages."""
    inner = field(1, scope) + metrics
    return field(1, resource) + field(2, inner) + field(3, schema_url.encode())
