"""What is added to resources, scopes and metrics, and which requests are left alone."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from heliograph.component.batch import Context
from heliograph.component.errors import ConfigError
from heliograph.config.decode import from_plain
from heliograph.otlp.wire import field
from heliograph.processors.elasticapm.config import ElasticApmConfig
from heliograph.processors.elasticapm.log import LogEnricher
from heliograph.processors.elasticapm.part import ScopeEnricher, edit_part
from heliograph.testing.attributes import key_values, plain
from heliograph.testing.samples import sample

Enrich = Callable[..., Awaitable[Any]]
NO_AGENT = {"agent.name": "otlp", "agent.version": "unknown"}
ON = {"enabled": True}

RESOURCES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing known": ({}, NO_AGENT),
    "an SDK": (
        {"telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "python", "telemetry.sdk.version": "1.30"},
        {"agent.name": "opentelemetry/python", "agent.version": "1.30"},
    ),
    "a distribution": (
        {
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.language": "java",
            "telemetry.sdk.version": "1.30",
            "telemetry.distro.name": "elastic",
            "telemetry.distro.version": "1.2",
        },
        {"agent.name": "opentelemetry/java/elastic", "agent.version": "1.2"},
    ),
    "a distribution alone has no version of the SDK": (
        {"telemetry.sdk.version": "1.30", "telemetry.distro.name": "elastic"},
        {"agent.name": "otlp/unknown/elastic", "agent.version": "unknown"},
    ),
    "an agent that names itself": (
        {"agent.name": "java", "agent.version": "7"},
        {"agent.name": "java", "agent.version": "7"},
    ),
    "new name of the environment": (
        {"deployment.environment.name": "prod"},
        {**NO_AGENT, "deployment.environment": "prod"},
    ),
    "both names of the environment": (
        {"deployment.environment.name": "prod", "deployment.environment": "old"},
        {**NO_AGENT, "deployment.environment": "old"},
    ),
    "the node overwrites the host": (
        {"host.name": "h", "k8s.node.name": "n"},
        {**NO_AGENT, "host.name": "n", "service.instance.id": "h"},
    ),
    "the node alone": ({"k8s.node.name": "n"}, {**NO_AGENT, "host.name": "n"}),
    "instance from the container": (
        {"host.name": "h", "container.id": "c"},
        {**NO_AGENT, "service.instance.id": "c"},
    ),
    "instance from the host": ({"host.name": "h"}, {**NO_AGENT, "service.instance.id": "h"}),
    "an instance that is given": ({"host.name": "h", "service.instance.id": "i"}, NO_AGENT),
    "a language beyond 1024 characters is cut": (
        {"telemetry.sdk.language": "x" * 1025},
        {
            "telemetry.sdk.language": "x" * 1024,
            "agent.name": "otlp/" + "x" * 1024,
            "agent.version": "unknown",
        },
    ),
}


@pytest.mark.parametrize("name", RESOURCES)
async def test_a_resource_gets(enrich: Enrich, name: str) -> None:
    given, more = RESOURCES[name]
    message = ResourceSpans(schema_url="s")
    message.resource.attributes.extend(key_values(given))
    message.resource.dropped_attributes_count = 2
    found = await enrich(message)
    assert plain(found.resource.attributes) == {**given, **more}
    assert (found.schema_url, found.resource.dropped_attributes_count) == ("s", 2)


async def test_resource_switches_that_are_off_by_default(enrich: Enrich) -> None:
    """Default environment, default language, the name of the service made safe, the ECS type of the system."""
    config = {
        "resource": dict.fromkeys(
            ("default_deployment_environment", "default_service_language", "service_name", "host_os_type"), ON
        )
    }
    message = ResourceSpans()
    message.resource.attributes.extend(key_values({"service.name": "a.b/c", "os.type": "darwin"}))
    assert plain((await enrich(message, config)).resource.attributes) == {
        **NO_AGENT,
        "service.name": "a_b_c",
        "os.type": "darwin",
        "host.os.type": "macos",
        "deployment.environment": "unset",
        "telemetry.sdk.language": "unknown",
    }


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
async def test_a_scope_with_a_name_becomes_the_framework(enrich: Enrich, signal: str) -> None:
    message = sample(signal, "shop")
    found = await enrich(message)
    scope = (getattr(found, "scope_spans", None) or getattr(found, "scope_logs", None) or found.scope_metrics)[0].scope
    attributes = plain(scope.attributes)
    assert attributes["service.framework.name"] == "a scope"
    assert attributes["service.framework.version"] == scope.version


async def test_a_scope_without_a_name_gets_nothing(enrich: Enrich) -> None:
    message = ResourceSpans()
    message.scope_spans.add().scope.version = "1"
    assert not (await enrich(message)).scope_spans[0].scope.attributes


async def test_metrics_get_a_metricset_and_keep_their_points(enrich: Enrich) -> None:
    message = sample("metrics", "shop")
    found = await enrich(message, {"elastic_metric": {"processor_event": ON}})
    attributes = plain(found.resource.attributes)
    assert (attributes["metricset.name"], attributes["processor.event"]) == ("app", "metric")
    assert found.scope_metrics[0].metrics == message.scope_metrics[0].metrics


@pytest.mark.parametrize(
    ("signal", "mode", "enriched"),
    [
        ("traces", "", True),
        ("logs", "", False),
        ("metrics", "", False),
        ("logs", "otel", False),
        ("logs", "ecs", True),
        ("metrics", "ecs", True),
    ],
)
async def test_skip_enrichment(enrich: Enrich, signal: str, mode: str, enriched: bool) -> None:
    """Logs and metrics stay as they are unless a request asks for mapping mode ecs."""
    context = Context(metadata={"x-elastic-mapping-mode": (mode,)} if mode else {})
    message = sample(signal, "shop")
    found = await enrich(message, {"skip_enrichment": True}, context)
    assert (found != message) is enriched


@pytest.mark.parametrize("key", ["host_ip_enabled", "service_name_in_datastream_dataset"])
def test_keys_of_mapping_mode_ecs_are_refused_by_name(key: str) -> None:
    assert from_plain(ElasticApmConfig, {key: False})
    with pytest.raises(ConfigError, match=f"{key}.*mapping mode ecs"):
        from_plain(ElasticApmConfig, {key: True})


def test_one_odd_record_does_not_stop_the_others() -> None:
    """Bytes that are no log record go on as they are and are counted, beside one that is enriched."""
    config = ElasticApmConfig()
    logs = LogEnricher(config)
    odd = b"\x32\x7fcut"
    part = field(2, field(2, odd) + field(2, LogRecord(event_name="e").SerializeToString()))
    found, count = edit_part(part, ScopeEnricher(config), lambda _: lambda record: logs.enrich(record, "", ""))
    assert count == 1
    assert odd in found
    assert b"event.kind" in found


async def test_plain_log_records_stay_as_they_are(enrich: Enrich) -> None:
    message = ResourceLogs()
    message.scope_logs.add().log_records.add(time_unix_nano=5, severity_text="INFO", attributes=key_values({"a": 1}))
    assert (await enrich(message)).scope_logs == message.scope_logs
