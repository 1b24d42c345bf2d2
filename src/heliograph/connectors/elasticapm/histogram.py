"""An exponential histogram of whole microseconds whose form depends on the values only, never on their order.

A value v is counted in bucket ceil(log2(v) * 2**scale) - 1, which holds (2**(i/2**scale), 2**((i+1)/2**scale)]. Halving
the resolution is index >> 1. The scale is always the finest one, 20 at most, at which all values lie within 160
buckets. That depends only on the smallest and the largest value, so adding and merging commute and associate.
Sources: opentelemetry-proto metrics.proto, ExponentialHistogram; the OpenTelemetry SDK's base2 aggregation (160, 20).
"""

from math import ceil, log2
from typing import Final

MAX_BUCKETS: Final = 160
MAX_SCALE: Final = 20
_FINEST: Final = 1048576.0


class Histogram:
    """zero: values of 0. counts: by index, at `scale`. smallest, largest: values seen; -1 when there are none."""

    __slots__ = ("counts", "first", "largest", "last", "scale", "smallest", "zero")

    def __init__(self) -> None:
        self.scale: int = MAX_SCALE
        self.zero: int = 0
        self.counts: dict[int, int] = {}
        self.first: int = 0
        self.last: int = -1
        self.smallest: int = -1
        self.largest: int = -1

    def add(self, value: int) -> None:
        """Count one value, which is not negative."""
        if value > self.largest:
            self.largest = value
        if value < self.smallest or self.smallest < 0:
            self.smallest = value
        if value <= 0:
            self.zero += 1
            return
        index = (ceil(log2(value) * _FINEST) - 1) >> (MAX_SCALE - self.scale)
        counts = self.counts
        found = counts.get(index)
        if found is not None:
            counts[index] = found + 1
            return
        if not (self.first <= index <= self.last):
            index >>= self._make_room(index, index)
        counts = self.counts
        counts[index] = counts.get(index, 0) + 1

    def merge(self, other: "Histogram", weight: int) -> None:
        """Count what the other has, each value `weight` times."""
        if other.largest > self.largest:
            self.largest = other.largest
        if other.smallest >= 0 and (other.smallest < self.smallest or self.smallest < 0):
            self.smallest = other.smallest
        self.zero += other.zero * weight
        if not other.counts:
            return
        if other.scale < self.scale:
            self._halve(self.scale - other.scale)
        shift = other.scale - self.scale
        shift += self._make_room(other.first >> shift, other.last >> shift)
        counts = self.counts
        for index, count in other.counts.items():
            index >>= shift
            counts[index] = counts.get(index, 0) + count * weight

    def _make_room(self, low: int, high: int) -> int:
        """Widen to low..high, given at the present scale. The number of times that the scale had to be halved."""
        if self.last >= self.first:
            low, high = min(low, self.first), max(high, self.last)
        times = 0
        while high - low >= MAX_BUCKETS:
            low >>= 1
            high >>= 1
            times += 1
        self._halve(times)
        self.first, self.last = low, high
        return times

    def _halve(self, times: int) -> None:
        if times == 0:
            return
        self.scale -= times
        self.first >>= times
        self.last >>= times
        old, self.counts = self.counts, {}
        counts = self.counts
        for index, count in old.items():
            index >>= times
            counts[index] = counts.get(index, 0) + count

    @property
    def count(self) -> int:
        """Values counted."""
        return self.zero + sum(self.counts.values())
