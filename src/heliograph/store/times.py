"""Times as documents and queries write them, to nanoseconds since the epoch.

Documents: milliseconds as a number, or text "<ms>.<ns rest>" (the OTel mode's), or ISO 8601. Queries add date math:
`now-15m`, `now/d`, `2026-01-01||+1M/d` is refused.
"""

import re
from datetime import UTC, datetime

_MILLIS = re.compile(r"(-?\d+)(?:\.(\d{1,6}))?\Z")
_MATH = re.compile(r"now((?:[+-]\d+[smhHdw])*)(?:/([smhHdw]))?\Z")
_STEP = re.compile(r"([+-]\d+)([smhHdw])")
UNIT_NS = {
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "H": 3600 * 10**9,
    "d": 86400 * 10**9,
    "w": 7 * 86400 * 10**9,
}


def to_ns(value: object) -> int:
    """Nanoseconds since the epoch. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError(f"failed to parse date field [{value}]")
    if isinstance(value, int | float):
        return int(value * 1_000_000)
    text = str(value)
    if match := _MILLIS.match(text):
        return int(match[1]) * 1_000_000 + int((match[2] or "0").ljust(6, "0"))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"failed to parse date field [{text}]") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = int(moment.replace(microsecond=0).timestamp())
    fraction = re.search(r"\.(\d+)", text)
    return seconds * 10**9 + (int(fraction[1][:9].ljust(9, "0")) if fraction else 0)


def query_time(value: object, now_ns: int) -> int:
    """Like to_ns, with date math relative to now."""
    if isinstance(value, str) and (match := _MATH.match(value)):
        result = now_ns
        for amount, unit in _STEP.findall(match[1]):
            result += int(amount) * UNIT_NS[unit]
        if match[2]:
            result -= result % UNIT_NS[match[2]]
        return result
    return to_ns(value)


def iso(ns: int) -> str:
    """2026-01-02T03:04:05.678Z"""
    moment = datetime.fromtimestamp(ns // 10**9, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns // 10**6 % 1000:03d}Z"
