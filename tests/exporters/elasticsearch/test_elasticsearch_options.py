"""The exporter's other mapping modes and indices, in the real Elasticsearch of the lab."""

import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.trace.v1 import trace_pb2 as trace
from tests.exporters.elasticsearch.test_elasticsearch import demo_logs, demo_spans, pod, search, text

from heliograph.testing.bulk_server import BulkServer

pytestmark = [pytest.mark.elasticsearch, pytest.mark.timeout(120)]
Start = Callable[..., Awaitable[Any]]


def in_mode(mode: str, namespace: str, *attributes: common.KeyValue, **record: Any) -> list[bytes]:
    """A log in a scope that asks for a mapping mode."""
    log = logs.LogRecord(time_unix_nano=time.time_ns(), severity_text="WARN", attributes=attributes, **record)
    scope = common.InstrumentationScope(name="demo", attributes=[text("elastic.mapping.mode", mode)])
    scoped = logs.ScopeLogs(scope=scope, log_records=[log])
    return [logs.ResourceLogs(resource=pod(namespace), scope_logs=[scoped]).SerializeToString()]


@pytest.mark.parametrize("mode", ["none", "raw"])
async def test_flat_modes(elasticsearch_url: str, start: Start, mode: str) -> None:
    """A log and a span are indexed under their flat names, in a data stream without `.otel`."""
    namespace = f"{mode}{uuid.uuid4().hex[:8]}"
    allowed = {"allowed_modes": [mode, "otel"]}
    exporter = await start("logs", endpoint=elasticsearch_url, mapping=allowed)
    body = common.AnyValue(string_value="hello")
    await exporter.send(in_mode(mode, namespace, text("http.route", "/a"), body=body))
    assert exporter.account.sent == 1
    (log,) = (await search(elasticsearch_url, f"logs-generic-{namespace}"))["hits"]
    prefix = "Attributes." if mode == "none" else ""
    assert log["_source"][f"{prefix}http.route"] == "/a"
    assert log["_source"]["Body"] == "hello"
    assert log["_source"]["Resource.service.name"] == "checkout"

    exporter = await start("traces", endpoint=elasticsearch_url, mapping=allowed)
    now = time.time_ns()
    span = trace.Span(
        trace_id=b"t" * 16, span_id=b"s" * 8, name="GET /a", start_time_unix_nano=now, end_time_unix_nano=now + 5000,
        attributes=[text("http.route", "/a")], events=[trace.Span.Event(time_unix_nano=now, name="thrown")],
    )  # fmt: skip
    scope = common.InstrumentationScope(attributes=[text("elastic.mapping.mode", mode)])
    scoped = trace.ScopeSpans(scope=scope, spans=[span])
    await exporter.send([trace.ResourceSpans(resource=pod(namespace), scope_spans=[scoped]).SerializeToString()])
    assert exporter.account.sent == 1
    (found,) = (await search(elasticsearch_url, f"traces-generic-{namespace}"))["hits"]
    assert found["_source"]["Name"] == "GET /a"
    assert found["_source"][f"{prefix}http.route"] == "/a"
    assert found["_source"]["TraceId"] == (b"t" * 16).hex()


async def test_body_is_the_document(elasticsearch_url: str, start: Start) -> None:
    """Mode bodymap: the map in the body of a log is indexed as it is; a text is left out, counted."""
    namespace = f"map{uuid.uuid4().hex[:8]}"
    exporter = await start("logs", endpoint=elasticsearch_url, mapping={"allowed_modes": ["bodymap", "otel"]})
    moment = "2026-11-23T10:00:00.000Z"
    inner = common.KeyValueList(values=[text("b", "c")])
    values = [
        text("@timestamp", moment),
        common.KeyValue(key="a", value=common.AnyValue(kvlist_value=inner)),
        common.KeyValue(key="n", value=common.AnyValue(int_value=3)),
    ]
    body = common.AnyValue(kvlist_value=common.KeyValueList(values=values))
    await exporter.send(in_mode("bodymap", namespace, body=body))
    await exporter.send(in_mode("bodymap", namespace, body=common.AnyValue(string_value="no map")))
    assert (exporter.account.sent, dict(exporter.account.dropped)) == (1, {"no_map_body": 1})
    (found,) = (await search(elasticsearch_url, f"logs-generic-{namespace}"))["hits"]
    assert found["_source"] == {"@timestamp": moment, "a": {"b": "c"}, "n": 3}


