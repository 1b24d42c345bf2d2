"""Microseconds of CPU to make Elasticsearch documents of spans, logs and data points, and upstream's on the same input.

    python bench/micro/elasticsearch_encode.py [--repeat 5] [--no-peer]

Ours: encoding alone, with gzip, and the whole exporter (encode, gzip, HTTP, answer). The peer: the process CPU of the
upstream Collector (otlp receiver over HTTP, no queue, elasticsearch exporter) for the same requests, less what it
needs to receive them (the same with its nop exporter). Both talk to a server in another process that answers success.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psutil
from isal import igzip
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1 import resource_pb2 as resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.exporters.elasticsearch import FACTORY
from heliograph.exporters.elasticsearch import value as hot_module
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.encoding import BatchEncoder
from heliograph.otlp.messages import request_class, resource_message_class
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 2048
REQUESTS = 12
START = 1_700_000_000_000_000_000


def pair(key: str, value: str | int | float | bool) -> common.KeyValue:
    """An attribute."""
    kind = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}[type(value)]
    return common.KeyValue(key=key, value=common.AnyValue(**{kind: value}))  # type: ignore[arg-type]


def a_resource() -> resource.Resource:
    """A pod."""
    names = (
        "service.name", "service.version", "service.instance.id", "deployment.environment.name", "host.name",
        "host.id", "os.type", "k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.node.name",
        "k8s.deployment.name", "container.id", "telemetry.sdk.language", "telemetry.sdk.version",
    )  # fmt: skip
    return resource.Resource(attributes=[pair(name, f"value-of-{name}") for name in names])


def spans(source: random.Random) -> bytes:
    """Server spans with ten attributes each, of which three are new in each span."""
    found = [
        trace.Span(
            trace_id=source.randbytes(16),
            span_id=source.randbytes(8),
            parent_span_id=source.randbytes(8),
            name=f"GET /products/{source.randrange(20)}",
            kind=2,  # type: ignore[arg-type]
            start_time_unix_nano=START + source.randrange(10**12),
            end_time_unix_nano=START + 10**12 + source.randrange(10**12),
            attributes=[
                pair("http.request.method", "GET"),
                pair("url.path", f"/products/{source.randrange(10**6)}"),
                pair("url.scheme", "http"),
                pair("http.response.status_code", source.choice((200, 200, 200, 404, 500))),
                pair("server.address", "shop.example.com"),
                pair("server.port", 8080),
                pair("network.protocol.version", "1.1"),
                pair("client.address", f"10.0.{source.randrange(256)}.{source.randrange(256)}"),
                pair("thread.id", source.randrange(32)),
                pair("request.id", source.randbytes(8).hex()),
            ],
        )
        for _ in range(RECORDS)
    ]
    scope = trace.ScopeSpans(scope=common.InstrumentationScope(name="io.shop.http", version="1.2"), spans=found)
    return trace.ResourceSpans(resource=a_resource(), scope_spans=[scope]).SerializeToString()


def log_records(source: random.Random) -> bytes:
    """Container log lines."""
    found = [
        logs.LogRecord(
            time_unix_nano=START + source.randrange(10**12),
            observed_time_unix_nano=START + source.randrange(10**12),
            severity_text="INFO",
            severity_number=9,  # type: ignore[arg-type]
            body=common.AnyValue(
                string_value=f'10.0.0.1 - "GET /products/{source.randrange(10**6)} HTTP/1.1" 200 1234'
            ),
            attributes=[
                pair("log.iostream", "stdout"),
                pair("logtag", "F"),
                pair("log.file.path", "/var/log/pods/shop_web-1_uid/web/0.log"),
                pair("log.record.uid", source.randbytes(16).hex()),
            ],
        )
        for _ in range(RECORDS)
    ]
    return logs.ResourceLogs(resource=a_resource(), scope_logs=[logs.ScopeLogs(log_records=found)]).SerializeToString()


def points(source: random.Random) -> bytes:
    """Host metrics: 32 metrics of 64 points."""
    time_ns = START + source.randrange(10**12)
    found = []
    for number in range(32):
        data = [
            metrics.NumberDataPoint(
                time_unix_nano=time_ns,
                start_time_unix_nano=START,
                as_double=source.random() * 1000,
                attributes=[pair("cpu", f"cpu{cpu // 8}"), pair("state", f"s{cpu % 8}")],
            )
            for cpu in range(RECORDS // 32)
        ]
        total = metrics.Sum(data_points=data, aggregation_temporality=2, is_monotonic=True)  # type: ignore[arg-type]
        found.append(metrics.Metric(name=f"system.metric.{number}", unit="s", sum=total))
    scope = metrics.ScopeMetrics(scope=common.InstrumentationScope(name="host"), metrics=found)
    return metrics.ResourceMetrics(resource=a_resource(), scope_metrics=[scope]).SerializeToString()


MAKERS: dict[str, Callable[[random.Random], bytes]] = {"traces": spans, "logs": log_records, "metrics": points}


def serve(port: int) -> None:
    """Answer bulk requests without looking into them further than needed."""
    from aiohttp import web

    async def bulk(request: web.Request) -> web.Response:
        await request.read()
        count = int(request.headers["X-Elastic-Event-Count"])
        body = b'{"items":[%b]}' % b",".join([b'{"create":{"_index":".ds-x","status":201}}'] * count)
        return web.Response(
            body=body, headers={"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"}
        )

    application = web.Application(client_max_size=1 << 30)
    application.router.add_post("/_bulk", bulk)
    web.run_app(application, host="127.0.0.1", port=port, print=None, access_log=None)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until_open(port: int) -> None:
    """Until somebody listens."""
    for _ in range(400):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit(f"nobody listens on {port}")


async def encode_alone(signal: Signal, parts: list[bytes], compressed: bool) -> float:
    """CPU seconds."""
    encoder = BatchEncoder(from_plain(ElasticsearchConfig, {"endpoint": "http://localhost:9200"}), signal)
    begun = time.process_time()
    for part in parts:
        documents = await encoder.encode(Batch(signal, [part], RECORDS), START)
        body = b"".join(documents.lines)
        if compressed:
            igzip.compress(body, 1)
    return time.process_time() - begun


async def whole_exporter(signal: Signal, parts: list[bytes], port: int) -> float:
    """CPU seconds."""
    plain = {"endpoint": f"http://127.0.0.1:{port}", "sending_queue": {"enabled": False}}
    exporter: Any = FACTORY.create(
        settings("exporter", "elasticsearch", signal), from_plain(ElasticsearchConfig, plain)
    )
    host = TestHost()
    await exporter.start(host)
    begun = time.process_time()
    for part in parts:
        await exporter.consume(Batch(signal, [part], RECORDS))
    used = time.process_time() - begun
    await exporter.shutdown(time.monotonic() + 5)
    await host.close()
    return used


@contextmanager
def upstream(binary: Path, exporter: str, port: int) -> Iterator[psutil.Process]:
    """The peer as a process."""
    pipeline = f"{{receivers: [otlp], exporters: [{exporter.partition(':')[0]}]}}"
    text = (
        f"receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n"
        f"exporters: {{{exporter}}}\n"
        f"service: {{telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}, "
        f"pipelines: {{traces: {pipeline}, logs: {pipeline}, metrics: {pipeline}}}}}\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(text)
        config.flush()
        process = subprocess.Popen([binary, f"--config={config.name}"])
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def upstream_process(process: psutil.Process) -> psutil.Process:
    """The Collector itself, if the command is a wrapper around it."""
    children = process.children(recursive=True)
    return children[-1] if children else process


async def peer_cpu(binary: Path, exporter: str, bodies: dict[str, list[bytes]]) -> dict[str, float]:
    """CPU seconds by signal."""
    port = free_port()
    used = {}
    with upstream(binary, exporter, port) as process:
        await until_open(port)
        collector = upstream_process(process)
        async with aiohttp.ClientSession() as session:
            for signal, requests in bodies.items():
                before = sum(collector.cpu_times()[:2])
                for body in requests:
                    async with session.post(
                        f"http://127.0.0.1:{port}/v1/{signal}",
                        data=body,
                        headers={"Content-Type": "application/x-protobuf"},
                    ) as response:
                        assert response.status == 200, await response.text()
                used[signal] = sum(collector.cpu_times()[:2]) - before
    return used


def request_of(signal: str, part: bytes) -> bytes:
    """The request with one part."""
    request = request_class(signal)()
    field = {"logs": "resource_logs", "traces": "resource_spans", "metrics": "resource_metrics"}[signal]
    getattr(request, field).append(resource_message_class(signal).FromString(part))
    body: bytes = request.SerializeToString()
    return body


async def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=5, help="take the best of so many")
    parser.add_argument("--no-peer", action="store_true")
    arguments = parser.parse_args()
    source = random.Random(1)
    data = {signal: [make(source) for _ in range(REQUESTS)] for signal, make in MAKERS.items()}
    port = free_port()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    await until_open(port)
    scale = 1e6 / (RECORDS * REQUESTS)
    rows: dict[str, dict[str, float]] = {}
    for signal, parts in data.items():
        rows[signal] = {}
        for name, run in (
            ("encode", lambda signal, parts: encode_alone(signal, parts, False)),
            ("encode+gzip", lambda signal, parts: encode_alone(signal, parts, True)),
            ("exporter", lambda signal, parts: whole_exporter(signal, parts, port)),
        ):
            times = [await run(Signal(signal), parts) for _ in range(arguments.repeat)]
            rows[signal][name] = min(times) * scale
    lab = Path(os.environ.get("HELIOGRAPH_LAB") or ROOT.parent / "shared" / "lab")
    binary = lab / "collector" / "collector"
    if binary.exists() and not arguments.no_peer:
        bodies = {signal: [request_of(signal, part) for part in parts] * 3 for signal, parts in data.items()}
        target = orjson.dumps({"endpoint": f"http://127.0.0.1:{port}", "sending_queue": {"enabled": False}}).decode()
        sending = await peer_cpu(binary, f"elasticsearch: {target}", bodies)
        receiving = await peer_cpu(binary, "nop: {}", bodies)
        for signal in rows:
            rows[signal]["upstream"] = (sending[signal] - receiving[signal]) * scale / 3
            rows[signal]["ratio"] = rows[signal]["exporter"] / rows[signal]["upstream"]
    compiled = not (hot_module.__file__ or "").endswith(".py")
    print(f"microseconds of CPU a record, {RECORDS} records a request, {'compiled' if compiled else 'plain Python'}")
    columns = list(next(iter(rows.values())))
    print(f"{'':10}" + "".join(f"{name:>14}" for name in columns))
    for signal, row in rows.items():
        print(f"{signal:10}" + "".join(f"{row[name]:14.2f}" for name in columns))
    server.terminate()
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
