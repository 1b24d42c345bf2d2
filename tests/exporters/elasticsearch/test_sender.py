"""What becomes of documents when Elasticsearch refuses, fails, hides or lies: nothing is lost or doubled unseen."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2 as logs

from heliograph.component.auth import ClientAuth
from heliograph.component.batch import Batch, Fate
from heliograph.component.errors import Permanent, StartError
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.testing.bulk_server import Answer, BulkServer
from heliograph.testing.clock import ManualClock
from heliograph.testing.telemetry import Telemetry
from heliograph.testing.wait import until

Start = Callable[..., Awaitable[Any]]
FAST = {"initial_interval": "1ms", "max_interval": "5ms"}


def some_logs(*names: str, uid: bool = False, dataset: str = "") -> list[bytes]:
    """One part with a log for each name as its body."""
    records = []
    for name in names:
        record = logs.LogRecord(time_unix_nano=10**18, body=common.AnyValue(string_value=name))
        if uid:
            value = common.AnyValue(string_value=f"uid-{name}")
            record.attributes.append(common.KeyValue(key="log.record.uid", value=value))
        if dataset:
            value = common.AnyValue(string_value=dataset)
            record.attributes.append(common.KeyValue(key="data_stream.dataset", value=value))
        records.append(record)
    return [logs.ResourceLogs(scope_logs=[logs.ScopeLogs(log_records=records)]).SerializeToString()]


def bodies(documents: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """The body texts of documents."""
    return [source["body"]["text"] for _, source in documents]


def refusing(name: str, status: int, error: str) -> Answer:
    """An answer that refuses the log with this body and takes the others."""
    return Answer(item=lambda _, source: (status, error) if source["body"]["text"] == name else (201, ""))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_refused_document_is_sent_again_alone(start: Start, server: BulkServer, status: int) -> None:
    """429 and 5xx of one document: it goes again by itself until it is taken; the others never go twice."""
    exporter = await start("logs", retry=FAST)
    server.answers.extend([refusing("b", status, "es_rejected_execution_exception")] * 4)
    await exporter.send(some_logs("a", "b", "c"))
    assert [bodies(request.documents) for request in server.requests] == [["a", "b", "c"], *[["b"]] * 4]
    assert sorted(bodies(server.stored)) == ["a", "b", "c"]
    assert exporter.account.sent == 3
    assert exporter.account.difference == 0
    assert exporter.outcomes[0].fate is Fate.DELIVERED
    assert exporter.metric("otelcol_elasticsearch_docs_retried") == 4


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (401, "api_key"),
        (403, "create_doc"),
        (404, "endpoint"),
        (429, "overloaded"),
        (500, "cannot take data now"),
        (502, "cannot take data now"),
        (503, "cannot take data now"),
        (504, "cannot take data now"),
        (302, "endpoint"),
    ],
)
async def test_a_failing_request_is_waited_out(start: Start, server: BulkServer, status: int, says: str) -> None:
    """The data is kept, health names address, status and what to do, and is OK again afterwards."""
    exporter = await start("logs", retry=FAST)
    server.answers.extend([Answer(status=status)] * 3)
    await exporter.send(some_logs("a", "b"))
    assert len(server.requests) == 4
    assert len({request.raw for request in server.requests}) == 1
    assert bodies(server.stored) == ["a", "b"]
    troubles = [message for health, message in exporter.host.reports if health is Status.RECOVERABLE_ERROR]
    assert len(troubles) == 1
    assert server.url in troubles[0]
    assert f"HTTP {status}" in troubles[0]
    assert says in troubles[0]
    assert exporter.host.status is Status.OK
    assert exporter.account.difference == 0


@pytest.mark.parametrize(("status", "says"), [(403, "cluster.blocks"), (429, "full"), (503, "master")])
async def test_a_blocked_cluster_is_waited_out(start: Start, server: BulkServer, status: int, says: str) -> None:
    """A whole request that a block refuses is no matter of rights or load: health says what it is."""
    exporter = await start("logs", retry=FAST)
    body = b'{"error":{"type":"cluster_block_exception","reason":"blocked by: [...]"},"status":0}'
    server.answers.extend([Answer(status=status, body=body)] * 3)
    await exporter.send(some_logs("a", "b"))
    assert bodies(server.stored) == ["a", "b"]
    (trouble,) = [message for health, message in exporter.host.reports if health is Status.RECOVERABLE_ERROR]
    assert f"HTTP {status} (cluster_block_exception)" in trouble
    assert says in trouble
    assert exporter.host.status is Status.OK


@pytest.mark.parametrize("value", ["30", "Tue, 14 Nov 2023 22:13:50 GMT"])
async def test_retry_after_is_honoured(start: Start, server: BulkServer, value: str) -> None:
    """The next attempt comes no sooner than the server asks, in seconds or by a date."""
    clock = ManualClock()
    exporter = await start("logs", clock=clock)
    server.answers.append(Answer(status=429, headers={"Retry-After": value}))
    sending = asyncio.ensure_future(exporter.send(some_logs("a")))
    await server.wait_for(lambda server: len(server.requests) == 1)
    await until(lambda: clock.sleeping == 1)
    await clock.advance(29)
    assert len(server.requests) == 1
    await clock.advance(2)
    await sending
    assert len(server.requests) == 2


async def test_an_unreachable_server_is_waited_for(
    start: Start, server: BulkServer, free_port: Callable[[], int]
) -> None:
    """Connection refused: kept and sent when the server is there."""
    port = free_port()
    exporter = await start("logs", retry=FAST, endpoint=f"http://127.0.0.1:{port}")
    sending = asyncio.ensure_future(exporter.send(some_logs("a")))
    await until(lambda: exporter.host.status is Status.RECOVERABLE_ERROR)
    assert "cannot connect" in exporter.host.reports[-1][1]
    await server.stop()
    await server.start(port)
    await sending
    assert bodies(server.stored) == ["a"]


async def test_a_second_node_takes_over_at_once(start: Start, server: BulkServer, free_port: Callable[[], int]) -> None:
    """Of several endpoints one that does not answer costs no waiting."""
    exporter = await start("logs", endpoints=[f"http://127.0.0.1:{free_port()}", server.url], clock=ManualClock())
    for name in "abcd":
        await exporter.send(some_logs(name))
    assert bodies(server.stored) == ["a", "b", "c", "d"]


async def test_what_is_there_already_counts_as_delivered(start: Start, server: BulkServer) -> None:
    """The answer is cut off, the bulk sent again: each log with a uid is there once, and 409 is success."""
    exporter = await start("logs", retry=FAST)
    server.answers.append(Answer(cut=True))
    names = [f"line {number}" for number in range(50)]
    await exporter.send(some_logs(*names, uid=True))
    assert len(server.requests) == 2
    assert bodies(server.stored) == names
    assert {action["_id"] for action, _ in server.stored} == {f"uid-{name}" for name in names}
    assert all("log.record.uid" in source["attributes"] for _, source in server.stored)
    assert exporter.account.sent == 50
    assert not exporter.account.dropped
    assert exporter.metric("heliograph_elasticsearch_duplicate_documents") == 50


@pytest.mark.parametrize("body", [b"<html>a proxy</html>", b"{}", b"[]", b'{"items":[]}', b'{"items":[{"create":{}}]}'])
async def test_an_answer_that_is_none_proves_nothing(start: Start, server: BulkServer, body: bytes) -> None:
    """HTTP 200 with something else in it: sent again."""
    exporter = await start("logs", retry=FAST)
    server.answers.append(Answer(body=body))
    await exporter.send(some_logs("a"))
    assert bodies(server.stored) == ["a"]


async def test_a_rejected_document_becomes_a_dead_letter(start: Start, server: BulkServer, tmp_path: Path) -> None:
    """400 of one document: kept in a file with the reason; the others are delivered."""
    exporter = await start("logs")
    server.answers.append(refusing("b", 400, "document_parsing_exception"))
    await exporter.send(some_logs("a", "b", "c"))
    assert bodies(server.stored) == ["a", "c"]
    assert (exporter.account.sent, exporter.account.dead_lettered, exporter.account.difference) == (2, 1, 0)
    assert exporter.outcomes[0].fate is Fate.DEAD_LETTERED
    (line,) = (tmp_path / "dead" / "elasticsearch_es_logs.ndjson").read_bytes().splitlines()
    letter = orjson.loads(line)
    assert letter["status"] == 400
    assert letter["error"]["type"] == "document_parsing_exception"
    assert letter["action"]["create"]["_index"] == "logs-generic.otel-default"
    assert letter["document"]["body"] == {"text": "b"}
    labels = {"outcome": "failed_client", "http_response_status_code": "400", "error_type": letter["error"]["type"]}
    assert exporter.metric("otelcol_elasticsearch_docs_processed", **labels) == 1


@pytest.mark.parametrize("way", ["off", "full", "unwritable"])
async def test_a_dead_letter_that_cannot_be_kept_is_counted(
    start: Start, server: BulkServer, tmp_path: Path, way: str
) -> None:
    """Switched off, no room, no folder: dropped, with the server's reason in the ledger."""
    dead: dict[str, Any] = {"directory": str(tmp_path / "dead")}
    if way == "off":
        dead = {"enabled": False}
    elif way == "full":
        dead["max_size"] = 10
    exporter = await start("logs", dead_letters=dead)
    if way == "unwritable":
        (tmp_path / "dead").rmdir()
        (tmp_path / "dead").write_text("a file")
    server.answers.append(refusing("b", 400, "Document.Parsing-Exception"))
    await exporter.send(some_logs("a", "b"))
    assert exporter.account.dropped == {"document_parsing_exception": 1}
    assert exporter.account.difference == 0


