"""What every service of the shop has: the SDK, a server, calls to others, its container log, and failures as OTLP logs.

The span of a request joins the caller's trace (W3C trace context). Metrics are sent as deltas, which is what
Elasticsearch takes for histograms.
"""

import json
import logging
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry import metrics, propagate, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from heliograph.app.demo.cri import ContainerLog, ContainerLogHandler

NAMESPACE = "shop"
DELTA: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}


class Failed(Exception):
    """A request that ends with this HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Handler = Callable[[dict[str, Any]], dict[str, Any]]


class Service:
    """One service. endpoint: where OTLP/gRPC goes. pods: folder of the container logs."""

    def __init__(self, name: str, endpoint: str, pods: Path) -> None:
        self.name = name
        uid = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{NAMESPACE}"))
        pod = f"{name}-{uid[:8]}"
        resource = Resource.create(
            {
                "service.name": name,
                "service.namespace": NAMESPACE,
                "service.version": "1.0.0",
                "k8s.namespace.name": NAMESPACE,
                "k8s.pod.name": pod,
                "k8s.pod.uid": uid,
                "deployment.environment.name": "demo",
            }
        )
        self.tracers = TracerProvider(resource=resource)
        self.tracers.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True), schedule_delay_millis=1000)
        )
        exporter = OTLPMetricExporter(endpoint=endpoint, insecure=True, preferred_temporality=DELTA)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=5000)
        self.meters = MeterProvider(resource=resource, metric_readers=[reader])
        self.logs = LoggerProvider(resource=resource)
        self.logs.add_log_record_processor(
            BatchLogRecordProcessor(OTLPLogExporter(endpoint=endpoint, insecure=True), schedule_delay_millis=1000)
        )
        self._failures = self.logs.get_logger("shop")
        self.tracer = trace.get_tracer("shop", tracer_provider=self.tracers)
        meter = metrics.get_meter("shop", meter_provider=self.meters)
        self._duration = meter.create_histogram(
            "http.server.request.duration",
            "s",
            "Duration of HTTP requests.",
            explicit_bucket_boundaries_advisory=[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
        )
        self.orders = meter.create_counter("shop.orders", "{order}", "Orders by outcome.")
        self.log = logging.getLogger(f"shop.{name}")
        self.log.propagate = False
        self.log.setLevel(logging.INFO)
        handler = ContainerLogHandler(ContainerLog(pods, NAMESPACE, pod, uid, name))
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        self.log.addHandler(handler)
        self._server: ThreadingHTTPServer | None = None

    def serve(self, routes: dict[str, Handler]) -> int:
        """Listen on a free port of the loopback interface. Returns the port; `run` then serves."""
        service = self

        class Requests(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                service._answer(self, routes)

            def log_message(self, format: str, *args: Any) -> None:
                """Requests are logged by the service itself."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
        self._server.daemon_threads = True
        return int(self._server.server_address[1])

    def run(self) -> None:
        """Serve until `stop`."""
        assert self._server is not None
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Stop serving, and send what the SDK still holds."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self.tracers.shutdown()
        self.meters.shutdown()
        self.logs.shutdown()

    def call(self, port: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST to another service, in a client span. Raises Failed."""
        url = f"http://127.0.0.1:{port}{path}"
        attributes: dict[str, str | int] = {
            "http.request.method": "POST",
            "url.full": url,
            "server.address": "127.0.0.1",
            "server.port": port,
        }
        with self.tracer.start_as_current_span("POST", kind=SpanKind.CLIENT, attributes=attributes) as span:
            headers = {"Content-Type": "application/json"}
            propagate.inject(headers)
            request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    span.set_attribute("http.response.status_code", response.status)
                    answer: dict[str, Any] = json.load(response)
                    return answer
            except urllib.error.HTTPError as error:
                span.set_attribute("http.response.status_code", error.code)
                span.set_status(Status(StatusCode.ERROR))
                raise Failed(error.code, error.read().decode("utf-8", "replace")) from None
            except OSError as error:
                span.set_status(Status(StatusCode.ERROR, str(error)))
                raise Failed(502, str(error)) from None

    def _answer(self, request: BaseHTTPRequestHandler, routes: dict[str, Handler]) -> None:
        begun = time.perf_counter()
        body = json.loads(request.rfile.read(int(request.headers.get("Content-Length") or 0)) or b"{}")
        attributes: dict[str, str | int] = {"http.request.method": "POST", "http.route": request.path}
        with self.tracer.start_as_current_span(
            f"POST {request.path}",
            context=propagate.extract({name.lower(): value for name, value in request.headers.items()}),
            kind=SpanKind.SERVER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                route = routes.get(request.path)
                if route is None:
                    raise Failed(404, f"no route {request.path}")
                status, answer = 200, route(body)
            except Failed as error:
                status, answer = error.status, {"error": str(error)}
                if status >= 500:
                    span.record_exception(error)
                    self._failures.emit(
                        severity_number=SeverityNumber.ERROR,
                        severity_text="ERROR",
                        body=f"POST {request.path} failed",
                        attributes={"http.route": request.path},
                        exception=error,
                    )
                    span.set_status(Status(StatusCode.ERROR, str(error)))
                self.log.error("POST %s failed with %d: %s", request.path, status, error)
            span.set_attribute("http.response.status_code", status)
        self._duration.record(time.perf_counter() - begun, {**attributes, "http.response.status_code": status})
        data = json.dumps(answer).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)
