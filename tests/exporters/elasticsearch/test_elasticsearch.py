"""Against the real Elasticsearch of the lab, with Elastic's OpenTelemetry templates."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1 import resource_pb2 as resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from heliograph.testing.wait import until

pytestmark = [pytest.mark.elasticsearch, pytest.mark.timeout(180)]
Start = Callable[..., Awaitable[Any]]


def text(key: str, value: str) -> common.KeyValue:
    """A text attribute."""
    return common.KeyValue(key=key, value=common.AnyValue(string_value=value))


def pod(namespace: str) -> resource.Resource:
    """A resource whose data goes to data streams of this namespace."""
    return resource.Resource(
        attributes=[
            text("service.name", "checkout"),
            text("host.name", "node-1"),
            text("k8s.pod.name", "checkout-1"),
            text("data_stream.namespace", namespace),
        ]
    )


def demo_logs(namespace: str, count: int, now: int) -> list[bytes]:
    """Logs of all forms, each with a uid."""
    bodies = (
        common.AnyValue(string_value="GET /cart 200"),
        common.AnyValue(int_value=5),
        common.AnyValue(kvlist_value=common.KeyValueList(values=[text("message", "structured"), text("a.b", "c")])),
        common.AnyValue(array_value=common.ArrayValue(values=[common.AnyValue(string_value="x")])),
    )
    records = [
        logs.LogRecord(
            time_unix_nano=now + number * 1_000_001,
            observed_time_unix_nano=now,
            severity_text="INFO",
            severity_number=9,  # type: ignore[arg-type]
            body=bodies[number % len(bodies)],
            trace_id=uuid.uuid4().bytes,
            attributes=[text("log.record.uid", f"{namespace}-{number}"), text("log.iostream", "stdout")],
        )
        for number in range(count)
    ]
    scope = logs.ScopeLogs(scope=common.InstrumentationScope(name="demo", version="1"), log_records=records)
    return [logs.ResourceLogs(resource=pod(namespace), scope_logs=[scope]).SerializeToString()]


def demo_spans(namespace: str, count: int, now: int) -> list[bytes]:
    """Spans with an event and a link each."""
    spans = [
        trace.Span(
            trace_id=uuid.uuid4().bytes,
            span_id=uuid.uuid4().bytes[:8],
            name="POST /checkout",
            kind=2,  # type: ignore[arg-type]
            start_time_unix_nano=now + number,
            end_time_unix_nano=now + number + 1_500_000,
            attributes=[
                common.KeyValue(key="http.response.status_code", value=common.AnyValue(int_value=200)),
                text("url.path", "/checkout"),
            ],
            events=[trace.Span.Event(time_unix_nano=now, name="exception", attributes=[text("exception.type", "E")])],
            links=[trace.Span.Link(trace_id=uuid.uuid4().bytes, span_id=uuid.uuid4().bytes[:8])],
            status=trace.Status(code=2, message="boom"),  # type: ignore[arg-type]
        )
        for number in range(count)
    ]
    return [
        trace.ResourceSpans(resource=pod(namespace), scope_spans=[trace.ScopeSpans(spans=spans)]).SerializeToString()
    ]


def demo_metrics(namespace: str, now: int, scrapes: int) -> list[list[bytes]]:
    """Batches of host metrics as scrapers make them: one scope each, several metrics with the same points."""
    batches = []
    for scrape in range(scrapes):
        time_ns = now + scrape * 10**9
        scopes = []
        for scraper in ("cpu", "memory", "disk"):
            found = []
            for name in ("time", "utilization", "count"):
                points = [
                    metrics.NumberDataPoint(
                        time_unix_nano=time_ns,
                        start_time_unix_nano=now - 10**12,
                        as_double=1.5 + scrape,
                        attributes=[text("cpu", f"cpu{cpu}")],
                    )
                    for cpu in range(4)
                ]
                metric = metrics.Metric(name=f"system.{scraper}.{name}", unit="s" if name == "time" else "1")
                if name == "utilization":
                    metric.gauge.data_points.extend(points)
                else:
                    metric.sum.aggregation_temporality = 2  # type: ignore[assignment]
                    metric.sum.is_monotonic = True
                    metric.sum.data_points.extend(points)
                found.append(metric)
            duration = metrics.Metric(name=f"system.{scraper}.duration", unit="ms")
            duration.histogram.aggregation_temporality = 1  # type: ignore[assignment]
            duration.histogram.data_points.add(
                time_unix_nano=time_ns, count=3, sum=4.5, explicit_bounds=[1, 5], bucket_counts=[1, 2, 0]
            )
            name = f"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver/{scraper}"
            scope = common.InstrumentationScope(name=name)
            scopes.append(metrics.ScopeMetrics(scope=scope, metrics=[*found, duration]))
        part = metrics.ResourceMetrics(resource=pod(namespace), scope_metrics=scopes)
        batches.append([part.SerializeToString()])
    return batches


async def search(url: str, index: str, body: dict[str, Any] | None = None) -> Any:
    """Hits of a search, after a refresh."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        await session.post(f"{url}/{index}/_refresh")
        query = {"size": 1000, "track_total_hits": True, **(body or {})}
        async with session.post(f"{url}/{index}/_search", json=query) as response:
            return (await response.json())["hits"]


