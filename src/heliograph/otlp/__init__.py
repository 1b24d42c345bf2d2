"""Telemetry as OTLP bytes: the wire, its checking, counting, splitting and editing. No I/O."""