async def test_ids_and_pipelines(elasticsearch_url: str, start: Start, tmp_path: Path) -> None:
    """A log's own id and its own pipeline, else the exporter's, which is one that Elasticsearch does not know here."""
    name = f"p{uuid.uuid4().hex[:8]}"
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        await session.put(f"{elasticsearch_url}/_ingest/pipeline/{name}-own", json={"processors": []})
    options = {"logs_dynamic_id": {"enabled": True}, "logs_dynamic_pipeline": {"enabled": True}}
    exporter = await start("logs", endpoint=elasticsearch_url, pipeline=f"{name}-lacking", **options)
    own = [text("elasticsearch.document_id", "mine"), text("elasticsearch.ingest_pipeline", f"{name}-own")]
    await exporter.send(in_mode("otel", name, *own))
    await exporter.send(in_mode("otel", name, *own))
    await exporter.send(in_mode("otel", name, text("elasticsearch.document_id", "other")))
    assert (exporter.account.sent, exporter.account.dead_lettered) == (2, 1)
    assert exporter.metric("heliograph_elasticsearch_duplicate_documents") == 1
    (found,) = (await search(elasticsearch_url, f"logs-generic.otel-{name}"))["hits"]
    assert found["_id"] == "mine"
    letters = (tmp_path / "dead" / "elasticsearch_es_logs.ndjson").read_text()
    assert f"[{name}-lacking] does not exist" in letters


async def test_dated_indices(elasticsearch_url: str, start: Start) -> None:
    """logstash_format: the date ends the name, and Elastic's template makes a data stream of it."""
    namespace = f"day{uuid.uuid4().hex[:8]}"
    exporter = await start("logs", endpoint=elasticsearch_url, logstash_format={"enabled": True})
    before = datetime.now().astimezone()
    await exporter.send(demo_logs(namespace, 3, time.time_ns()))
    days = {f"{day:%Y.%m.%d}" for day in (before, datetime.now().astimezone())}
    assert exporter.account.sent == 3
    found = await search(elasticsearch_url, f"logs-generic.otel-{namespace}-*")
    assert found["total"]["value"] == 3
    assert all(any(day in hit["_index"] for day in days) for hit in found["hits"])
    assert all("data_stream" not in hit["_source"] for hit in found["hits"])


async def test_fixed_index(elasticsearch_url: str, start: Start) -> None:
    """logs_index: an index of one's own needs a template with a data stream, since mode otel asks for one."""
    name = f"mine-{uuid.uuid4().hex[:8]}"
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        await session.put(
            f"{elasticsearch_url}/_index_template/{name}",
            json={"index_patterns": [name], "data_stream": {}, "priority": 500},
        )
    exporter = await start("logs", endpoint=elasticsearch_url, logs_index=name)
    await exporter.send(demo_logs("fixed", 3, time.time_ns()))
    assert exporter.account.sent == 3
    assert (await search(elasticsearch_url, name))["total"]["value"] == 3


async def test_own_ids(elasticsearch_url: str, start: Start) -> None:
    """The same request twice, as after a lost answer: logs, spans and events are there once. Equal records of one
    request are two documents, and logs that know no time are never taken for the same."""
    namespace = f"own{uuid.uuid4().hex[:8]}"
    now = time.time_ns()
    timed = [logs.LogRecord(observed_time_unix_nano=now, body=common.AnyValue(string_value="same"))] * 2
    scoped = logs.ScopeLogs(log_records=[*timed, logs.LogRecord(body=common.AnyValue(string_value="timeless"))])
    part = logs.ResourceLogs(resource=pod(namespace), scope_logs=[scoped]).SerializeToString()
    exporters = {
        signal: await start(signal, endpoint=elasticsearch_url, own_ids={"enabled": True})
        for signal in ("logs", "traces")
    }
    for _ in range(2):
        await exporters["logs"].send([part])
        await exporters["traces"].send(demo_spans(namespace, 5, now))
    await exporters["traces"].send(spans := demo_spans(namespace, 5, now))
    await exporters["traces"].send(spans)
    assert (exporters["logs"].account.sent, exporters["traces"].account.sent) == (6, 20)
    found = (await search(elasticsearch_url, f"logs-generic.otel-{namespace}"))["hits"]
    texts = Counter(hit["_source"].get("body", {}).get("text", "event") for hit in found)
    assert texts == {"same": 2, "timeless": 2, "event": 15}
    assert (await search(elasticsearch_url, f"traces-generic.otel-{namespace}"))["total"]["value"] == 15


@pytest.mark.parametrize("mode", ["none", "raw", "bodymap"])
async def test_a_hint_against_the_document(start: Start, server: BulkServer, mode: str) -> None:
    """`_noindex` is heard in every mode."""
    exporter = await start("logs", mapping={"allowed_modes": [mode, "otel"]})
    values = common.ArrayValue(values=[common.AnyValue(string_value="_noindex")])
    hint = common.KeyValue(key="elasticsearch.mapping.hints", value=common.AnyValue(array_value=values))
    body = common.AnyValue(kvlist_value=common.KeyValueList(values=[text("a", "b")]))
    await exporter.send(in_mode(mode, "hints", hint, body=body) + in_mode(mode, "hints", body=body))
    assert (len(server.stored), dict(exporter.account.dropped)) == (1, {"noindex": 1})
