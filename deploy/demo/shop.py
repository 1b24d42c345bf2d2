"""A small application with the OpenTelemetry SDK for Python, to see what becomes of its telemetry in a cluster.

    ROLE=checkout               answers orders on port 8080 with a span, a measurement and a line of log
    ROLE=frontend               orders from SHOP_CHECKOUT (a URL) RATE times a second, and says so
    ROLE=once                   writes one line and one span and ends: a pod that lives for a moment

The SDK is set up by its own environment variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, ...). No resource
attribute names the pod: that is the collector's work, by the address that data comes from. Traces go over gRPC, metrics
over HTTP.
"""

import json
import os
import random
import signal
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

ROLE = os.environ.get("ROLE", "frontend")
NODE = os.environ["NODE_IP"]
DELTA: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}
resource = Resource.create({"service.namespace": "shop"})
tracers = TracerProvider(resource=resource)
tracers.add_span_processor(
    BatchSpanProcessor(OTLPSpanExporter(endpoint=f"http://{NODE}:4317", insecure=True), schedule_delay_millis=1000)
)
meters = MeterProvider(
    resource=resource,
    metric_readers=[
        PeriodicExportingMetricReader(
            OTLPMetricExporter(endpoint=f"http://{NODE}:4318/v1/metrics", preferred_temporality=DELTA),
            export_interval_millis=2000,
        )
    ],
)
tracer = tracers.get_tracer("shop")
orders = meters.get_meter("shop").create_counter("shop.orders", "{order}", "Orders by outcome.")
duration = meters.get_meter("shop").create_histogram("http.server.request.duration", "s", "Duration of HTTP requests.")
stopped = threading.Event()


def say(level: str, message: str, **fields: Any) -> None:
    """A line of log on stdout, with the trace it belongs to."""
    context = trace.get_current_span().get_span_context()
    print(json.dumps({"level": level, "message": message, "trace": f"{context.trace_id:032x}", **fields}), flush=True)


class Checkout(BaseHTTPRequestHandler):
    """Takes orders."""

    def do_POST(self) -> None:
        begun = time.perf_counter()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        attributes: dict[str, str | int] = {"http.request.method": "POST", "http.route": "/order"}
        with tracer.start_as_current_span(
            "POST /order",
            context=propagate.extract({name.lower(): value for name, value in self.headers.items()}),
            kind=trace.SpanKind.SERVER,
            attributes=attributes,
        ):
            time.sleep(random.uniform(0.001, 0.01))
            say("info", f"order {body['order']} placed", number=body["order"])
        orders.add(1, {"outcome": "placed"})
        duration.record(time.perf_counter() - begun, attributes)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are logged by the handler itself."""


def checkout() -> None:
    """Serve until SIGTERM."""
    server = ThreadingHTTPServer(("0.0.0.0", 8080), Checkout)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stopped.wait()
    server.shutdown()


def frontend() -> None:
    """Order until SIGTERM."""
    url, pause = os.environ["SHOP_CHECKOUT"], 1 / float(os.environ.get("RATE", "5"))
    number = 0
    while not stopped.wait(pause):
        number += 1
        with tracer.start_as_current_span("POST", kind=trace.SpanKind.CLIENT, attributes={"url.full": url}):
            headers = {"Content-Type": "application/json"}
            propagate.inject(headers)
            request = urllib.request.Request(url, json.dumps({"order": number}).encode(), headers, method="POST")
            try:
                urllib.request.urlopen(request, timeout=5).close()
            except OSError as error:
                say("error", f"order {number} failed: {error}")


def once() -> None:
    """A moment's work."""
    with tracer.start_as_current_span("a moment"):
        say("info", "here for a moment")


def main() -> None:
    """Play the role, then send what the SDK still holds."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    {"checkout": checkout, "frontend": frontend, "once": once}[ROLE]()
    tracers.shutdown()
    meters.shutdown()


if __name__ == "__main__":
    main()
