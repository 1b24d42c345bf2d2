"""The official protobuf classes by signal, imported when first used (a forwarder of bytes never needs them)."""

from functools import cache
from importlib import import_module
from typing import Any

_PACKAGES = {
    "traces": ("trace", "ResourceSpans", "ExportTraceService"),
    "metrics": ("metrics", "ResourceMetrics", "ExportMetricsService"),
    "logs": ("logs", "ResourceLogs", "ExportLogsService"),
}


@cache
def resource_message_class(signal: str) -> Any:
    """ResourceSpans, ResourceMetrics or ResourceLogs for "traces", "metrics" or "logs"."""
    package, name, _ = _PACKAGES[signal]
    return getattr(import_module(f"opentelemetry.proto.{package}.v1.{package}_pb2"), name)


@cache
def request_class(signal: str) -> Any:
    """The Export*ServiceRequest of a signal."""
    package, _, service = _PACKAGES[signal]
    module = import_module(f"opentelemetry.proto.collector.{package}.v1.{package}_service_pb2")
    return getattr(module, f"{service}Request")


@cache
def response_class(signal: str) -> Any:
    """The Export*ServiceResponse of a signal."""
    package, _, service = _PACKAGES[signal]
    module = import_module(f"opentelemetry.proto.collector.{package}.v1.{package}_service_pb2")
    return getattr(module, f"{service}Response")
