"""A Resource's attributes on the wire, with as much of the official message's interface as Put and Delete need.

So that a process which does no more than put an attribute into a resource need not load the protobuf library, which
costs 3 MB. What is not touched keeps its bytes.
"""

from collections.abc import Iterator

from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.wire import LENGTH, field, read_varint, skip

_KEY, _VALUE, _PAIR = 1 << 3 | LENGTH, 2 << 3 | LENGTH, 1 << 3 | LENGTH


class WireValue:
    """An AnyValue, serialized. changed: since it was read."""

    __slots__ = ("changed", "data")

    def __init__(self, data: bytes, changed: bool) -> None:
        self.data = data
        self.changed = changed

    def Clear(self) -> None:  # noqa: N802 - as protobuf spells it, here and below
        """Make it empty."""
        self.data, self.changed = b"", True

    def MergeFromString(self, data: bytes) -> None:  # noqa: N802
        """Put another one's fields into it."""
        self.data, self.changed = self.data + data, True

    def SerializeToString(self) -> bytes:  # noqa: N802
        """It."""
        return self.data

    def SetInParent(self) -> None:  # noqa: N802
        """It is always there."""


class WirePair:
    """A KeyValue."""

    __slots__ = ("_raw", "key", "value")

    def __init__(self, raw: bytes, key: str, value: WireValue) -> None:
        self._raw = raw
        self.key = key
        self.value = value

    def serialized(self) -> bytes:
        """Its bytes."""
        return field(1, self.key.encode()) + field(2, self.value.data) if self.value.changed else self._raw


class WireAttributes:
    """The attributes of a serialized Resource. Raises MalformedPayload."""

    def __init__(self, resource: bytes) -> None:
        self._pairs: list[WirePair] = []
        others: list[bytes] = []
        pos, size = 0, len(resource)
        while pos < size:
            start = pos
            tag, pos = read_varint(resource, pos)
            end = skip(resource, pos, tag & 7)
            if tag == _PAIR:
                _, begin = read_varint(resource, pos)
                self._pairs.append(_pair(resource[begin:end]))
            else:
                others.append(resource[start:end])
            pos = end
        self._others = b"".join(others)

    def __iter__(self) -> Iterator[WirePair]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> WirePair:
        return self._pairs[index]

    def __delitem__(self, index: int) -> None:
        del self._pairs[index]

    def add(self, key: str) -> WirePair:
        """A new one at the end."""
        pair = WirePair(b"", key, WireValue(b"", True))
        self._pairs.append(pair)
        return pair

    def resource(self) -> bytes:
        """The Resource with these attributes."""
        return b"".join([field(1, pair.serialized()) for pair in self._pairs]) + self._others


def _pair(raw: bytes) -> WirePair:
    key, value = b"", b""
    pos, size = 0, len(raw)
    while pos < size:
        tag, pos = read_varint(raw, pos)
        end = skip(raw, pos, tag & 7)
        if tag in (_KEY, _VALUE):
            _, begin = read_varint(raw, pos)
            if tag == _KEY:
                key = raw[begin:end]
            else:
                value += raw[begin:end]
        pos = end
    try:
        return WirePair(raw, key.decode(), WireValue(value, False))
    except UnicodeDecodeError:
        raise MalformedPayload("text that is no UTF-8") from None
