"""Parts cut into pieces of at most so many items or bytes.

Cutting goes only as deep as needed: whole parts first, then the spans, log records and metrics of a part; a metric with
more data points than fit is cut between its points. The resource, the scope, schema URLs and a metric's name and
description are repeated in each piece; order is kept. A single record bigger than the limit stands alone.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from heliograph.otlp.count import count
from heliograph.otlp.wire import LENGTH, field, read_varint, skip, varint

Piece = tuple[list[bytes], int]

_SCOPES: Final = 2  # scope_spans, scope_logs, scope_metrics of a part
_RECORDS: Final = 2  # spans, log_records, metrics of a scope
_POINTS: Final = 1  # data_points of a gauge, sum, histogram, ...
_DATA: Final = (5, 7, 9, 10, 11)  # gauge, sum, histogram, exponential_histogram, summary of a metric


def split_items(signal: str, parts: Sequence[bytes], max_items: int) -> list[Piece]:
    """Pieces of at most `max_items` items, all but the last as full as parts in this order allow.

    Returns [(parts, items)]. A part without items goes with its neighbour. max_items below 1 means no limit.
    """
    if max_items < 1:
        return [(list(parts), sum(count(signal, part) for part in parts))]
    return _gather(signal, parts, max_items, lambda part, items: items)


def split_bytes(signal: str, parts: Sequence[bytes], max_bytes: int) -> list[Piece]:
    """Pieces whose Export*ServiceRequest has at most `max_bytes` bytes, where single records allow that.

    Returns [(parts, items)]. max_bytes below 1 means no limit.
    """
    if max_bytes < 1:
        return [(list(parts), sum(count(signal, part) for part in parts))]
    return _gather(signal, parts, max_bytes, lambda part, items: _framed(len(part)))


def _gather(signal: str, parts: Sequence[bytes], limit: int, weigh: Callable[[bytes, int], int]) -> list[Piece]:
    by_items = weigh(b"", 0) == 0
    pieces: list[Piece] = []
    gathered: list[bytes] = []
    gathered_items = weight = 0
    for part in parts:
        items = count(signal, part)
        cost = weigh(part, items)
        if weight + cost <= limit:
            gathered.append(part)
            gathered_items += items
            weight += cost
            continue
        if by_items or cost > limit:
            shreds = _cut_items(signal, part, limit - weight, limit) if by_items else _cut_bytes(signal, part, limit)
        else:
            shreds = iter([(part, items)])
        for shred, shred_items in shreds:
            cost = weigh(shred, shred_items)
            if gathered and weight + cost > limit:
                pieces.append((gathered, gathered_items))
                gathered, gathered_items, weight = [], 0, 0
            gathered.append(shred)
            gathered_items += shred_items
            weight += cost
    if gathered or not pieces:
        pieces.append((gathered, gathered_items))
    return pieces


def _framed(length: int) -> int:
    return length + 1 + len(varint(length))


class _Record:
    """One span, log record or (part of a) metric: its scope, its bytes with tag, its items."""

    __slots__ = ("data", "items", "scope")

    def __init__(self, scope: int, data: bytes, items: int) -> None:
        self.scope = scope
        self.data = data
        self.items = items


def _cut_items(signal: str, part: bytes, first: int, limit: int) -> Iterator[tuple[bytes, int]]:
    head, tail, scopes = _open(part)
    records = _records(signal, scopes, limit)
    taken: list[_Record] = []
    room = first if first > 0 else limit
    for record in records:
        while record.items > room:
            pieces = _cut_metric(record, room)
            taken.append(pieces[0])
            yield _build(head, tail, scopes, taken)
            taken, room, record = [], limit, pieces[1]
        taken.append(record)
        room -= record.items
        if room == 0:
            yield _build(head, tail, scopes, taken)
            taken, room = [], limit
    if taken:
        yield _build(head, tail, scopes, taken)


def _cut_bytes(signal: str, part: bytes, limit: int) -> Iterator[tuple[bytes, int]]:
    head, tail, scopes = _open(part)
    frame = len(head) + len(tail) + 24  # tags and lengths of the part, at their widest
    taken: list[_Record] = []
    weight, scope = frame, -1
    records = _records(signal, scopes, 0)
    queue = list(reversed(records))
    while queue:
        record = queue.pop()
        overhead = 0 if record.scope == scope else len(scopes[record.scope][0]) + len(scopes[record.scope][1]) + 12
        if weight + overhead + len(record.data) > limit:
            if taken:
                yield _build(head, tail, scopes, taken)
                taken, weight, scope = [], frame, -1
                queue.append(record)
                continue
            if record.items > 1:
                half = _cut_metric(record, record.items // 2)
                queue.extend(reversed(half))
                continue
        taken.append(record)
        weight += overhead + len(record.data)
        scope = record.scope
    if taken:
        yield _build(head, tail, scopes, taken)


def _open(part: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes, list[bytes]]]]:
    """(fields before the scopes, fields behind, scopes as (fields before the records, behind, records))."""
    head, tail, scopes = _partition(part, _SCOPES)
    return head, tail, [_partition(_payload(scope), _RECORDS) for scope in scopes]


def _partition(data: bytes, number: int) -> tuple[bytes, bytes, list[bytes]]:
    """The fields of a message: those with this number (tag included) in a list, the others before and behind."""
    wanted: list[bytes] = []
    head: list[bytes] = []
    tail: list[bytes] = []
    pos, size = 0, len(data)
    while pos < size:
        start = pos
        tag, pos = read_varint(data, pos)
        pos = skip(data, pos, tag & 7)
        if tag == number << 3 | LENGTH:
            wanted.append(data[start:pos])
        else:
            (tail if wanted else head).append(data[start:pos])
    return b"".join(head), b"".join(tail), wanted


def _payload(data: bytes) -> bytes:
    _, pos = read_varint(data, 0)
    length, pos = read_varint(data, pos)
    return data[pos : pos + length]


def _records(signal: str, scopes: list[tuple[bytes, bytes, list[bytes]]], _: int) -> list[_Record]:
    metrics = signal == "metrics"
    return [
        _Record(index, record, len(_metric_points(_payload(record))) if metrics else 1)
        for index, scope in enumerate(scopes)
        for record in scope[2]
    ]


def _metric_points(metric: bytes) -> list[bytes]:
    points: list[bytes] = []
    for number in _DATA:
        for data in _partition(metric, number)[2]:
            points.extend(_partition(_payload(data), _POINTS)[2])
    return points


def _cut_metric(record: _Record, first: int) -> list[_Record]:
    """A metric with its first data points, and one with the rest; everything else is repeated."""
    metric = _payload(record.data)
    pieces: list[list[bytes]] = [[], []]
    taken = 0
    pos, size = 0, len(metric)
    while pos < size:
        start = pos
        tag, pos = read_varint(metric, pos)
        pos = skip(metric, pos, tag & 7)
        whole = metric[start:pos]
        if tag & 7 != LENGTH or tag >> 3 not in _DATA:
            pieces[0].append(whole)
            pieces[1].append(whole)
            continue
        head, tail, points = _partition(_payload(whole), _POINTS)
        here = min(len(points), first - taken)
        taken += here
        pieces[0].append(field(tag >> 3, head + b"".join(points[:here]) + tail))
        pieces[1].append(field(tag >> 3, head + b"".join(points[here:]) + tail))
    return [
        _Record(record.scope, field(_RECORDS, b"".join(pieces[0])), first),
        _Record(record.scope, field(_RECORDS, b"".join(pieces[1])), record.items - first),
    ]


def _build(
    head: bytes, tail: bytes, scopes: list[tuple[bytes, bytes, list[bytes]]], records: list[_Record]
) -> tuple[bytes, int]:
    pieces = [head]
    index = 0
    while index < len(records):
        scope = records[index].scope
        before, behind, _ = scopes[scope]
        inner = [before]
        while index < len(records) and records[index].scope == scope:
            inner.append(records[index].data)
            index += 1
        inner.append(behind)
        pieces.append(field(_SCOPES, b"".join(inner)))
    pieces.append(tail)
    return b"".join(pieces), sum(record.items for record in records)
