"""The walk over a serialized ResourceSpans: each span is counted in the cell that its dimensions name.

Nothing is decoded but numbers; texts are compared and kept as bytes. A span that cannot be read, or whose tracestate
breaks the grammar, is left out and counted; its neighbours are not touched. A span that ends before it starts took no
time. `transaction.root` and the span's name come from the span itself and win over attributes of these names.
Source: connector/elasticapmconnector/{connector,config}.go in elastic/opentelemetry-collector-components.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from heliograph.connectors.elasticapm.cells import (
    ATTRIBUTES,
    DESTINATION,
    DESTINATION_RESOURCE,
    HEAD,
    NAME,
    OUTCOME,
    RESULT,
    ROOT,
    TARGET_NAME,
    TARGET_TYPE,
    TRANSACTION,
    TYPE,
    Cells,
    ResourceCells,
)
from heliograph.connectors.elasticapm.histogram import Histogram
from heliograph.otlp.attributes import decode_any_value, decode_key_value
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.tracestate import BadTracestate, sampling
from heliograph.otlp.wire import LENGTH, read_varint, skip

_SECOND: Final = 2 << 3 | LENGTH  # the sections of a part, the spans of a section
_TRACESTATE: Final = 3 << 3 | LENGTH
_PARENT: Final = 4 << 3 | LENGTH
_NAME: Final = 5 << 3 | LENGTH
_START: Final = 7 << 3 | 1
_END: Final = 8 << 3 | 1
_ATTRIBUTE: Final = 9 << 3 | LENGTH
_KEY: Final = 1 << 3 | LENGTH
_REMEMBERED: Final = 1024
_DOUBLE: Final = Struct("<d")
_NO_PARENT: Final = b"\0" * 8
_KINDS: Final = [bytes([kind]) for kind in range(8)]

Late = Callable[[int], Cells | None]


class SpanReader:
    """Reads by one configuration. custom: keys of further span attributes that are dimensions.

    spans, bad_tracestate, odd: counted since the caller last set them to 0.
    """

    def __init__(self, custom: list[str]) -> None:
        names = [*ATTRIBUTES, *custom]
        self._places: dict[bytes, int] = {name.encode(): place for place, name in enumerate(names, HEAD)}
        self._count_at: int = HEAD + len(names)
        self._sum_at: int = self._count_at + 1
        self._places[b"span.composite.count"] = self._count_at
        self._places[b"span.composite.sum.us"] = self._sum_at
        self._custom_end: int = self._count_at
        self._blank: list[bytes] = [b""] * (self._sum_at + 1)
        lengths = bytearray(256)
        for key in self._places:
            lengths[min(len(key), 255)] = 1
        self._lengths: bytes = bytes(lengths)
        self._weights: dict[bytes, bytes | None] = {b"": b""}
        self.spans: int = 0
        self.bad_tracestate: int = 0
        self.odd: int = 0

    def read(self, part: bytes, resource: bytes, cells: Cells, oldest: int, recent: int, late: Late) -> None:
        """Count all spans of a part whose Resource is `resource`.

        cells: where spans belong that ended at `recent` or after, or before `oldest` (nanoseconds); `late` gives the
        cells of the others, or None for `cells`. Raises MalformedPayload when the part itself cannot be read.
        """
        usual = cells.of(resource)
        pos, size = 0, len(part)
        while pos < size:
            tag, pos = read_varint(part, pos)
            end = skip(part, pos, tag & 7)
            if tag == _SECOND:
                _, begin = read_varint(part, pos)
                self._section(part, begin, end, resource, cells, usual, oldest, recent, late)
            pos = end

    def _section(
        self,
        part: bytes,
        pos: int,
        end: int,
        resource: bytes,
        cells: Cells,
        usual: ResourceCells,
        oldest: int,
        recent: int,
        late: Late,
    ) -> None:
        while pos < end:
            tag = part[pos]
            pos += 1
            if tag != _SECOND:
                tag, pos = read_varint(part, pos - 1)
                pos = skip(part, pos, tag & 7)
                continue
            length = part[pos]
            pos += 1
            if length > 127:
                length, pos = read_varint(part, pos - 1)
            self.spans += 1
            try:
                self._span(part, pos, pos + length, resource, cells, usual, oldest, recent, late)
            except (MalformedPayload, IndexError):
                self.odd += 1
            pos += length

    def _span(
        self,
        part: bytes,
        pos: int,
        end: int,
        resource: bytes,
        cells: Cells,
        usual: ResourceCells,
        oldest: int,
        recent: int,
        late: Late,
    ) -> None:
        values = self._blank.copy()
        lengths = self._lengths
        name = tracestate = b""
        root = True
        start = finish = 0
        while pos < end:
            tag = part[pos]
            pos += 1
            if tag > 127:
                tag, pos = read_varint(part, pos - 1)
            if tag & 7 == LENGTH:
                length = part[pos]
                pos += 1
                if length > 127:
                    length, pos = read_varint(part, pos - 1)
                behind = pos + length
                if behind > end:
                    raise MalformedPayload("field cut off", pos)
                if tag == _ATTRIBUTE:
                    if length > 1 and part[pos] == _KEY and part[pos + 1] < 128:
                        size = part[pos + 1]
                        if lengths[size]:
                            place = self._places.get(part[pos + 2 : pos + 2 + size], 0)
                            if place and not values[place]:
                                values[place] = part[pos + 2 + size : behind]
                    else:
                        self._unusual(part[pos:behind], values)
                elif tag == _NAME:
                    name = part[pos:behind]
                elif tag == _PARENT:
                    root = part[pos:behind] in (b"", _NO_PARENT)
                elif tag == _TRACESTATE:
                    tracestate = part[pos:behind]
                pos = behind
            elif tag == _START:
                start = int.from_bytes(part[pos : pos + 8], "little")
                pos += 8
            elif tag == _END:
                finish = int.from_bytes(part[pos : pos + 8], "little")
                pos += 8
            else:
                pos = skip(part, pos, tag & 7)
        adjusted = b""
        if tracestate:
            found = self._weight(tracestate)
            if found is None:
                self.bad_tracestate += 1
                return
            adjusted = found
        if oldest <= finish < recent:
            theirs = late(finish)
            if theirs is not None:
                cells = theirs
                usual = cells.of(resource)
        kind = TRANSACTION if values[TYPE] else 0
        if values[TARGET_TYPE] and values[TARGET_NAME] and values[OUTCOME] and values[DESTINATION_RESOURCE]:
            kind |= DESTINATION
        if kind == 0 and not adjusted:
            usual.items += 1
            return
        us = (finish - start) // 1000 if finish > start else 0
        self._count(values, kind, root, name, adjusted, us, cells, usual)

    def _count(
        self,
        values: list[bytes],
        kind: int,
        root: bool,
        name: bytes,
        adjusted: bytes,
        us: int,
        cells: Cells,
        usual: ResourceCells,
    ) -> None:
        calls = sum_us = b""
        if kind & DESTINATION:
            calls, sum_us = values[self._count_at], values[self._sum_at]
            values[2] = name
        else:
            values[TARGET_TYPE] = values[TARGET_NAME] = values[DESTINATION_RESOURCE] = b""
        if not kind & TRANSACTION:
            values[NAME] = values[RESULT] = b""
        elif root:
            kind |= ROOT
        if kind == 0:
            for place in range(HEAD, self._custom_end):
                values[place] = b""
        values[0] = _KINDS[kind]
        values[1] = adjusted
        del values[self._count_at :]
        key = tuple(values)
        cell = usual.cells.get(key)
        if cell is None:
            cell = usual.add(key)
            cells.grew(1, sum([len(value) for value in key]))
            if kind & TRANSACTION:
                cell.histogram = Histogram()
        cell.spans += 1
        cell.us += us
        if cell.histogram is not None:
            cell.histogram.add(us)
        if calls:
            cell.composite_spans += 1
            cell.composite_calls += int(_number(calls))
        if sum_us:
            cell.composite_us += us
            cell.composite_sum += _number(sum_us)

    def _weight(self, tracestate: bytes) -> bytes | None:
        """The adjusted count as in a key; None for a tracestate that cannot be read."""
        if tracestate in self._weights:
            return self._weights[tracestate]
        try:
            threshold, _ = sampling(tracestate.decode("utf-8", "replace"))
            packed: bytes | None = b"" if threshold is None or threshold == 1.0 else _DOUBLE.pack(threshold)
        except BadTracestate:
            packed = None
        if len(self._weights) >= _REMEMBERED:
            self._weights.clear()
            self._weights[b""] = b""
        self._weights[tracestate] = packed
        return packed

    def _unusual(self, attribute: bytes, values: list[bytes]) -> None:
        """An attribute whose key is not its first field, or is very long."""
        key, _ = decode_key_value(attribute)
        place = self._places.get(key.encode("utf-8", "replace"), 0)
        if not place or values[place]:
            return
        pos, size = 0, len(attribute)
        while pos < size:
            start = pos
            tag, pos = read_varint(attribute, pos)
            pos = skip(attribute, pos, tag & 7)
            if tag == _SECOND:
                values[place] += attribute[start:pos]


def _number(raw: bytes) -> float:
    """The number in the raw value of an attribute; 0.0 for anything else."""
    value = decode_value(raw)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        return float(min(max(value, -1e18), 1e18))
    return 0.0


def decode_value(raw: bytes) -> object:
    """The value in the raw value fields of an attribute, as a key holds them. Raises MalformedPayload."""
    payload = b""
    pos, size = 0, len(raw)
    while pos < size:
        tag, pos = read_varint(raw, pos)
        end = skip(raw, pos, tag & 7)
        if tag == _SECOND:
            _, begin = read_varint(raw, pos)
            payload += raw[begin:end]
        pos = end
    return decode_any_value(payload)