async def test_mixed_telemetry_is_indexed_whole(elasticsearch_url: str, start: Start) -> None:
    """Logs, spans, events, metrics: every document is taken, no version conflict, and it can be searched."""
    namespace = f"mixed{uuid.uuid4().hex[:8]}"
    now = time.time_ns()
    exporters = {
        signal: await start(signal, endpoint=elasticsearch_url, include_source_on_error=False)
        for signal in ("logs", "traces", "metrics")
    }
    await exporters["logs"].send(demo_logs(namespace, 200, now))
    await exporters["traces"].send(demo_spans(namespace, 50, now))
    for batch in demo_metrics(namespace, now, 5):
        await exporters["metrics"].send(batch)
    for signal, exporter in exporters.items():
        account = exporter.account
        assert account.sent == account.received > 0, signal
        assert (account.dead_lettered, dict(account.dropped)) == (0, {}), signal
        assert exporter.metric("heliograph_elasticsearch_duplicate_documents") == 0, signal
    found = await search(elasticsearch_url, f"logs-generic.otel-{namespace}")
    assert found["total"]["value"] == 250
    hit = next(hit["_source"] for hit in found["hits"] if hit["_id"] == f"{namespace}-0")
    assert hit["body"] == {"text": "GET /cart 200"}
    assert hit["resource"]["attributes"]["host.name"] == "node-1"
    by_name = {"query": {"term": {"service.name": "checkout"}}}
    assert (await search(elasticsearch_url, f"traces-generic.otel-{namespace}", by_name))["total"]["value"] == 50
    found = await search(elasticsearch_url, f"metrics-hostmetricsreceiver.otel-{namespace}")
    documents = exporters["metrics"].metric("otelcol_elasticsearch_docs_received")
    assert found["total"]["value"] == documents > 0
    ignored = {"query": {"exists": {"field": "_ignored"}}}
    for index in (f"logs-*-{namespace}", f"traces-*-{namespace}", f"metrics-*-{namespace}"):
        assert (await search(elasticsearch_url, index, ignored))["total"]["value"] == 0, index


async def test_two_libraries_with_one_metric(elasticsearch_url: str, start: Start) -> None:
    """Points of one name, with the same attributes and of the same moment, from two scopes: both are there."""
    namespace = f"scopes{uuid.uuid4().hex[:8]}"
    now = time.time_ns()
    scopes = []
    for number, name in enumerate(("requests", "urllib3")):
        metric = metrics.Metric(name="http.client.calls")
        metric.sum.aggregation_temporality = 2  # type: ignore[assignment]
        metric.sum.data_points.add(time_unix_nano=now, as_int=number, attributes=[text("server.address", "x")])
        scopes.append(metrics.ScopeMetrics(scope=common.InstrumentationScope(name=name), metrics=[metric]))
    exporter = await start("metrics", endpoint=elasticsearch_url)
    await exporter.send([metrics.ResourceMetrics(resource=pod(namespace), scope_metrics=scopes).SerializeToString()])
    found = await search(elasticsearch_url, f"metrics-generic.otel-{namespace}")
    names = {hit["_source"]["scope"]["name"]: hit["_source"]["metrics"]["http.client.calls"] for hit in found["hits"]}
    assert names == {"requests": 0, "urllib3": 1}


