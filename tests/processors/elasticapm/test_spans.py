"""Golden rows: what is added to spans and transactions. Times: 1.5 s long, from 1700000000123456789 ns."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from heliograph.testing.attributes import key_values, plain

Enrich = Callable[..., Awaitable[Any]]
Enriched = Callable[..., Awaitable[Span]]
START = 1_700_000_000_123_456_789
UNSET, OK, ERROR = 0, 1, 2
SERVER, CLIENT, PRODUCER, CONSUMER, INTERNAL = (
    Span.SPAN_KIND_SERVER,
    Span.SPAN_KIND_CLIENT,
    Span.SPAN_KIND_PRODUCER,
    Span.SPAN_KIND_CONSUMER,
    Span.SPAN_KIND_INTERNAL,
)
TRANSACTION = {
    "timestamp.us": START // 1000,
    "transaction.sampled": True,
    "transaction.id": "0102030405060708",
    "transaction.root": True,
    "transaction.name": "GET /",
    "processor.event": "transaction",
    "transaction.representative_count": 1.0,
    "transaction.duration.us": 1_500_000,
    "transaction.type": "unknown",
    "transaction.result": "Success",
    "event.outcome": "success",
    "event.success_count": 1,
}
SPAN = {
    "timestamp.us": START // 1000,
    "span.representative_count": 1.0,
    "span.type": "unknown",
    "event.outcome": "success",
    "event.success_count": 1,
    "span.duration.us": 1_500_000,
    "processor.event": "span",
}
FAILED = {"event.outcome": "failure", "event.success_count": 0}
HTTP = {"span.type": "external", "span.subtype": "http", "service.target.type": "http"}


def span_message(
    attributes: dict[str, Any], kind: Any = CLIENT, parent: bool = True, status: int = UNSET, **fields: Any
) -> ResourceSpans:
    message = ResourceSpans()
    span = message.scope_spans.add().spans.add(
        trace_id=bytes(range(16)),
        span_id=bytes(range(1, 9)),
        parent_span_id=bytes(range(2, 10)) if parent else b"",
        name="GET /",
        kind=kind,
        start_time_unix_nano=START,
        end_time_unix_nano=START + 1_500_000_000,
        attributes=key_values(attributes),
        status=Status(code=status) if status else None,  # type: ignore[arg-type]
    )
    span.MergeFrom(Span(**fields))
    return message


@pytest.fixture
def enriched(enrich: Enrich) -> Enriched:
    """The span of a message, enriched."""

    async def run(message: ResourceSpans, config: dict[str, Any] | None = None) -> Span:
        found: Span = (await enrich(message, config)).scope_spans[0].spans[0]
        return found

    return run


SPANS: dict[str, tuple[dict[str, Any], Any, int, dict[str, Any]]] = {
    "unspecified": ({}, 0, UNSET, {}),
    "internal": ({}, INTERNAL, UNSET, {"span.type": "app", "span.subtype": "internal"}),
    "client http with a port": (
        {"http.request.method": "GET", "url.full": "http://other:8080/p?q=1"},
        CLIENT,
        UNSET,
        {
            **HTTP,
            "service.target.name": "other:8080",
            "span.destination.service.resource": "other:8080",
            "destination.address": "other",
            "destination.port": 8080,
            "url.original": "http://other:8080/p?q=1",
            "span.destination.service.name": "http://other:8080",
            "span.destination.service.type": "external",
        },
    ),
    "client https without a port": (
        {"http.method": "GET", "http.url": "https://other/p"},
        CLIENT,
        UNSET,
        {
            **HTTP,
            "service.target.name": "other:443",
            "span.destination.service.resource": "other:443",
            "destination.address": "other",
            "destination.port": 443,
            "url.original": "https://other/p",
            "span.destination.service.name": "https://other",
            "span.destination.service.type": "external",
        },
    ),
    "the port of the scheme is left out of the name": (
        {"url.full": "http://other:80/"},
        CLIENT,
        UNSET,
        {
            **HTTP,
            "service.target.name": "other:80",
            "span.destination.service.resource": "other:80",
            "destination.address": "other",
            "destination.port": 80,
            "url.original": "http://other:80/",
            "span.destination.service.name": "http://other",
            "span.destination.service.type": "external",
        },
    ),
    "a URL put together from parts": (
        {"url.path": "/a", "url.query": "b=1", "server.address": "h", "server.port": 81, "http.method": "GET"},
        CLIENT,
        UNSET,
        {
            **HTTP,
            "service.target.name": "h:81",
            "span.destination.service.resource": "h:81",
            "destination.address": "h",
            "destination.port": 81,
            "url.original": "http://h:81/a?b=1",
            "span.destination.service.name": "http://h:81",
            "span.destination.service.type": "external",
        },
    ),
    "client http, only server.address": (
        {"http.request.method": "GET", "server.address": "z"},
        CLIENT,
        UNSET,
        {**HTTP, "service.target.name": "z", "span.destination.service.resource": "z"},
    ),
    "http with peer.service": (
        {"http.url": "http://h/p", "peer.service": "shop"},
        CLIENT,
        UNSET,
        {
            **HTTP,
            "service.target.name": "h:80",
            "span.destination.service.resource": "shop",
            "destination.address": "h",
            "destination.port": 80,
            "url.original": "http://h/p",
            "span.destination.service.name": "shop",
            "span.destination.service.type": "external",
        },
    ),
    "postgresql, old names": (
        {"db.system": "postgresql", "db.name": "orders", "db.statement": "select 1"},
        CLIENT,
        UNSET,
        {
            "span.type": "db",
            "span.subtype": "postgresql",
            "service.target.type": "postgresql",
            "service.target.name": "orders",
            "span.destination.service.resource": "postgresql",
        },
    ),
    "postgresql, new names": (
        {"db.system.name": "postgresql", "db.namespace": "orders"},
        CLIENT,
        UNSET,
        {
            "span.type": "db",
            "span.subtype": "postgresql",
            "service.target.type": "postgresql",
            "service.target.name": "orders",
            "span.destination.service.resource": "postgresql",
        },
    ),
    "redis without a name": (
        {"db.system": "redis"},
        CLIENT,
        UNSET,
        {
            "span.type": "db",
            "span.subtype": "redis",
            "service.target.type": "redis",
            "service.target.name": "",
            "span.destination.service.resource": "redis",
        },
    ),
    "sql.query alone": (
        {"sql.query": "select 1"},
        CLIENT,
        UNSET,
        {
            "span.type": "db",
            "span.subtype": "sql",
            "service.target.type": "sql",
            "service.target.name": "",
            "span.destination.service.resource": "sql",
        },
    ),
    "grpc": (
        {"rpc.system": "grpc", "rpc.service": "S", "rpc.method": "M", "server.address": "g", "server.port": 50},
        CLIENT,
        UNSET,
        {
            "span.type": "external",
            "span.subtype": "grpc",
            "service.target.type": "grpc",
            "service.target.name": "M",
            "span.destination.service.resource": "g:50",
        },
    ),
    "rpc without an address": (
        {"rpc.service": "S"},
        CLIENT,
        UNSET,
        {
            "span.type": "external",
            "service.target.type": "external",
            "service.target.name": "S",
            "span.destination.service.resource": "S",
        },
    ),
    "producer to kafka": (
        {"messaging.system": "kafka", "messaging.destination.name": "topic", "messaging.operation": "publish"},
        PRODUCER,
        UNSET,
        {
            "span.type": "messaging",
            "span.subtype": "kafka",
            "service.target.type": "kafka",
            "service.target.name": "topic",
            "span.destination.service.resource": "kafka/topic",
            "span.action": "publish",
            "span.message.queue.name": "topic",
        },
    ),
    "a temporary queue is no target": (
        {"messaging.system": "jms", "messaging.destination.name": "q", "messaging.destination.temporary": True},
        PRODUCER,
        UNSET,
        {
            "span.type": "messaging",
            "span.subtype": "jms",
            "service.target.type": "jms",
            "service.target.name": "",
            "span.destination.service.resource": "jms/q",
            "span.message.queue.name": "q",
        },
    ),
    "peer.service only": (
        {"peer.service": "myself"},
        CLIENT,
        UNSET,
        {
            "service.target.type": "",
            "service.target.name": "myself",
            "span.destination.service.resource": "myself",
        },
    ),
    "gen_ai": ({"gen_ai.system": "openai"}, CLIENT, UNSET, {"span.type": "genai", "span.subtype": "openai"}),
    "client 404 is success": (
        {"http.response.status_code": 404},
        CLIENT,
        UNSET,
        {**HTTP, "service.target.name": ""},
    ),
    "client 500 is failure": (
        {"http.response.status_code": 500},
        CLIENT,
        UNSET,
        {**HTTP, "service.target.name": "", **FAILED},
    ),
    "status Ok wins over 500": (
        {"http.response.status_code": 500},
        CLIENT,
        OK,
        {**HTTP, "service.target.name": ""},
    ),
    "status Error": ({}, CLIENT, ERROR, FAILED),
    "an outcome given as unknown has no count": (
        {"event.outcome": "unknown"},
        CLIENT,
        UNSET,
        {"event.outcome": "unknown", "event.success_count": None},
    ),
}


@pytest.mark.parametrize("name", SPANS)
async def test_a_span_gets(enriched: Enriched, name: str) -> None:
    """Exactly this, beside its own attributes; messaging attributes are gone."""
    given, kind, status, more = SPANS[name]
    found = await enriched(span_message(given, kind, status=status))
    kept = {key: value for key, value in given.items() if not key.startswith("messaging.")}
    wanted = {key: value for key, value in {**kept, **SPAN, **more}.items() if value is not None}
    assert plain(found.attributes) == wanted


TRANSACTIONS: dict[str, tuple[dict[str, Any], Any, int, dict[str, Any]]] = {
    "http server": (
        {"http.request.method": "GET", "http.response.status_code": 200},
        SERVER,
        UNSET,
        {"transaction.type": "request", "transaction.result": "HTTP 2xx"},
    ),
    "http server 503": (
        {"http.status_code": 503},
        SERVER,
        UNSET,
        {"transaction.type": "request", "transaction.result": "HTTP 5xx", **FAILED},
    ),
    "http server 400 with status Error": (
        {"http.status_code": 400},
        SERVER,
        ERROR,
        {"transaction.type": "request", "transaction.result": "HTTP 4xx", **FAILED},
    ),
    "an odd http status": (
        {"http.status_code": 700},
        SERVER,
        OK,
        {"transaction.type": "request", "transaction.result": "HTTP 700"},
    ),
    "grpc server code 2": (
        {"rpc.system": "grpc", "rpc.grpc.status_code": 2},
        SERVER,
        UNSET,
        {"transaction.type": "request", "transaction.result": "Unknown"},
    ),
    "consumer": (
        {"messaging.system": "kafka", "messaging.destination.name": "topic", "messaging.operation": "process"},
        CONSUMER,
        UNSET,
        {"transaction.type": "messaging", "transaction.message.queue.name": "topic"},
    ),
    "internal": ({}, INTERNAL, ERROR, {"transaction.result": "Error", **FAILED}),
    "what is given is kept": (
        {"transaction.id": "x", "timestamp.us": 5, "processor.event": "transaction", "transaction.result": "r"},
        INTERNAL,
        UNSET,
        {"transaction.id": "x", "timestamp.us": 5, "transaction.result": "r"},
    ),
    "a type is taken over": ({"type": "job"}, SERVER, UNSET, {"transaction.type": "job"}),
    "a browser": (
        {
            "http.user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/51.0.2704.103 Safari/537.36"
        },
        SERVER,
        UNSET,
        {
            "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/51.0.2704.103 Safari/537.36",
            "user_agent.name": "Chrome",
            "user_agent.version": "51.0.2704",
        },
    ),
}


@pytest.mark.parametrize("name", TRANSACTIONS)
@pytest.mark.parametrize("root", [True, False])
async def test_a_transaction_gets(enriched: Enriched, name: str, root: bool) -> None:
    """Exactly this; a span with a parent is a transaction only by its kind or by what it says of itself."""
    given, kind, status, more = TRANSACTIONS[name]
    found = plain((await enriched(span_message(given, kind, parent=not root, status=status))).attributes)
    if not root and kind == INTERNAL and "processor.event" not in given:
        assert found["processor.event"] == "span"
        return
    kept = {key: value for key, value in given.items() if not key.startswith("messaging.")}
    assert found == {**kept, **TRANSACTION, "transaction.root": root, **more}


async def test_a_root_client_is_a_transaction_and_a_span(enriched: Enriched) -> None:
    found = plain((await enriched(span_message({"http.url": "http://h:1/"}, CLIENT, parent=False))).attributes)
    assert found.keys() >= (TRANSACTION.keys() | SPAN.keys())
    assert found["processor.event"] == "transaction"
    assert found["transaction.type"] == "external.http"
    assert found["span.destination.service.resource"] == "h:1"


async def test_a_remote_parent_makes_a_transaction_and_a_local_one_a_span(enriched: Enriched) -> None:
    """The flags of the parent come before the kind."""
    remote = plain((await enriched(span_message({}, INTERNAL, flags=0x300))).attributes)
    local = plain((await enriched(span_message({}, SERVER, flags=0x100))).attributes)
    assert (remote["processor.event"], local["processor.event"]) == ("transaction", "span")


@pytest.mark.parametrize(
    ("tracestate", "count"),
    [
        ("ot=th:8", 2.0),
        ("ot=th:c", 4.0),
        ("ot=th:0", 1.0),
        ("ot=p:2", 4.0),
        ("ot=p:63", 0.0),
        ("es=s:0.25", 1.0),
        ("a=b,ot=th:8", 2.0),
        ("ot=th:8;rv:0", 1.0),
        ("ot=th:zz", 1.0),
        ("nonsense", 1.0),
    ],
)
async def test_the_representative_count_comes_from_the_tracestate(
    enriched: Enriched, tracestate: str, count: float
) -> None:
    found = plain((await enriched(span_message({}, SERVER, trace_state=tracestate))).attributes)
    assert found["transaction.representative_count"] == count
    assert found["event.success_count"] == int(count)


async def test_a_span_that_ends_before_it_starts_has_a_negative_duration(enriched: Enriched) -> None:
    message = span_message({})
    message.scope_spans[0].spans[0].end_time_unix_nano = START - 1_500
    assert plain((await enriched(message)).attributes)["span.duration.us"] == -1


async def test_links_to_children_become_child_ids(enriched: Enriched) -> None:
    """Inferred spans of a profiler; other links stay."""
    message = span_message({})
    span = message.scope_spans[0].spans[0]
    span.links.add(span_id=b"\1" * 8, attributes=key_values({"is_child": True}))
    span.links.add(span_id=b"\2" * 8, attributes=key_values({"elastic.is_child": True}))
    span.links.add(span_id=b"\3" * 8, attributes=key_values({"is_child": False}))
    found = await enriched(message)
    assert plain(found.attributes)["child.id"] == ["01" * 8, "02" * 8]
    assert [link.span_id for link in found.links] == [b"\3" * 8]


async def test_switches_take_attributes_away(enriched: Enriched) -> None:
    """Each switch of transactions and spans governs what is named after it."""
    off = {"enabled": False}
    config = {"elastic_span": dict.fromkeys(("timestamp_us", "type_subtype", "duration_us", "remove_messaging"), off)}
    found = plain((await enriched(span_message({"messaging.system": "kafka"}), config)).attributes)
    assert not found.keys() & {"timestamp.us", "span.type", "span.subtype", "span.duration.us"}
    assert found["messaging.system"] == "kafka"


async def test_id_and_name_can_be_cleared(enriched: Enriched) -> None:
    config = {"elastic_transaction": {"clear_span_id": {"enabled": True}, "clear_span_name": {"enabled": True}}}
    found = await enriched(span_message({}, SERVER), config)
    assert (found.span_id, found.name) == (b"", "")
    assert plain(found.attributes)["transaction.name"] == "GET /"


async def test_everything_else_of_a_span_stays(enriched: Enriched) -> None:
    message = span_message({"a": 1}, trace_state="x=y", dropped_events_count=3)
    found = await enriched(message)
    del found.attributes[1:]
    assert found == message.scope_spans[0].spans[0]
