"""Telemetry as OTLP bytes: the wire, its checking, counting, splitting and editing. No I/O."""


def compiled() -> bool:
    """Whether the hot modules run compiled (see setup.py) rather than as plain Python."""
    from heliograph.otlp.check import COMPILED

    return COMPILED