async def test_dead_letters_stop_at_their_limit(start: Start, server: BulkServer, tmp_path: Path) -> None:
    """What fits is kept, the rest dropped; the file is never greater."""
    exporter = await start("logs", dead_letters={"directory": str(tmp_path / "dead"), "max_size": 1000})
    server.always = Answer(item=lambda *_: (400, "no"))
    await exporter.send(some_logs(*map(str, range(20))))
    lines = (tmp_path / "dead" / "elasticsearch_es_logs.ndjson").read_bytes()
    assert len(lines) <= 1000
    kept = lines.count(b"\n")
    assert 0 < kept < 20
    assert (exporter.account.dead_lettered, exporter.account.dropped) == (kept, {"no": 20 - kept})


async def test_a_folder_that_cannot_be_made_stops_the_start(start: Start, tmp_path: Path) -> None:
    """A directory that the user named and that is not possible is told at start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="dead_letters::directory"):
        await start("logs", dead_letters={"directory": str(tmp_path / "file" / "x")})


async def test_a_request_that_is_too_large_is_split(start: Start, server: BulkServer) -> None:
    """413: halves until they are taken; a single document that is too large becomes a dead letter."""
    exporter = await start("logs", compression="none")
    server.largest = 40_000
    texts = [str(number) * 5000 for number in range(10)]
    await exporter.send(some_logs(*texts, "x" * 50_000))
    assert bodies(server.stored) == texts
    assert exporter.account.dead_lettered == 1
    assert exporter.account.difference == 0
    before = len(server.requests)
    await exporter.send(some_logs(*texts))
    assert len(server.requests) - before <= 4


async def test_a_request_that_is_wrong_becomes_dead_letters(start: Start, server: BulkServer) -> None:
    """Whole 400: sending it again would not help; it is kept."""
    exporter = await start("logs")
    error = b'{"error":{"type":"illegal_argument_exception","reason":"no"},"status":400}'
    server.answers.append(Answer(status=400, body=error))
    await exporter.send(some_logs("a", "b"))
    assert (exporter.account.dead_lettered, exporter.account.difference) == (2, 0)


@pytest.mark.parametrize("retry", [{"enabled": False}, {"max_retries": 2, **FAST}, {"max_requests": 3, **FAST}])
async def test_giving_up_when_told_to_keeps_dead_letters(
    start: Start, server: BulkServer, retry: dict[str, Any]
) -> None:
    """retry::enabled false: one attempt; max_retries: so many more. Whole requests and single documents alike."""
    attempts = 1 if "enabled" in retry else 3
    exporter = await start("logs", retry=retry)
    server.always = Answer(status=503)
    await exporter.send(some_logs("a"))
    assert len(server.requests) == attempts
    server.always = refusing("b", 429, "too_many")
    await exporter.send(some_logs("b", "c"))
    assert len(server.requests) == 2 * attempts
    assert bodies(server.stored) == ["c"]
    assert (exporter.account.sent, exporter.account.dead_lettered, exporter.account.difference) == (1, 2, 0)


async def test_bulks_stay_below_the_limit(start: Start, server: BulkServer) -> None:
    """max_size bounds the NDJSON too; order is kept."""
    queue = {"batch": {"max_size": 20_000, "min_size": 10_000, "flush_timeout": "10ms"}}
    exporter = await start("logs", sending_queue=queue)
    names = [f"{number:04d}" + "y" * 500 for number in range(200)]
    await exporter.send(some_logs(*names))
    await until(lambda: exporter.account.sent == 200)
    assert sorted(bodies(server.stored)) == names
    assert len(server.requests) > 4
    assert all(len(request.raw) <= 20_000 for request in server.requests)


async def test_what_was_indexed_before_the_end_is_sent(start: Start, server: BulkServer) -> None:
    """Two of three documents are taken, the third is refused until the time is over: 2 sent, 1 dropped."""
    exporter = await start("logs", sending_queue={"batch": None})
    server.always = refusing("b", 429, "too_many")
    task = asyncio.create_task(exporter.send(some_logs("a", "b", "c")))
    await until(lambda: len(server.requests) >= 2)
    await exporter.exporter.shutdown(0)
    await task
    assert (exporter.account.sent, dict(exporter.account.dropped)) == (2, {"shutdown": 1})
    assert exporter.account.difference == 0


async def test_unfinished_work_at_shutdown_is_deliverys(start: Start, server: BulkServer) -> None:
    """A batch that is being retried when the time is over is dropped and counted for shutdown, nothing twice."""
    exporter = await start("logs", sending_queue={"batch": None})
    server.always = Answer(status=503)
    await exporter.send(some_logs("a", "b"))
    await server.wait_for(lambda server: len(server.requests) >= 1)
    await exporter.exporter.shutdown(exporter.host.clock.monotonic() + 0.05)
    assert exporter.account.dropped == {"shutdown": 2}
    assert exporter.account.difference == 0


async def test_a_malformed_batch_is_refused(start: Start) -> None:
    """Bytes that are no OTLP never crash the exporter."""
    exporter = await start("logs")
    (part,) = some_logs("a")
    for cut in range(1, len(part)):
        with suppress(Permanent):
            await exporter.exporter.consume(Batch(Signal.LOGS, [part[:cut]], 1))
    with pytest.raises(Permanent, match="malformed"):
        await exporter.exporter.consume(Batch(Signal.LOGS, [part[:-1]], 1))
    assert exporter.host.crashes == []


async def test_cumulative_histograms_are_left_out_and_counted(start: Start, server: BulkServer) -> None:
    """As upstream they become no document; here the ledger says so."""
    exporter = await start("metrics")
    for seed in range(30):
        await exporter.send(Telemetry(seed).parts("metrics"))
    account = exporter.account
    assert account.dropped["cumulative_histogram"] > 0
    assert set(account.dropped) <= {
        "cumulative_histogram",
        "invalid_histogram",
        "no_value",
        "duplicate_metric",
        "noindex",
    }
    assert account.sent > 0
    assert account.difference == 0


class Credentials(ClientAuth):
    """A ClientAuth extension."""

    async def headers(self, context: Any) -> dict[str, str]:
        """A token of the batch's own."""
        return {"authorization": f"Bearer {context.metadata['x-tenant'][0]}"}


