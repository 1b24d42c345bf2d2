"""How many spans, log records or data points a part holds, without looking at anything else.

A part is a serialized ResourceSpans, ResourceLogs or ResourceMetrics that was checked before (otlp/check.py).
"""

from typing import TYPE_CHECKING, Final

from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.wire import LENGTH, read_varint, skip

if TYPE_CHECKING:
    from mypy_extensions import i64

_INSIDE: Final = 2  # scope_spans of a part, spans of a scope; likewise for logs and metrics


def count(signal: str, part: bytes) -> int:
    """Spans, log records or data points in one part. Raises MalformedPayload."""
    return _count(part, 0, len(part), 0, signal == "metrics")


def _count(data: bytes, pos: "i64", end: "i64", level: "i64", metrics: bool) -> "i64":
    """level: 0 in a part, 1 in a scope, 2 in a metric, 3 in its gauge, sum or histogram."""
    items: i64 = 0
    while pos < end:
        start: i64 = pos
        tag: i64 = data[pos]
        pos += 1
        if tag >= 128:
            tag, pos = _number(data, start)
        if tag & 7 != LENGTH:
            pos = skip(data, pos, tag & 7)
            continue
        if pos >= end:
            break
        length: i64 = data[pos]
        if length < 128:
            pos += 1
        else:
            length, pos = _number(data, pos)
        begin: i64 = pos
        pos += length
        if pos > end:
            break
        number: i64 = tag >> 3
        if level < 2:
            if number != _INSIDE:
                continue
            if level == 1 and not metrics:
                items += 1
            else:
                items += _count(data, begin, pos, level + 1, metrics)
        elif level == 2:
            if number == 5 or number == 7 or 9 <= number <= 11:
                items += _count(data, begin, pos, 3, metrics)
        elif number == 1:
            items += 1
    if pos != end:
        raise MalformedPayload("field cut off", end)
    return items


def _number(data: bytes, pos: "i64") -> "tuple[i64, i64]":
    value, behind = read_varint(data, pos)
    return value & 0xFFFFFFFF, behind
