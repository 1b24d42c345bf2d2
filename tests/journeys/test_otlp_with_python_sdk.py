"""The OpenTelemetry SDK for Python sends to us, over gRPC and HTTP/protobuf, with and without gzip and TLS: every item
of the three signals arrives as it was made."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_logs
from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc_metrics
from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_traces
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from heliograph.component.ids import Signal
from heliograph.testing.otlp import OTLPServer

RESOURCE = Resource({"service.name": "shop"})
ITEMS = 1500


def exporters(server: OTLPServer, transport: str, compressed: bool, ca: str) -> tuple[Any, Any, Any]:
    """Exporters of the SDK for traces, metrics, logs. ca: the server's CA, "" for plain text."""
    if transport == "grpc":
        keys: dict[str, Any] = {
            "endpoint": f"localhost:{server.ports['grpc']}",
            "insecure": not ca,
            "compression": grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression,
        }
        if ca:
            with open(ca, "rb") as file:
                keys["credentials"] = grpc.ssl_channel_credentials(file.read())
        return (
            grpc_traces.OTLPSpanExporter(**keys),
            grpc_metrics.OTLPMetricExporter(**keys),
            grpc_logs.OTLPLogExporter(**keys),
        )
    scheme = "https" if ca else "http"
    keys = {"compression": Compression.Gzip if compressed else Compression.NoCompression}
    if ca:
        keys["certificate_file"] = ca
    url = f"{scheme}://localhost:{server.ports['http']}/v1"
    return (
        http_traces.OTLPSpanExporter(endpoint=f"{url}/traces", **keys),
        http_metrics.OTLPMetricExporter(endpoint=f"{url}/metrics", **keys),
        http_logs.OTLPLogExporter(endpoint=f"{url}/logs", **keys),
    )


def instrumented(make: Callable[[], tuple[Any, Any, Any]]) -> None:
    """A program that uses the SDK; blocks, so it runs in a thread."""
    span_exporter, metric_exporter, log_exporter = make()
    tracers = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(span_exporter))
    tracer = tracers.get_tracer("shop", "1.0")
    for number in range(ITEMS):
        with tracer.start_as_current_span(f"checkout {number}", attributes={"n": number, "wörter": "ü"}) as span:
            span.add_event("paid", {"price": 1.5})
    tracers.shutdown()
    reader = PeriodicExportingMetricReader(metric_exporter, export_interval_millis=60_000)
    meters = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False)
    counter = meters.get_meter("shop").create_counter("orders")
    for number in range(100):
        counter.add(number, {"shop": number % 10})
    meters.shutdown()
    loggers = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    logger = loggers.get_logger("shop")
    for number in range(ITEMS):
        logger.emit(body=f"order {number}", severity_number=SeverityNumber.INFO, attributes={"n": number})
    loggers.shutdown()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("compressed", [False, True], ids=["identity", "gzip"])
@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_the_sdk_sends_all_signals(
    transport: str, compressed: bool, secure: bool, certificates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1500 spans, 10 sums of 100 measurements, 1500 log records."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # the SDK's HTTP library prefers them to `certificate_file`
        monkeypatch.delenv(name, raising=False)
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    tls = {"tls": {"cert_file": certificates.server_cert, "key_file": certificates.server_key}} if secure else {}
    async with OTLPServer({transport: {"endpoint": "127.0.0.1:0", **tls}}) as server:
        ca = certificates.ca if secure else ""
        await asyncio.to_thread(instrumented, lambda: exporters(server, transport, compressed, ca))
        traces, metrics, logs = (server.sinks[signal] for signal in (Signal.TRACES, Signal.METRICS, Signal.LOGS))
        found = [span for message in traces.messages for scope in message.scope_spans for span in scope.spans]
        assert {span.name for span in found} == {f"checkout {number}" for number in range(ITEMS)}
        assert len(found) == traces.items == ITEMS
        assert all(span.events[0].name == "paid" and len(span.trace_id) == 16 for span in found)
        records = [record for message in logs.messages for scope in message.scope_logs for record in scope.log_records]
        assert sorted(record.body.string_value for record in records) == sorted(f"order {n}" for n in range(ITEMS))
        assert logs.items == ITEMS
        points = {
            point.attributes[0].value.int_value: point.as_int
            for message in metrics.messages
            for scope in message.scope_metrics
            for metric in scope.metrics
            for point in metric.sum.data_points
        }
        assert points == {shop: sum(range(shop, 100, 10)) for shop in range(10)}
        services = {message.resource.attributes[0].value.string_value for message in traces.messages}
        assert services == {"shop"}