async def test_credentials(start: Start, server: BulkServer) -> None:
    """Basic from keys and from the URL, an API key, gzip that can be read."""
    for options, expected in (
        ({"user": "u", "password": "p"}, "Basic dTpw"),
        ({"endpoint": server.url.replace("//", "//u:p@")}, "Basic dTpw"),
        ({"api_key": "a2V5"}, "ApiKey a2V5"),
        ({}, None),
    ):
        exporter = await start("logs", **options)
        await exporter.send(some_logs("a"))
        assert server.requests[-1].headers.get("Authorization") == expected
        assert server.requests[-1].headers["Content-Encoding"] == "gzip"


async def test_an_auth_extension_adds_its_credentials(start: Start, server: BulkServer) -> None:
    """It gets the batch's context and wins over the exporter's own."""
    exporter = await start("logs", auth={"authenticator": "mine"}, api_key="a2V5", extensions={"mine": Credentials()})
    await exporter.send(some_logs("a"), metadata={"x-tenant": ("t1",)})
    assert server.requests[-1].headers["Authorization"] == "Bearer t1"


async def test_discovered_nodes_are_used(start: Start, server: BulkServer) -> None:
    """The configured address is only asked for nodes; those it names get the documents."""

    async def nodes(request: web.Request) -> web.Response:
        address = server.url.removeprefix("http://")
        return web.json_response({"nodes": {"a": {"roles": ["data"], "http": {"publish_address": address}}}})

    application = web.Application()
    application.router.add_get("/_nodes/http", nodes)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        seed = f"http://127.0.0.1:{runner.addresses[0][1]}"
        exporter = await start("logs", endpoint=seed, discover={"on_start": True}, retry=FAST)
        await exporter.send(some_logs("a"))
        assert bodies(server.stored) == ["a"]
        assert exporter.host.crashes == []
    finally:
        await runner.cleanup()


async def test_a_proxy_is_used_where_it_is_configured(start: Start, server: BulkServer) -> None:
    """proxy_url: the request for any host goes there."""
    exporter = await start("logs", endpoint="http://elasticsearch.invalid:9200", proxy_url=server.url)
    await exporter.send(some_logs("a"))
    assert bodies(server.stored) == ["a"]