async def test_repeated_logs_are_there_once(elasticsearch_url: str, start: Start) -> None:
    """The same logs in two batches: 409 counts as delivered, each log is there once."""
    namespace = f"twice{uuid.uuid4().hex[:8]}"
    parts = demo_logs(namespace, 100, time.time_ns())
    exporter = await start("logs", endpoint=elasticsearch_url)
    await exporter.send(parts)
    await exporter.send(parts)
    assert exporter.account.sent == 200
    assert exporter.metric("heliograph_elasticsearch_duplicate_documents") == 100
    assert (await search(elasticsearch_url, f"logs-generic.otel-{namespace}"))["total"]["value"] == 100


async def test_an_answer_cut_off_loses_and_doubles_nothing(elasticsearch_url: str, start: Start) -> None:
    """A proxy passes the bulk on and breaks off in the middle of the answer: sent again, each log is there once."""
    namespace = f"cut{uuid.uuid4().hex[:8]}"
    cuts = 2

    async def proxy(request: web.Request) -> web.StreamResponse:
        nonlocal cuts
        body = await request.read()
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{elasticsearch_url}{request.path_qs}", data=body, headers=headers) as answer,
        ):
            content = await answer.read()
        if cuts == 0:
            return web.Response(status=answer.status, body=content, content_type="application/json")
        cuts -= 1
        response = web.StreamResponse(headers={"Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[: len(content) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    application = web.Application(client_max_size=1 << 26)
    application.router.add_post("/_bulk", proxy)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        port = runner.addresses[0][1]
        retry = {"initial_interval": "1ms", "max_interval": "5ms"}
        exporter = await start("logs", endpoint=f"http://127.0.0.1:{port}", retry=retry)
        await asyncio.wait_for(exporter.send(demo_logs(namespace, 300, time.time_ns())), 30)
    finally:
        await runner.cleanup()
    assert cuts == 0
    assert exporter.account.sent == 300
    assert exporter.metric("heliograph_elasticsearch_duplicate_documents") == 300
    assert (await search(elasticsearch_url, f"logs-generic.otel-{namespace}"))["total"]["value"] == 300


async def test_a_document_that_does_not_fit_is_kept(elasticsearch_url: str, start: Start, tmp_path: Any) -> None:
    """What the real server rejects (a metric far outside the time bounds) becomes a dead letter, the rest is taken."""
    namespace = f"reject{uuid.uuid4().hex[:8]}"
    exporter = await start("metrics", endpoint=elasticsearch_url)
    await exporter.send(demo_metrics(namespace, time.time_ns(), 1)[0])
    taken = exporter.account.sent
    await exporter.send(demo_metrics(namespace, 10**18, 1)[0])
    assert taken == exporter.account.sent == exporter.account.dead_lettered
    assert exporter.account.difference == 0
    assert b"timestamp_error" in (tmp_path / "dead" / "elasticsearch_es_metrics.ndjson").read_bytes()


async def test_another_template_for_the_same_names(elasticsearch_url: str, start: Start) -> None:
    """Where the cluster's own `logs` template would take OpenTelemetry's logs nothing is written, and no data stream
    made; when it no longer does, they arrive."""
    namespace = uuid.uuid4().hex[:8]
    pattern = f"logs-*.otel-{namespace}"
    template = {"index_patterns": [pattern, "logs-a.otel-b"], "data_stream": {}, "priority": 900}
    path = f"{elasticsearch_url}/_index_template/logs"
    count = f"{elasticsearch_url}/{pattern}/_count"
    async with aiohttp.ClientSession() as session:
        async with session.get(path) as answer:
            before = (await answer.json())["index_templates"][0]["index_template"] if answer.status == 200 else None
        async with session.put(path, json=template) as answer:
            assert answer.status == 200, await answer.text()
        try:
            exporter = await start("logs", endpoint=elasticsearch_url, retry={"initial_interval": "1s"})
            await exporter.send(demo_logs(namespace, 4, time.time_ns()))
            assert exporter.account.waiting == 4
            assert "logs-otel@template" in exporter.host.reports[-1][1]
            async with session.get(count) as answer:
                assert (await answer.json())["_shards"]["total"] == 0
        finally:
            restored = session.delete(path) if before is None else session.put(path, json=before)
            async with restored as answer:
                assert answer.status == 200, await answer.text()
        await until(lambda: exporter.account.sent == 4, timeout=40)
        async with session.post(f"{elasticsearch_url}/{pattern}/_refresh"), session.get(count) as answer:
            assert (await answer.json())["count"] == 4
