"""Finding the values of a field in an OTel-mode document.

Attributes stand in a document under flat keys with dots (`{"attributes": {"http.method": "GET"}}`), and Elasticsearch's
OTel templates let them be named without their container: `service.name` finds `resource.attributes.service.name`.
The rules here are those templates' passthrough objects (resource before scope before record) and aliases.
Source: elasticsearch, x-pack/plugin/otel-data, component templates otel@mappings and logs-otel@mappings.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Document = dict[str, Any]

ALIASES = {
    "message": "body.text",
    "log.level": "severity_text",
    "trace.id": "trace_id",
    "span.id": "span_id",
    "parent.id": "parent_span_id",
    "span.name": "name",
    "event.dataset": "data_stream.dataset",
    "error.exception.type": "attributes.exception.type",
    "error.exception.message": "attributes.exception.message",
    "error.stack_trace": "attributes.exception.stacktrace",
    "service.node.name": "resource.attributes.service.instance.id",
    "service.environment": "resource.attributes.deployment.environment",
    "kubernetes.namespace": "resource.attributes.k8s.namespace.name",
    "kubernetes.node.name": "resource.attributes.k8s.node.name",
    "kubernetes.pod.name": "resource.attributes.k8s.pod.name",
    "kubernetes.pod.uid": "resource.attributes.k8s.pod.uid",
    "kubernetes.container.name": "resource.attributes.k8s.container.name",
    "kubernetes.deployment.name": "resource.attributes.k8s.deployment.name",
    "host.os.platform": "resource.attributes.os.type",
    "host.os.name": "resource.attributes.os.name",
    "host.architecture": "resource.attributes.host.arch",
}

_PASSTHROUGH = ("resource.attributes.", "scope.attributes.", "attributes.", "metrics.", "body.structured.")

TEXT_FIELDS = frozenset({"body.text"})
"""Fields that are analysed into words; all others match as a whole."""


@lru_cache(maxsize=2048)
def paths(name: str) -> tuple[str, ...]:
    """The places where a field may be, best first."""
    name = ALIASES.get(name, name)
    return (name, *(prefix + name for prefix in _PASSTHROUGH))


def is_text(name: str) -> bool:
    """Whether the field is analysed into words."""
    return ALIASES.get(name, name) in TEXT_FIELDS


def values(document: Document, name: str) -> list[Any]:
    """All values of a field, [] when the document does not have it."""
    for path in paths(name):
        found = _find(document, path)
        if found is not None:
            return found if isinstance(found, list) else [found]
    return []


def leaves(document: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every (path, scalar) of a document."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from leaves(value, f"{prefix}.{name}" if prefix else name)
    elif isinstance(document, list):
        for value in document:
            yield from leaves(value, prefix)
    elif document is not None:
        yield prefix, document


def matching_names(document: Document, pattern: Callable[[str], object]) -> list[str]:
    """Names of the fields of a document that a pattern accepts."""
    return [path for path, _ in leaves(document) if pattern(path)]


def _find(value: Any, path: str) -> Any:
    """Walk a path whose dots may be levels or parts of a key."""
    if not isinstance(value, dict):
        return None
    found = value.get(path)
    if found is not None:
        return found
    dot = path.find(".")
    while dot != -1:
        inner = value.get(path[:dot])
        if inner is not None:
            found = _find(inner, path[dot + 1 :])
            if found is not None:
                return found
        dot = path.find(".", dot + 1)
    return None
