"""Histograms as Elasticsearch takes them: `{"counts":[...],"values":[...]}`, one value for each bucket in use.

The value of a bucket is its middle, or with the mapping hint `histogram:raw` its upper bound.
Source: internal/datapoints/histogram.go and internal/exphistogram of exporter/elasticsearchexporter 0.156, observed;
the bounds of exponential buckets: OpenTelemetry's metrics data model.
"""

from math import exp, ldexp
from math import log as _log
from typing import Final

from heliograph.exporters.elasticsearch.json_text import float_text

_LN2: Final = _log(2.0)
_INFINITY: Final = float("inf")
_MOST: Final = 0x7FFFFFFFFFFFFFFF


def histogram_json(counts: list[int], values: list[float]) -> bytes:
    """The field's JSON."""
    return b'{"counts":[%b],"values":[%b]}' % (
        b",".join([b"%d" % (count if count <= _MOST else _MOST) for count in counts]),
        b",".join([float_text(value) for value in values]),
    )


def aggregate_json(total: float, count: int) -> bytes:
    """A summary: only how many, and their sum."""
    return b'{"sum":%b,"value_count":%d}' % (float_text(total), count if count <= _MOST else _MOST)


def explicit_json(counts: list[int], bounds: list[float], count: int, total: float, raw: bool) -> bytes:
    """A histogram with explicit bounds, or nothing (b"") when counts and bounds do not fit together.

    Without bounds it is one bucket at the average.
    """
    buckets: int = len(counts)
    last: int = len(bounds)
    if buckets > 0 and buckets != last + 1:
        return b""
    if last == 0:
        return histogram_json([count], [total / count]) if count > 0 else histogram_json([], [])
    used: list[int] = []
    values: list[float] = []
    for number in range(buckets):
        if counts[number] == 0:
            continue
        if raw and number == last:
            if used:
                used[len(used) - 1] += counts[number]
            break
        used.append(counts[number])
        values.append(bounds[number] if raw else _middle(bounds, number))
    return histogram_json(used, values)


def _middle(bounds: list[float], number: int) -> float:
    if number == 0:
        return bounds[0] / 2.0 if bounds[0] > 0.0 else bounds[0]
    if number >= len(bounds):
        return bounds[number - 1]
    return bounds[number - 1] + (bounds[number] - bounds[number - 1]) / 2.0


def exponential_json(
    scale: int,
    zeros: int,
    positive_offset: int,
    positive: list[int],
    negative_offset: int,
    negative: list[int],
    raw: bool,
) -> bytes:
    """A histogram with exponential buckets, values rising: negative ones, zero, positive ones."""
    used: list[int] = []
    values: list[float] = []
    for number in range(len(negative) - 1, -1, -1):
        if negative[number] != 0:
            low: float = -lower_bound(negative_offset + number + 1, scale)
            high: float = -lower_bound(negative_offset + number, scale)
            used.append(negative[number])
            values.append(high if raw else low + (high - low) / 2.0)
    if zeros != 0:
        used.append(zeros)
        values.append(0.0)
    for number in range(len(positive)):
        if positive[number] != 0:
            low = lower_bound(positive_offset + number, scale)
            high = lower_bound(positive_offset + number + 1, scale)
            used.append(positive[number])
            values.append(high if raw else low + (high - low) / 2.0)
    return histogram_json(used, values)


def lower_bound(index: int, scale: int) -> float:
    """The lower bound of a bucket: 2 ** (index / 2 ** scale). Whatever the wire says, numbers stay in 64 bits."""
    if scale <= 0:
        return _power_of_two(_shifted(index, -scale))
    inverse: float = ldexp(_LN2, -scale if scale < 2000 else -2000)
    try:
        return 2.0 * exp(float(index - _shifted(1, scale)) * inverse)
    except OverflowError:
        return _INFINITY


def _power_of_two(power: int) -> float:
    if power > 1023:
        return _INFINITY
    return ldexp(1.0, power if power > -1100 else -1100)


def _shifted(number: int, places: int) -> int:
    if places >= 64:
        return 0
    wrapped: int = (number << places) & 0xFFFFFFFFFFFFFFFF
    return wrapped - 18446744073709551616 if wrapped >= 9223372036854775808 else wrapped
