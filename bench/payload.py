"""Telemetry as applications send it: OTLP requests, and container log lines."""

import json
import random
import time
from pathlib import Path

from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1 import resource_pb2 as resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

START = 1_700_000_000_000_000_000
_PODS = 16
_RESOURCE = (
    "service.name", "service.version", "service.instance.id", "deployment.environment.name", "host.name",
    "k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.node.name", "k8s.deployment.name",
    "telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version",
)  # fmt: skip


def request(signal: str, items: int, seed: int) -> bytes:
    """A serialized Export*ServiceRequest of one resource with `items` spans, log records or data points."""
    chosen = random.Random(seed)
    part = {"traces": _spans, "logs": _logs, "metrics": _points}[signal](
        chosen, items, seed % _PODS
    ).SerializeToString()
    head = bytearray(b"\x0a")
    length = len(part)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    head.append(length)
    return bytes(head) + part


def container_lines(path: Path, count: int, seed: int) -> None:
    """A file of CRI lines of 60 to 240 bytes, as containerd writes them; all of them whole."""
    chosen = random.Random(seed)
    start = 1_712_995_200
    with path.open("w") as file:
        for number in range(count):
            second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start + number // 1000))
            fraction = f"{chosen.randrange(10**9):09d}"
            stream = chosen.choice(("stdout", "stderr"))
            text = f"GET /api/orders?id={number} 200 " + "x" * chosen.randrange(180)
            file.write(f"{second}.{fraction}Z {stream} F {text}\n")


def application_lines(path: Path, count: int, seed: int) -> None:
    """A file of lines as an application with structured events writes them: time, level, logger, a JSON object."""
    chosen = random.Random(seed)
    start = 1_712_995_200
    with path.open("w") as file:
        for number in range(count):
            second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start + number // 1000))
            level = chosen.choice(("DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR"))
            event = {
                "message": f"order {number} accepted",
                "order": number,
                "total": chosen.randrange(10_000) / 100,
                "customer": f"customer-{chosen.randrange(1000)}",
                "express": chosen.random() < 0.5,
                "items": [chosen.randrange(100) for _ in range(chosen.randrange(1, 4))],
            }
            logger = chosen.choice(("shop.cart", "shop.orders", "shop.payment"))
            file.write(f"{second}.{chosen.randrange(1000):03d}Z {level} [{logger}] {json.dumps(event)}\n")


def _pair(key: str, value: str | int) -> common.KeyValue:
    if isinstance(value, str):
        return common.KeyValue(key=key, value=common.AnyValue(string_value=value))
    return common.KeyValue(key=key, value=common.AnyValue(int_value=value))


def _pod(number: int) -> resource.Resource:
    return resource.Resource(attributes=[_pair(name, f"value-{number}-of-{name}") for name in _RESOURCE])


def _spans(chosen: random.Random, items: int, pod: int) -> trace.ResourceSpans:
    found = []
    for _ in range(items):
        begun = START + chosen.randrange(10**12)
        found.append(
            trace.Span(
                trace_id=chosen.randbytes(16),
                span_id=chosen.randbytes(8),
                parent_span_id=chosen.randbytes(8),
                name=f"GET /products/{chosen.randrange(20)}",
                kind=2,  # type: ignore[arg-type]
                start_time_unix_nano=begun,
                end_time_unix_nano=begun + chosen.randrange(10**9),
                attributes=[
                    _pair("http.request.method", "GET"),
                    _pair("url.path", f"/products/{chosen.randrange(10**6)}"),
                    _pair("url.scheme", "http"),
                    _pair("http.response.status_code", chosen.choice((200, 200, 200, 404, 500))),
                    _pair("server.address", "shop.example.com"),
                    _pair("server.port", 8080),
                    _pair("client.address", f"10.0.{chosen.randrange(256)}.{chosen.randrange(256)}"),
                    _pair("thread.id", chosen.randrange(32)),
                ],
            )
        )
    scope = trace.ScopeSpans(scope=common.InstrumentationScope(name="io.shop.http", version="1.2"), spans=found)
    return trace.ResourceSpans(resource=_pod(pod), scope_spans=[scope])


def _logs(chosen: random.Random, items: int, pod: int) -> logs.ResourceLogs:
    found = [
        logs.LogRecord(
            time_unix_nano=START + chosen.randrange(10**12),
            observed_time_unix_nano=START + chosen.randrange(10**12),
            severity_text="INFO",
            severity_number=9,  # type: ignore[arg-type]
            body=common.AnyValue(
                string_value=f'10.0.0.1 - "GET /products/{chosen.randrange(10**6)} HTTP/1.1" 200 1234'
            ),
            attributes=[
                _pair("log.iostream", "stdout"),
                _pair("logtag", "F"),
                _pair("log.file.path", f"/var/log/pods/shop_web-{pod}_uid/web/0.log"),
            ],
        )
        for _ in range(items)
    ]
    return logs.ResourceLogs(resource=_pod(pod), scope_logs=[logs.ScopeLogs(log_records=found)])


def _points(chosen: random.Random, items: int, pod: int) -> metrics.ResourceMetrics:
    """Eight points a metric, as of the states of a core."""
    at = START + chosen.randrange(10**12)
    found = []
    for first in range(0, items, 8):
        points = [
            metrics.NumberDataPoint(
                time_unix_nano=at,
                start_time_unix_nano=START,
                as_double=chosen.random() * 1000,
                attributes=[_pair("cpu", f"cpu{pod}"), _pair("state", f"s{state}")],
            )
            for state in range(min(8, items - first))
        ]
        total = metrics.Sum(data_points=points, aggregation_temporality=2, is_monotonic=True)  # type: ignore[arg-type]
        found.append(metrics.Metric(name=f"system.metric.{first // 8}", unit="s", sum=total))
    scope = metrics.ScopeMetrics(scope=common.InstrumentationScope(name="host"), metrics=found)
    return metrics.ResourceMetrics(resource=_pod(pod), scope_metrics=[scope])
