"""What is added to resources: agent, deployment environment, host and service instance.

`put` means: only when the key is not there. Source: internal/enrichments/resource.go and metric.go.
"""

import re
from collections.abc import Callable

from heliograph.otlp.attributes import Value, decode_attributes, encode_attributes
from heliograph.otlp.resource import ResourceEditor
from heliograph.processors.elasticapm.config import ElasticApmConfig

_KEYWORD_LIMIT = 1024
_SERVICE_NAME_LIMIT = 100
_NOT_IN_SERVICE_NAME = re.compile(r"[^a-zA-Z0-9 _-]")
_OS_TYPES = {
    "windows": "windows",
    "linux": "linux",
    "darwin": "macos",
    "aix": "unix",
    "hpux": "unix",
    "solaris": "unix",
}
_MOBILE = {"Android": "android", "iOS": "ios"}


def resource_editor(config: ElasticApmConfig, *, metrics: bool) -> ResourceEditor:
    """An editor that enriches; metrics: also with what only the resources of metrics get."""
    return ResourceEditor(_edit(config, metrics))


def _edit(config: ElasticApmConfig, metrics: bool) -> Callable[[bytes], bytes | None]:
    def edit(resource: bytes) -> bytes | None:
        pairs = decode_attributes(resource)
        present: dict[str, Value] = {}
        for key, value in pairs:
            present.setdefault(key, value)
        added: dict[str, Value] = {}
        replaced: dict[str, str] = {}
        if metrics:
            if "processor_event" in config.elastic_metric:
                added["processor.event"] = "metric"
            if "metricset_name" in config.elastic_metric:
                added["metricset.name"] = "app"
        _enrich(present, config, added, replaced)
        replaced = {key: value for key, value in replaced.items() if present.get(key) != value}
        new = {key: value for key, value in added.items() if key not in present and key not in replaced}
        if not replaced:
            return resource + encode_attributes(new) if new else None
        return _replace(resource, replaced) + encode_attributes(new)

    return edit


def _replace(resource: bytes, replaced: dict[str, str]) -> bytes:
    """The resource with these attributes set, other fields of it kept."""
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    message = Resource.FromString(resource)
    missing = dict(replaced)
    for pair in message.attributes:
        if pair.key in missing:
            pair.value.string_value = missing.pop(pair.key)
    serialized: bytes = message.SerializeToString()
    return serialized + encode_attributes(missing)


def _enrich(
    present: dict[str, Value], config: ElasticApmConfig, added: dict[str, Value], replaced: dict[str, str]
) -> None:
    switches = config.resource

    def text(key: str) -> str:
        value = present.get(key)
        return value if isinstance(value, str) else ""

    language = text("telemetry.sdk.language")[:_KEYWORD_LIMIT]
    distribution = text("telemetry.distro.name")
    if "agent_name" in switches:
        name = text("telemetry.sdk.name") or "otlp"
        if distribution:
            name = f"{name}/{language or 'unknown'}/{distribution}"
        elif language:
            name = f"{name}/{language}"
        added["agent.name"] = name
    if "agent_version" in switches:
        version = text("telemetry.distro.version") if distribution else text("telemetry.sdk.version")
        added["agent.version"] = version or "unknown"
    host, node = text("host.name"), text("k8s.node.name")
    if "override_host_name" in switches and node:
        replaced["host.name"] = node
    environment = text("deployment.environment")
    if not environment:
        renamed = text("deployment.environment.name")
        if "deployment_environment" in switches and renamed:
            added["deployment.environment"] = renamed
        if "default_deployment_environment" in switches and not renamed:
            added["deployment.environment"] = "unset"
    if "service_instance_id" in switches and not _was_enriched(present, host, node):
        instance = text("container.id") or host
        if instance:
            added["service.instance.id"] = instance
    if "service_name" in switches and text("service.name"):
        replaced["service.name"] = _NOT_IN_SERVICE_NAME.sub("_", text("service.name")[:_SERVICE_NAME_LIMIT])
    if "host_os_type" in switches:
        system = _MOBILE.get(text("os.name")) or _OS_TYPES.get(text("os.type"))
        if system:
            added["host.os.type"] = system
    if language:
        if "service_language" in switches:
            replaced["telemetry.sdk.language"] = language
    elif "default_service_language" in switches:
        replaced["telemetry.sdk.language"] = "unknown"


def _was_enriched(present: dict[str, Value], host: str, node: str) -> bool:
    """Whether the host's name may come from an earlier enrichment, which then left the instance open on purpose."""
    return bool(node) and host == node and "agent.name" in present and "agent.version" in present
