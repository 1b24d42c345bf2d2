"""Durations and sizes as text.

Sources: the grammar of Go's time.ParseDuration; ByteSize of the Collector's pkg/stanza/operator/helper.
"""

import re

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"([+-]?)((?:{_PART})+)\Z")
_PIECE = re.compile(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgtp])(i?)b)?\Z", re.IGNORECASE)
_LONGEST = 2**63 / 10**9
_MOST_BYTES = 2**63


def duration(text: str) -> float:
    """Seconds of a duration such as "1h2m3.5s", "-200ms" or "0". Raises ValueError that says what to write."""
    if text in ("0", "+0", "-0"):
        return 0.0
    match = _DURATION.match(text)
    if match is None:
        if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", text):
            raise ValueError(f"write the unit too, for example {text}s or {text}ms")
        raise ValueError("write it like 30s, 200ms or 1h30m (units: h m s ms us ns)")
    nanoseconds = sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(match[2]))
    seconds = nanoseconds / 10**9
    if seconds > _LONGEST:
        raise ValueError("at most about 292 years (2562047h) are possible")
    return -seconds if match[1] == "-" else seconds


def duration_text(seconds: float) -> str:
    """A duration as one would write it: 0.2 -> "200ms", 90 -> "1m30s"."""
    if seconds == 0:
        return "0s"
    sign, nanoseconds = ("-" if seconds < 0 else ""), round(abs(seconds) * 10**9)
    for unit, size in (("ns", 1), ("us", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return f"{sign}{nanoseconds / size:.10g}{unit}"
    hours, rest = divmod(nanoseconds, _UNITS["h"])
    minutes, rest = divmod(rest, _UNITS["m"])
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if minutes else ""
    text += f"{rest / 10**9:.10g}s" if rest else ""
    return sign + text


def byte_size(text: str) -> int:
    """Bytes of a size such as "10MiB", "1kb" (1000) or "512". Raises ValueError that says what to write."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise ValueError("write bytes as a number, or with a unit: 512, 16KiB, 10MiB, 1GB")
    unit = match[2]
    factor = 1 if unit is None else (1024 if match[3] else 1000) ** ("kmgtp".index(unit.lower()) + 1)
    size = int(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor
    if size >= _MOST_BYTES:
        raise ValueError("that is more than 8 EiB")
    return size
