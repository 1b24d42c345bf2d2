"""What is added to span events and log records: exceptions, events and crashes of devices."""

import re
from collections.abc import Awaitable, Callable
from hashlib import md5
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from heliograph.processors.elasticapm.grouping import crash_key
from heliograph.testing.attributes import key_values, plain

Enrich = Callable[..., Awaitable[Any]]
US = 1_700_000_000_123_456
ID = re.compile(r"[0-9a-f]{32}")
STREAM = {"data_stream.type": "logs", "data_stream.dataset": "apm.error", "data_stream.namespace": "default"}


def hashed(text: str) -> str:
    return md5(text.encode()).hexdigest()


async def event_of(
    enrich: Enrich, name: str, attributes: dict[str, Any], parent: bool, config: dict[str, Any] | None = None
) -> dict[str, Any]:
    message = ResourceSpans()
    span = message.scope_spans.add().spans.add(
        parent_span_id=b"\1" * 8 if parent else b"", kind=Span.SPAN_KIND_INTERNAL
    )
    span.attributes.extend(key_values({"http.method": "GET"}))
    span.events.add(name=name, time_unix_nano=US * 1000 + 789, attributes=key_values(attributes))
    found = (await enrich(message, config)).scope_spans[0].spans[0].events[0]
    assert found.name == name
    return plain(found.attributes)


