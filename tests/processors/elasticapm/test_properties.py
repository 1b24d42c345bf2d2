"""Properties: enriching twice changes nothing, and whatever comes in comes out in one piece."""

from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Status

from heliograph.processors.elasticapm.facts import READ
from heliograph.processors.elasticapm.plan import WRITTEN
from heliograph.testing.attributes import key_values, plain

Enrich = Callable[..., Awaitable[Any]]
VALUES = st.one_of(
    st.sampled_from(["", "x", "messaging", "error", "transaction", "unknown", "h:1", "http://h:80/p?q", "/p", "::1"]),
    st.sampled_from([0, 1, 200, 404, 503, -1, True, False, 1.5]),
    st.text(max_size=8),
)
SPAN_ATTRIBUTES = st.dictionaries(st.sampled_from(sorted(READ | WRITTEN)), VALUES, max_size=8)
EVENT_ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        [
            *(
                "exception.type",
                "exception.message",
                "exception.stacktrace",
                "exception.escaped",
                "event.name",
                "error.id",
            ),
            *("event.domain", "processor.event", "data_stream.namespace", "data_stream.dataset", "timestamp.us", "a"),
        ]
    ),
    VALUES,
    max_size=6,
)
RESOURCE_ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        [
            *("host.name", "k8s.node.name", "container.id", "service.instance.id", "agent.name", "agent.version"),
            *(
                "deployment.environment",
                "deployment.environment.name",
                "telemetry.sdk.language",
                "telemetry.distro.name",
            ),
        ]
    ),
    VALUES,
    max_size=6,
)
ONCE = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ONCE
@given(
    resource=RESOURCE_ATTRIBUTES,
    attributes=SPAN_ATTRIBUTES,
    event=EVENT_ATTRIBUTES,
    kind=st.integers(0, 5),
    status=st.integers(0, 2),
    root=st.booleans(),
    flags=st.sampled_from([0, 0x100, 0x300]),
    tracestate=st.sampled_from(["", "ot=th:8", "ot=p:63", "bad"]),
    child=st.booleans(),
)
async def test_spans_enriched_twice_are_the_same(
    enrich: Enrich,
    resource: dict[str, Any],
    attributes: dict[str, Any],
    event: dict[str, Any],
    kind: Any,
    status: Any,
    root: bool,
    flags: int,
    tracestate: str,
    child: bool,
) -> None:
    message = ResourceSpans()
    message.resource.attributes.extend(key_values(resource))
    section = message.scope_spans.add()
    section.scope.name = "scope"
    span = section.spans.add(
        span_id=b"\1" * 8,
        parent_span_id=b"" if root else b"\2" * 8,
        name="n",
        kind=kind,
        status=Status(code=status),
        flags=flags,
        trace_state=tracestate,
        attributes=key_values(attributes),
    )
    span.events.add(name="exception", attributes=key_values(event))
    span.links.add(span_id=b"\3" * 8, attributes=key_values({"is_child": child}))
    once = await enrich(message)
    assert await enrich(once) == once
    found = plain(once.scope_spans[0].spans[0].attributes)
    kept = {key: value for key, value in attributes.items() if not key.startswith(("messaging.", "message_bus."))}
    if kept.get("transaction.type") == "" or not isinstance(kept.get("transaction.type"), str):
        kept.pop("transaction.type", None)  # as good as none: an outgoing call names its own
    assert found.items() >= kept.items()


@ONCE
@given(
    resource=RESOURCE_ATTRIBUTES,
    attributes=EVENT_ATTRIBUTES,
    name=st.sampled_from(["", "e", "crash", "device.crash", "device.x"]),
)
async def test_logs_enriched_twice_are_the_same(
    enrich: Enrich, resource: dict[str, Any], attributes: dict[str, Any], name: str
) -> None:
    message = ResourceLogs()
    message.resource.attributes.extend(key_values(resource))
    message.scope_logs.add().log_records.add(event_name=name, attributes=key_values(attributes))
    once = await enrich(message)
    assert await enrich(once) == once


async def test_a_messaging_call_over_http_enriched_twice_is_the_same(enrich: Enrich) -> None:
    """Without its messaging attributes it would look like an HTTP call the second time."""
    message = ResourceSpans()
    given = {"messaging.operation": "send", "http.method": "POST", "url.full": "https://sqs/q"}
    message.scope_spans.add().spans.add(parent_span_id=b"\2" * 8, kind=4, attributes=key_values(given))  # type: ignore[arg-type]
    once = await enrich(message)
    assert plain(once.scope_spans[0].spans[0].attributes)["span.type"] == "messaging"
    assert await enrich(once) == once
