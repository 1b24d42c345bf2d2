"""How many spans, log records or data points a part holds, without looking at anything else.

A part is a serialized ResourceSpans, ResourceLogs or ResourceMetrics that was checked before (otlp/check.py).
"""

from heliograph.otlp.wire import LENGTH, read_varint, skip


def count(signal: str, part: bytes) -> int:
    """Spans, log records or data points in one part. Raises MalformedPayload."""
    items = 0
    for number, begin, end in fields(part, 0, len(part)):
        if number != 2:  # scope_spans, scope_logs, scope_metrics
            continue
        for inner, inner_begin, inner_end in fields(part, begin, end):
            if inner == 2:  # spans, log_records, metrics
                items += 1 if signal != "metrics" else _points(part, inner_begin, inner_end)
    return items


def _points(data: bytes, begin: int, end: int) -> int:
    points = 0
    for number, data_begin, data_end in fields(data, begin, end):
        if number in (5, 7, 9, 10, 11):  # gauge, sum, histogram, exponential_histogram, summary
            points += sum(1 for number, _, _ in fields(data, data_begin, data_end) if number == 1)
    return points


def fields(data: bytes, pos: int, end: int) -> list[tuple[int, int, int]]:
    """(number, begin, end) of each length-delimited field of the message in data[pos:end]. Raises MalformedPayload."""
    found = []
    while pos < end:
        tag, pos = read_varint(data, pos)
        wire_type = tag & 7
        if wire_type == LENGTH:
            length, begin = read_varint(data, pos)
            pos = begin + length
            found.append((tag >> 3, begin, pos))
        else:
            pos = skip(data, pos, wire_type)
    return found
