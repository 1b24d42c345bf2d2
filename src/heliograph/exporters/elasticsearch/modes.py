"""Which mapping mode the records of a scope are written in: what the scope asks for, else the request, else `otel`.

Upstream refuses the whole request for a mode that is unknown, not allowed, or not possible for its signal. Here nothing
is lost for that: such records are written in mode otel, and it is said. So it is with `ecs`, which is not done here.
Source: the modes and their names in exporter/elasticsearchexporter 0.156, observed.
"""

from collections.abc import Iterable

from heliograph.component.ids import Signal
from heliograph.exporters.elasticsearch.documents import Documents

KNOWN = ("none", "ecs", "otel", "raw", "bodymap")
OTEL = b"otel"
_DONE = {
    Signal.LOGS: frozenset((b"none", b"raw", b"bodymap")),
    Signal.TRACES: frozenset((b"none", b"raw")),
    Signal.METRICS: frozenset(),
}


def canonical(name: str) -> str:
    """The name that a mode is known by: lower case; `no` and nothing mean `none`."""
    lower = name.lower()
    return "none" if lower in ("", "no") else lower


class Modes:
    """Chooses modes for one signal. allowed: `mapping::allowed_modes`."""

    def __init__(self, signal: Signal, allowed: Iterable[str]) -> None:
        self._signal = signal
        self._allowed = frozenset(canonical(name).encode() for name in allowed)

    def choose(self, scope: bytes, request: bytes, documents: Documents) -> bytes:
        """The mode to write in: otel, none, raw or bodymap. scope, request: what they ask for, or nothing."""
        asked = (scope or request)[:50].decode("utf-8", "replace")
        mode = canonical(asked).encode() if asked else OTEL
        if mode == OTEL:
            return OTEL
        if mode in self._allowed and mode in _DONE[self._signal]:
            return mode
        if mode.decode() not in KNOWN:
            why = "does not exist"
        elif mode == b"ecs":
            why = "is not done here"
        elif mode not in self._allowed:
            why = "is not in mapping::allowed_modes"
        else:
            why = f"is not possible for {self._signal}"
        documents.note(f"mapping mode {asked!r} {why}: written in mode otel")
        return OTEL