async def log_of(
    enrich: Enrich,
    attributes: dict[str, Any],
    event_name: str = "",
    scope: dict[str, Any] | None = None,
    resource: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> dict[str, Any]:
    message = ResourceLogs()
    message.resource.attributes.extend(key_values(resource or {}))
    section = message.scope_logs.add()
    section.scope.attributes.extend(key_values(scope or {}))
    section.log_records.add(observed_time_unix_nano=US * 1000, event_name=event_name, attributes=key_values(attributes))
    return plain((await enrich(message, config)).scope_logs[0].log_records[0].attributes)


async def test_every_span_event_gets_its_time(enrich: Enrich) -> None:
    assert await event_of(enrich, "e", {"a": 1}, True) == {"a": 1, "timestamp.us": US}


@pytest.mark.parametrize("parent", [True, False])
async def test_an_exception_event_is_an_error(enrich: Enrich, parent: bool) -> None:
    """The key that groups is that of the type; a transaction's event tells of the transaction."""
    given = {"exception.type": "E", "exception.message": "m", "exception.escaped": True}
    found = await event_of(enrich, "exception", given, parent)
    assert ID.fullmatch(found.pop("error.id"))
    assert found == {
        **given,
        "timestamp.us": US,
        "processor.event": "error",
        "error.exception.handled": False,
        "error.grouping_key": hashed("E"),
        "error.grouping_name": "m",
        **({} if parent else {"transaction.sampled": True, "transaction.type": "request"}),
    }


async def test_an_exception_event_with_a_message_only_is_grouped_by_it(enrich: Enrich) -> None:
    found = await event_of(enrich, "exception", {"exception.message": "m"}, True)
    assert (found["error.grouping_key"], found["error.exception.handled"]) == (hashed("m"), True)


async def test_an_exception_event_without_details_is_only_marked(enrich: Enrich) -> None:
    assert await event_of(enrich, "exception", {}, True) == {"timestamp.us": US, "processor.event": "error"}


async def test_exception_attributes_on_another_event_mean_nothing(enrich: Enrich) -> None:
    found = await event_of(enrich, "e", {"exception.type": "E"}, True)
    assert found == {"exception.type": "E", "timestamp.us": US}


async def test_span_event_switches(enrich: Enrich) -> None:
    off = {key: {"enabled": False} for key in ("timestamp_us", "processor_event", "error_id", "error_grouping_key")}
    found = await event_of(enrich, "exception", {"exception.message": "m"}, True, {"span_event": off})
    assert found == {"exception.message": "m", "error.exception.handled": True, "error.grouping_name": "m"}


async def test_a_log_with_an_exception_moves_to_the_error_stream(enrich: Enrich) -> None:
    given = {"exception.type": "E", "exception.message": "m", "exception.stacktrace": "s"}
    found = await log_of(enrich, given)
    assert ID.fullmatch(found.pop("error.id"))
    assert found == {
        **given,
        **STREAM,
        "error.exception.handled": True,
        "error.exception.message": "m",
        "error.exception.type": "E",
        "error.stack_trace": "s",
        "error.grouping_key": hashed("Ems"),
        "timestamp.us": US,
        "event.kind": "event",
        "event.type": "error",
    }


async def test_an_exception_without_message_gets_one(enrich: Enrich) -> None:
    found = await log_of(enrich, {"exception.type": "E"})
    assert found["error.exception.message"] == "[EMPTY]"
    assert found["error.grouping_key"] == hashed("E[EMPTY]")


async def test_empty_exception_attributes_only_move_the_record(enrich: Enrich) -> None:
    assert await log_of(enrich, {"exception.type": ""}) == {"exception.type": "", **STREAM}


async def test_another_processor_event_keeps_an_exception_where_it_is(enrich: Enrich) -> None:
    given = {"processor.event": "log", "exception.type": "E"}
    assert await log_of(enrich, given) == given


@pytest.mark.parametrize(
    ("record", "scope", "resource", "namespace"),
    [
        ({}, {}, {"data_stream.namespace": "r"}, "default"),
        ({}, {"data_stream.namespace": "s"}, {}, "s"),
        ({"data_stream.namespace": "mine"}, {"data_stream.namespace": "s"}, {}, "mine"),
        ({"data_stream.namespace": ""}, {}, {}, "default"),
        ({"data_stream.dataset": "other", "data_stream.type": "traces"}, {}, {}, "default"),
    ],
)
async def test_the_namespace_of_an_error(
    enrich: Enrich, record: dict[str, Any], scope: dict[str, Any], resource: dict[str, Any], namespace: str
) -> None:
    """That of the record, else of the scope; type and dataset are always overwritten."""
    found = await log_of(enrich, {"exception.type": "E", **record}, "", scope, resource)
    assert found.items() >= {**STREAM, "data_stream.namespace": namespace}.items()


async def test_a_log_with_an_event_name_is_an_event(enrich: Enrich) -> None:
    assert await log_of(enrich, {}, "checkout") == {"event.kind": "event"}
    assert await log_of(enrich, {"event.name": "checkout"}) == {"event.name": "checkout", "event.kind": "event"}


async def test_an_event_of_a_device_has_an_action(enrich: Enrich) -> None:
    wanted = {"event.kind": "event", "event.category": "device", "event.action": "click"}
    assert await log_of(enrich, {}, "device.click") == wanted
    assert await log_of(enrich, {"event.domain": "device"}, "click") == {"event.domain": "device", **wanted}


JAVA = """Exception in thread "main" java.lang.RuntimeException: Test exception
\tat com.example.Main.run(Main.java:{line})
Caused by: java.io.IOException: {reason}
\tat com.example.Main.read(Main.java:7)
"""


async def test_a_crash_is_an_error_with_a_key_that_ignores_lines_and_messages(enrich: Enrich) -> None:
    resource = {"telemetry.sdk.language": "java"}
    keys = set()
    for line, reason in ((5, "no disk"), (9, "no net")):
        trace = JAVA.format(line=line, reason=reason)
        found = await log_of(enrich, {"exception.stacktrace": trace}, "device.crash", {}, resource)
        assert ID.fullmatch(found.pop("error.id"))
        keys.add(found.pop("error.grouping_key"))
        assert found == {
            "exception.stacktrace": trace,
            **STREAM,
            "timestamp.us": US,
            "event.kind": "event",
            "event.category": "device",
            "event.type": "error",
            "error.type": "crash",
        }
    assert len(keys) == 1
    assert len(keys.pop()) == 16


def test_a_swift_crash_is_grouped_by_its_thread_without_addresses() -> None:
    """Another address gives the same key, another offset another one, another form none."""

    def trace(address: str, offset: str) -> str:
        frames = f"0   App    {address} 0x104 +  {offset}\n1   App    0x2 0x104 + 5\n"
        return f"head\nThread 0 Crashed:: main\n{frames}\nThread 1:\n"

    assert crash_key("swift", trace("0x1", "4")) == crash_key("swift", trace("0x9", "4"))
    assert crash_key("swift", trace("0x1", "4")) != crash_key("swift", trace("0x1", "9"))
    assert crash_key("swift", "no thread") == ""
    assert crash_key("go", "x") == ""
