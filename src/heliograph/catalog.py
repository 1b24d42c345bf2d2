"""The one table of components: kind and type -> where its Factory is, imported when first asked for."""

from functools import cache
from importlib import import_module

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind

_FACTORIES: tuple[tuple[Kind, str, tuple[str, ...], str], ...] = (
    # kind, canonical type, deprecated aliases, package under heliograph that holds FACTORY
    (Kind.RECEIVER, "file_log", ("filelog",), "receivers.file_log"),
    (Kind.RECEIVER, "host_metrics", ("hostmetrics",), "receivers.host_metrics"),
    (Kind.RECEIVER, "k8s_cluster", (), "receivers.k8s_cluster"),
    (Kind.RECEIVER, "k8s_events", ("k8sevents",), "receivers.k8s_events"),
    (Kind.RECEIVER, "k8s_objects", ("k8sobjects",), "receivers.k8s_objects"),
    (Kind.RECEIVER, "kubelet_stats", ("kubeletstats",), "receivers.kubelet_stats"),
    (Kind.RECEIVER, "nop", (), "receivers.nop"),
    (Kind.RECEIVER, "otlp", (), "receivers.otlp"),
    (Kind.PROCESSOR, "attributes", (), "processors.attributes"),
    (Kind.PROCESSOR, "batch", (), "processors.batch"),
    (Kind.PROCESSOR, "elasticapm", (), "processors.elasticapm"),
    (Kind.PROCESSOR, "k8s_attributes", ("k8sattributes",), "processors.k8s_attributes"),
    (Kind.PROCESSOR, "memory_limiter", (), "processors.memory_limiter"),
    (Kind.PROCESSOR, "resource", (), "processors.resource"),
    (Kind.PROCESSOR, "resource_detection", ("resourcedetection",), "processors.resource_detection"),
    (Kind.EXPORTER, "debug", (), "exporters.debug"),
    (Kind.EXPORTER, "elasticsearch", (), "exporters.elasticsearch"),
    (Kind.EXPORTER, "file", (), "exporters.file"),
    (Kind.EXPORTER, "nop", (), "exporters.nop"),
    (Kind.EXPORTER, "otlp_grpc", ("otlp",), "exporters.otlp_grpc"),
    (Kind.EXPORTER, "otlp_http", ("otlphttp",), "exporters.otlp_http"),
    (Kind.CONNECTOR, "elasticapm", (), "connectors.elasticapm"),
    (Kind.CONNECTOR, "forward", (), "connectors.forward"),
    (Kind.EXTENSION, "apikeyauth", (), "extensions.apikeyauth"),
    (Kind.EXTENSION, "basicauth", (), "extensions.basicauth"),
    (Kind.EXTENSION, "bearertokenauth", (), "extensions.bearertokenauth"),
    (Kind.EXTENSION, "cgroup_runtime", ("cgroupruntime",), "extensions.cgroup_runtime"),
    (Kind.EXTENSION, "file_storage", (), "extensions.file_storage"),
    (Kind.EXTENSION, "headers_setter", (), "extensions.headers_setter"),
    (Kind.EXTENSION, "health_check", (), "extensions.health_check"),
    (Kind.EXTENSION, "k8s_leader_elector", (), "extensions.k8s_leader_elector"),
)


@cache
def _table() -> dict[tuple[Kind, str], str]:
    table: dict[tuple[Kind, str], str] = {}
    for kind, type_, aliases, module in _FACTORIES:
        for name in (type_, *aliases):
            table[kind, name] = module
    return table


def types(kind: Kind) -> list[str]:
    """Canonical types of a kind."""
    return [type_ for kind_, type_, _, _ in _FACTORIES if kind_ is kind]


def known(kind: Kind, type_: str) -> bool:
    """Whether the type, canonical or an alias, exists."""
    return (kind, type_) in _table()


def canonical(kind: Kind, type_: str) -> str:
    """The canonical type of a type or alias. Raises KeyError."""
    for kind_, name, aliases, _ in _FACTORIES:
        if kind_ is kind and (type_ == name or type_ in aliases):
            return name
    raise KeyError(type_)


@cache
def factory(kind: Kind, type_: str) -> Factory:
    """The Factory of a type or alias; imports its package. Raises KeyError when the type does not exist."""
    module = import_module(f"heliograph.{_table()[kind, type_]}")
    found: Factory = module.FACTORY
    return found
