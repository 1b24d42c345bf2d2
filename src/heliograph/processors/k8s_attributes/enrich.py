"""Enriching one resource, remembered by its bytes.

A result is kept together with everything that was looked up for it, found or not. It is used again while each lookup
still gives the identical object, so a change of a pod, a namespace or a node is seen at once, and nothing has to be
cleared.

Attributes that came in with a value are kept, as upstream does. A resource that carries a k8s.pod.uid is never given
another pod's attributes, whatever its association says.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from heliograph.otlp.attributes import Value, decode_attributes, encode_key_value
from heliograph.otlp.resource import resource_of, with_resource
from heliograph.otlp.wire import LENGTH, read_varint, skip
from heliograph.processors.k8s_attributes.association import CONNECTION, Identifier
from heliograph.processors.k8s_attributes.index import Index
from heliograph.processors.k8s_attributes.pod import Container, Pod

_PARENTS = {"replicaset": "deployment", "job": "cronjob"}
_ATTRIBUTES = 1 << 3 | LENGTH
_WORKLOADS = ("deployment", "statefulset", "daemonset", "job")
Lookups = list[tuple[Mapping[Any, Any], Any, Any]]


class Enriched(NamedTuple):
    """resource: the new bytes, None when nothing changes. identifier: of the pod, (). known: whether it was found."""

    resource: bytes | None
    identifier: Identifier
    known: bool


class Enricher:
    """limit: resources remembered; beyond it the oldest are forgotten."""

    def __init__(self, index: Index, *, passthrough: bool = False, limit: int = 4096) -> None:
        self._index = index
        self._passthrough = passthrough
        self._limit = limit
        self._known: dict[tuple[bytes, str], tuple[Enriched, Lookups]] = {}
        self._parents = index.rules.replica_sets or index.rules.jobs
        self._by_peer = index.associations.by_peer
        self.hits = 0
        self.misses = 0  # lookups of a pod that is not known

    def look(self, part: bytes, peer: str) -> tuple[Enriched, bytes]:
        """What becomes of the resource of a part, and the resource."""
        resource = resource_of(part)
        key = (resource, peer if self._by_peer else "")
        known = self._known.get(key)
        if known is not None:
            for table, name, value in known[1]:
                if table.get(name) is not value:
                    break
            else:
                self.hits += 1
                return known[0], resource
            del self._known[key]
        lookups: Lookups = []
        enriched = self._enrich(resource, key[1], lookups)
        if len(self._known) >= self._limit:
            del self._known[next(iter(self._known))]
        self._known[key] = enriched, lookups
        return enriched, resource

    def apply(self, part: bytes, peer: str) -> bytes:
        """The part with its resource enriched."""
        enriched, _ = self.look(part, peer)
        return part if enriched.resource is None else with_resource(part, enriched.resource)

    def _enrich(self, resource: bytes, peer: str, lookups: Lookups) -> Enriched:
        index, wanted = self._index, self._index.rules.wanted
        came = dict(decode_attributes(resource))
        new: dict[str, Value] = {}

        def put(name: str, value: Value) -> None:
            if value and not new.get(name) and came.get(name) in (None, "", b""):
                new[name] = value

        def look(table: Mapping[Any, Any], name: Any) -> Any:
            value = table.get(name)
            lookups.append((table, name, value))
            return value

        identifier = index.associations.identify(came, peer)
        if CONNECTION in identifier[::2] and (self._passthrough or "k8s.pod.ip" in wanted):
            put("k8s.pod.ip", identifier[identifier[::2].index(CONNECTION) * 2 + 1])
        if self._passthrough:
            return Enriched(_with(resource, new), identifier, True)
        pod: Pod | None = look(index.pods, identifier) if identifier else None
        if identifier and pod is None:
            self.misses += 1
        known = pod is not None
        if pod is not None and (pod.ignored or came.get("k8s.pod.uid") not in (None, "", pod.uid)):
            pod = None
        if pod is not None:
            for name, value in self._of_pod(pod, look).items():
                put(name, value)
            self._of_container(pod, came, put)

        def text(name: str) -> str:
            value = new.get(name) or came.get(name)
            return value if isinstance(value, str) else ""

        namespace = pod.namespace if pod is not None else text("k8s.namespace.name")
        if namespace:
            _put_all(put, look(index.namespaces, namespace))
            if "service.namespace" in wanted:
                put("service.namespace", namespace)
        node = pod.node if pod is not None and pod.node else text("k8s.node.name")
        if node and (found := look(index.nodes, node)) is not None:
            _put_all(put, found)
            if "k8s.node.uid" in wanted:
                put("k8s.node.uid", found[0])
        for kind in _WORKLOADS:
            uid = self._workload(pod, kind, look) or text(f"k8s.{kind}.uid")
            if uid and index.rules.of(kind):
                for name, value in (look(index.workloads, (kind, uid)) or {}).items():
                    put(name, value)
        return Enriched(_with(resource, new), identifier, known)

    def _workload(self, pod: Pod | None, kind: str, look: Any) -> str:
        """The uid of the pod's owner of this kind."""
        if pod is None:
            return ""
        if kind != "deployment":
            return pod.owners.get(kind, ("", ""))[1]
        if "replicaset" not in pod.owners or not self._index.rules.replica_sets:
            return ""
        parent = look(self._index.parents, pod.owners["replicaset"][1])
        return "" if parent is None else str(parent[1])

    def _of_pod(self, pod: Pod, look: Any) -> dict[str, str]:
        """All attributes of a pod, its owners' among them."""
        index, wanted = self._index, self._index.rules.wanted
        attributes = dict(pod.early)

        def put(name: str, value: str) -> None:
            if value and name in wanted:
                attributes[name] = value

        for kind, (name, uid) in pod.owners.items():
            put(f"k8s.{kind}.name", name)
            put(f"k8s.{kind}.uid", uid)
            put("service.name", name)
            if kind in _PARENTS:
                parent = look(index.parents, uid) if self._parents else None
                above = _PARENTS[kind]
                name = parent[0] if parent is not None else pod.guesses.get(kind, "")
                put(f"k8s.{above}.name", name)
                put("service.name", name)
                if parent is not None:
                    put(f"k8s.{above}.uid", parent[1])
        if "k8s.cluster.uid" in wanted and (system := look(index.namespaces, "kube-system")):
            attributes["k8s.cluster.uid"] = system[0]
        return attributes | pod.late

    def _of_container(self, pod: Pod, came: Mapping[str, Value], put: Any) -> None:
        wanted = self._index.rules.wanted
        container = _container(pod, came)
        if container is None:
            return
        for name, value in container.attributes.items():
            put(name, [value] if name == "container.image.tags" else value)
        run = _run(came, container)
        if run is None:
            return
        if "container.id" in wanted and "container.id" not in came:
            put("container.id", run[0])
        if "container.image.repo_digests" in wanted and "container.image.repo_digests" not in came and run[1]:
            put("container.image.repo_digests", [run[1]])


