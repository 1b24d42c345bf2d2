"""The same OTLP input through the upstream Collector's exporter and ours: the same bulk bodies, byte by byte.

Beyond bytes only this may differ: the order of metric documents and of dynamic templates (a Go map's, random), and the
last digit of exponential buckets' values (Go's math.Exp against libm's), and the hash in metric documents, which
here tells apart scopes too (test_elasticsearch.py).
"""

import json
import math
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import pytest

from heliograph.otlp.messages import request_class, resource_message_class
from heliograph.testing.bulk_server import BulkServer
from heliograph.testing.telemetry import Telemetry

pytestmark = pytest.mark.peer

SEEDS = 60
OPTIONS = {
    "logs_dynamic_id": {"enabled": True},
    "traces_dynamic_id": {"enabled": True},
    "logs_dynamic_pipeline": {"enabled": True},
}
COLLECTOR = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}", include_metadata: true}}}}}}}}
exporters: {{elasticsearch: {exporter}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{receivers: [otlp], exporters: [elasticsearch]}}
    traces: {{receivers: [otlp], exporters: [elasticsearch]}}
    metrics: {{receivers: [otlp], exporters: [elasticsearch]}}
"""

Document = tuple[bytes, bytes]


def request_of(signal: str, parts: list[bytes]) -> bytes:
    """The Export*ServiceRequest with these parts."""
    request = request_class(signal)()
    field = {"logs": "resource_logs", "traces": "resource_spans", "metrics": "resource_metrics"}[signal]
    getattr(request, field).extend(resource_message_class(signal).FromString(part) for part in parts)
    body: bytes = request.SerializeToString()
    return body


HASH = re.compile(rb',"_metric_names_hash":"[0-9a-f]+"')


class Upstream:
    """The upstream Collector with its own recording server."""

    def __init__(self, port: int, server: BulkServer, session: aiohttp.ClientSession) -> None:
        self.port = port
        self.server = server
        self.session = session

    async def documents(self, signal: str, parts: list[bytes]) -> list[Document]:
        """What it makes of these parts."""
        self.server.requests.clear()
        async with self.session.post(
            f"http://127.0.0.1:{self.port}/v1/{signal}",
            data=request_of(signal, parts),
            headers={"Content-Type": "application/x-protobuf"},
        ) as response:
            assert response.status == 200, await response.text()
        return self.server.raw_documents


@pytest.fixture
async def upstream(upstream_collector: Callable[[str], Any], free_port: Callable[[], int]) -> Any:
    """A function that starts the peer with exporter options."""
    async with BulkServer() as server, aiohttp.ClientSession() as session:

        def make(**options: Any) -> Upstream:
            port = free_port()
            exporter = {"endpoint": server.url, "sending_queue": {"enabled": False}, **options}
            upstream_collector(COLLECTOR.format(port=port, exporter=orjson.dumps(exporter).decode()))
            return Upstream(port, server, session)

        yield make


async def ours(start: Callable[..., Awaitable[Any]], server: BulkServer, signal: str, **options: Any) -> Any:
    """A function: parts -> the documents that our exporter sends."""
    exporter = await start(signal, **options)

    async def documents(parts: list[bytes]) -> list[Document]:
        server.requests.clear()
        await exporter.send(parts)
        return server.raw_documents

    return documents


def comparable(signal: str, documents: list[Document]) -> list[Any]:
    """Bytes for logs and spans; for metrics sorted, actions as objects, without the hash that tells series apart: ours
    knows the scope."""
    if signal != "metrics":
        return documents
    return sorted(
        (orjson.dumps(orjson.loads(action), option=orjson.OPT_SORT_KEYS), HASH.sub(b"", source))
        for action, source in documents
    )


def differences(theirs: Any, mine: Any, path: str = "") -> list[str]:
    """Where two documents differ; numbers within a histogram's values may differ in their last digit."""
    if isinstance(theirs, dict) and isinstance(mine, dict) and list(theirs) == list(mine):
        return [found for name in theirs for found in differences(theirs[name], mine[name], f"{path}.{name}")]
    if isinstance(theirs, list) and isinstance(mine, list) and len(theirs) == len(mine):
        pairs = zip(theirs, mine, strict=True)
        return [found for number, (a, b) in enumerate(pairs) for found in differences(a, b, f"{path}[{number}]")]
    close = ".values[" in path and isinstance(theirs, float) and math.isclose(theirs, mine, rel_tol=1e-14)
    return [] if close or (theirs == mine and type(theirs) is type(mine)) else [f"{path}: {theirs!r} != {mine!r}"]


def assert_same(signal: str, seed: object, theirs: list[Document], mine: list[Document]) -> None:
    """Fails with the first document that differs."""
    expected, found = comparable(signal, theirs), comparable(signal, mine)
    assert len(found) == len(expected), f"{signal} {seed}: {len(found)} documents instead of {len(expected)}"
    for (action, source), (our_action, our_source) in zip(expected, found, strict=True):
        assert our_action == action, f"{signal} {seed}"
        if our_source != source:
            assert b'"values":[' in source, f"{signal} {seed}:\n{source!r}\n{our_source!r}"
            assert not differences(orjson.loads(source), orjson.loads(our_source)), f"{signal} {seed}"


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
async def test_random_telemetry_gives_the_same_bulk_bodies(
    signal: str, upstream: Callable[..., Upstream], start: Callable[..., Awaitable[Any]], server: BulkServer
) -> None:
    """Every kind of value, body, event, link, metric, hint, routing attribute and scope name, from seeds."""
    peer = upstream(**OPTIONS)
    encode = await ours(start, server, signal, **OPTIONS)
    total = 0
    for seed in range(SEEDS):
        parts = Telemetry(seed).parts(signal)
        theirs = await peer.documents(signal, parts)
        assert_same(signal, seed, theirs, await encode(parts))
        total += len(theirs)
    assert total > SEEDS * 5, "the corpus is not empty"


@pytest.mark.parametrize(
    "options",
    [
        {"logs_index": "my-logs", "traces_index": "my-traces", "metrics_index": "my-metrics"},
        {"logstash_format": {"enabled": True, "date_format": "%Y.%m"}},
        {"logs_index": "x", "logstash_format": {"enabled": True, "prefix_separator": "_", "date_format": "%Y"}},
    ],
    ids=["fixed", "logstash", "both"],
)
async def test_fixed_and_dated_indices_are_the_same(
    options: dict[str, Any],
    upstream: Callable[..., Upstream],
    start: Callable[..., Awaitable[Any]],
    server: BulkServer,
) -> None:
    """Index keys of the configuration route as upstream's do."""
    peer = upstream(**options)
    for signal in ("logs", "traces", "metrics"):
        encode = await ours(start, server, signal, **options)
        for seed in range(3):
            parts = Telemetry(1000 + seed).parts(signal)
            assert_same(signal, seed, await peer.documents(signal, parts), await encode(parts))


def names_twice(source: bytes) -> bool:
    """Whether an object in a document has a member twice; Elasticsearch refuses such documents."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({name for name, _ in pairs}) < len(pairs)

    json.loads(source, object_pairs_hook=look)
    return found


class PlainTelemetry(Telemetry):
    """Without what upstream cannot write (an infinity breaks its bodymap requests) or writes in an order of its own (an
    attribute twice)."""

    def attributes(self, routing: bool = True) -> list[Any]:
        return list({pair.key: pair for pair in super().attributes(routing)}.values())

    def value(self, depth: int = 0) -> Any:
        made = super().value(depth)
        if made.WhichOneof("value") == "double_value" and not math.isfinite(made.double_value):
            made.double_value = 0.5
        return made


@pytest.mark.parametrize(
    ("mode", "signal"),
    [("none", "logs"), ("none", "traces"), ("raw", "logs"), ("raw", "traces"), ("bodymap", "logs")],
)
async def test_plain_modes_give_the_same_documents(
    mode: str,
    signal: str,
    upstream: Callable[..., Upstream],
    start: Callable[..., Awaitable[Any]],
    server: BulkServer,
) -> None:
    """Modes that a request asks for; some scopes of the corpus ask for otel all the same."""
    peer = upstream(**OPTIONS)
    peer.session.headers["X-Elastic-Mapping-Mode"] = mode.upper()
    exporter = await start(signal, **OPTIONS)
    total = otel = odd = 0
    for seed in range(SEEDS):
        parts = PlainTelemetry(2000 + seed).parts(signal)
        theirs = await peer.documents(signal, parts)
        server.requests.clear()
        await exporter.send(parts, metadata={"x-elastic-mapping-mode": (mode.upper(),)})
        # Upstream sends the documents of each mode in requests of their own.
        missing, added = Counter(theirs), Counter(server.raw_documents)
        missing, added = missing - added, added - missing
        for (action, source), (our_action, our_source) in zip(sorted(missing), sorted(added), strict=True):
            assert names_twice(source), f"{signal} {seed}:\n{source!r}\n{our_source!r}"
            assert (our_action, names_twice(our_source)) == (action, False)
        odd += missing.total()
        total += len(theirs)
        otel += sum(b"require_data_stream" in action for action, _ in theirs)
    assert 0 < otel < total / 2
    assert odd < total / 50
    assert total > SEEDS * 2, "the corpus is not empty"


@pytest.mark.parametrize("mode", ["none", "", "No", "RAW", "bodymap", "otel"])
async def test_scopes_choose_modes_as_with_upstream(
    mode: str, upstream: Callable[..., Upstream], start: Callable[..., Awaitable[Any]], server: BulkServer
) -> None:
    """By attribute elastic.mapping.mode, before what the request asks for."""
    parts = []
    for part in PlainTelemetry(1).parts("logs"):
        message = resource_message_class("logs").FromString(part)
        for scope in message.scope_logs:
            kept = [pair for pair in scope.scope.attributes if pair.key != "elastic.mapping.mode"]
            del scope.scope.attributes[:]
            scope.scope.attributes.extend(kept)
            scope.scope.attributes.add(key="elastic.mapping.mode").value.string_value = mode
        parts.append(message.SerializeToString())
    peer = upstream(**OPTIONS)
    peer.session.headers["X-Elastic-Mapping-Mode"] = "raw" if mode != "RAW" else "none"
    exporter = await start("logs", **OPTIONS)
    theirs = await peer.documents("logs", parts)
    await exporter.send(parts, metadata={"x-elastic-mapping-mode": (peer.session.headers["X-Elastic-Mapping-Mode"],)})
    assert theirs
    assert_same("logs", mode, sorted(theirs), sorted(server.raw_documents))


@pytest.mark.parametrize("options", [{"logs_index": "x"}, {"logstash_format": {"enabled": True, "date_format": "%Y"}}])
async def test_plain_modes_with_fixed_and_dated_indices_are_the_same(
    options: dict[str, Any],
    upstream: Callable[..., Upstream],
    start: Callable[..., Awaitable[Any]],
    server: BulkServer,
) -> None:
    """Index keys of the configuration route as upstream's do."""
    peer = upstream(**options)
    exporter = await start("logs", **options)
    for mode in ("none", "bodymap"):
        peer.session.headers["X-Elastic-Mapping-Mode"] = mode
        parts = PlainTelemetry(3).parts("logs")
        theirs = await peer.documents("logs", parts)
        server.requests.clear()
        await exporter.send(parts, metadata={"x-elastic-mapping-mode": (mode,)})
        assert_same("logs", mode, sorted(theirs), sorted(server.raw_documents))


async def test_the_request_has_upstreams_path_query_and_headers(
    upstream: Callable[..., Upstream], start: Callable[..., Awaitable[Any]], server: BulkServer
) -> None:
    """Everything but the user agent: path prefix, query (also what the endpoint holds), and what describes the body."""
    options = {"pipeline": "p", "include_source_on_error": False, "headers": {"X-Mine": "1"}, "api_key": "a2V5"}
    parts = Telemetry(1).parts("logs")
    peer = upstream(**options)
    path = "/prefix?custom=1"
    peer_with_path = upstream(**options, endpoint=f"{peer.server.url}{path}")
    await peer_with_path.documents("logs", parts)
    encode = await ours(start, server, "logs", **options, endpoint=f"{server.url}{path}")
    await encode(parts)
    theirs, mine = peer.server.requests[0], server.requests[0]
    assert (mine.path, mine.query) == (theirs.path, theirs.query)
    expected = {name.lower(): value for name, value in theirs.headers.items()}
    found = {name.lower(): value for name, value in mine.headers.items()}
    for name in (
        "content-type",
        "content-encoding",
        "accept-encoding",
        "authorization",
        "x-mine",
        "x-elastic-event-count",
        "x-elastic-uncompressed-request-length",
    ):
        assert found.get(name, "").lower() == expected.get(name, "").lower(), name
