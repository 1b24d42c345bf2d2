"""How many spans a sampled one stands for, read from the `ot` member of a W3C tracestate.

Two sampling schemes are known: the threshold `th` (hexadecimal digits after the point of a 56-bit fraction of spans
that were thrown away) and the older power `p` (one in 2**p was kept, 63: none counts). A tracestate that breaks the
grammar anywhere is wrong as a whole.
Sources: opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling, w3.org/TR/trace-context,
and opentelemetry-collector-contrib pkg/sampling.
"""

import re
from functools import lru_cache

_PAIRS_LIMIT = 32
_W3C_LIMIT = 1024
_OT_LIMIT = 256
_SIMPLE_KEY = re.compile(r"[a-z][a-z0-9_\-*/]{0,255}")
_TENANT_KEY = re.compile(r"[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}")
_VALUE = re.compile(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_OT_MEMBER = re.compile(r"([a-z][a-z0-9]*):([a-zA-Z0-9._\-]*)")
_RANDOMNESS = re.compile(r"[0-9a-fA-F]{14}")
_THRESHOLD = re.compile(r"[0-9a-fA-F]{1,14}")


class BadTracestate(ValueError):
    """A tracestate that breaks the grammar; the message says where."""


@lru_cache(maxsize=1024)
def sampling(tracestate: str) -> tuple[float | None, str | None]:
    """(spans that one with the threshold stands for, text of the power): None for what is not there.

    Raises BadTracestate.
    """
    threshold: float | None = None
    power: str | None = None
    for name, value in _members(tracestate):
        if name != "ot":
            continue
        if len(value) > _OT_LIMIT:
            raise BadTracestate(f"the ot member is longer than {_OT_LIMIT} characters")
        threshold, power = None, None
        for pair in value.split(";"):
            found = _OT_MEMBER.fullmatch(pair)
            if not found:
                raise BadTracestate(f"the ot member has {pair[:40]!r}")
            key, text = found[1], found[2]
            if key == "th":
                if not _THRESHOLD.fullmatch(text):
                    raise BadTracestate(f"the threshold {text[:40]!r} is not 1 to 14 hexadecimal digits")
                thrown_away = int(text.ljust(14, "0"), 16)
                threshold = (1 << 56) / ((1 << 56) - thrown_away)
            elif key == "rv":
                if not _RANDOMNESS.fullmatch(text):
                    raise BadTracestate(f"the random value {text[:40]!r} is not 14 hexadecimal digits")
            elif key == "p" and text:
                power = text
    return threshold, power


def representative_count(tracestate: str) -> float:
    """Spans that this one stands for; 1.0 when nothing is said, or nothing that can be read."""
    if not tracestate:
        return 1.0
    try:
        threshold, power = sampling(tracestate)
    except BadTracestate:
        return 1.0
    if threshold is not None:
        return threshold
    if power is None or not power.isascii() or not power.isdigit():
        return 1.0
    exponent = min(int(power[-20:]) if len(power) <= 20 else 63, 63)
    return 0.0 if exponent == 63 else 2.0**exponent


def _members(tracestate: str) -> list[tuple[str, str]]:
    if len(tracestate) > _W3C_LIMIT:
        raise BadTracestate(f"longer than {_W3C_LIMIT} characters")
    members = []
    for member in tracestate.split(","):
        member = member.strip(" \t")
        if not member:
            continue
        name, _, value = member.partition("=")
        if not (_SIMPLE_KEY.fullmatch(name) or _TENANT_KEY.fullmatch(name)) or not _VALUE.fullmatch(value):
            raise BadTracestate(f"the member {member[:40]!r} is not key=value")
        members.append((name, value))
    if len(members) > _PAIRS_LIMIT:
        raise BadTracestate(f"more than {_PAIRS_LIMIT} members")
    return members