def _put_all(put: Any, entry: tuple[str, Mapping[str, str]] | None) -> None:
    for name, value in entry[1].items() if entry else ():
        put(name, value)


def _container(pod: Pod, came: Mapping[str, Value]) -> Container | None:
    """By its name, else by its id, else the only one."""
    name, id_ = came.get("k8s.container.name"), came.get("container.id")
    if name and isinstance(name, str):
        return pod.containers.get(name)
    if id_ and isinstance(id_, str):
        return pod.containers.get(pod.container_ids.get(id_, ""))
    return next(iter(pod.containers.values())) if len(pod.containers) == 1 else None


def _run(came: Mapping[str, Value], container: Container) -> tuple[str, str] | None:
    """By the restart count that came in, else the latest."""
    count = came.get("k8s.container.restart_count")
    if isinstance(count, str):
        count = int(count) if count.isascii() and count.isdigit() and len(count) < 10 else -1
    elif count is None and "k8s.container.restart_count" not in came:
        count = max(container.runs, default=-1)
    return container.runs.get(count) if isinstance(count, int) else None


def _with(resource: bytes, new: Mapping[str, Value]) -> bytes | None:
    """The serialized Resource with these attributes; those that were there without a value are replaced."""
    if not new:
        return None
    added = b"".join([encode_key_value(1, name, value) for name, value in new.items()])
    kept: list[bytes] = []
    pos, size = 0, len(resource)
    while pos < size:
        start = pos
        tag, pos = read_varint(resource, pos)
        pos = skip(resource, pos, tag & 7)
        if tag != _ATTRIBUTES or decode_attributes(resource[start:pos])[0][0] not in new:
            kept.append(resource[start:pos])
    return b"".join(kept) + added
