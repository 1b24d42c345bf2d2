"""Entities: what an object is, told in a logs pipeline when it changes, and again from time to time.

An entity has a type, an id and attributes. `of` gives those of an object, as far as the object itself says them; what
other objects say of a pod (services that select it, the deployment of its replica set) is added by `Relations`.
Sources: opentelemetry-collector-contrib, receiver/k8sclusterreceiver/internal/metadata and
pkg/experimentalmetricmetadata, release 0.156; opentelemetry-proto logs.proto.
"""

import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from heliograph.kubernetes.objects import Metadata, Object, Owner, Resource
from heliograph.otlp.attributes import encode_key_value
from heliograph.otlp.wire import field
from heliograph.receivers.k8s_cluster import objects
from heliograph.receivers.k8s_cluster.metrics import snake
from heliograph.receivers.k8s_cluster.readings import image, stripped

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CONDITIONS = frozenset({"Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"})
_KIND, _NAME = "k8s.workload.kind", "k8s.workload.name"
_BETWEEN = ("ReplicaSet", "Job")  # owners whose own owner is the workload
_GENERIC = {
    objects.REPLICATION_CONTROLLERS: "ReplicationController",
    objects.DEPLOYMENTS: "Deployment",
    objects.REPLICA_SETS: "ReplicaSet",
    objects.STATEFUL_SETS: "StatefulSet",
    objects.DAEMON_SETS: "DaemonSet",
    objects.JOBS: "Job",
    objects.CRON_JOBS: "CronJob",
    objects.HPAS: "HPA",
}
_TIME = struct.Struct("<BQ")
_LOG_TIME = 1 << 3 | 1
SCOPE = field(1, encode_key_value(3, "otel.entity.event_as_log", True))


class Entity(msgspec.Struct, array_like=True, gc=False):
    """type: k8s.pod. key, id: the attribute that identifies it and its value."""

    type: str
    key: str
    id: str
    attributes: dict[str, str]


def of(resource: Resource, found: Any) -> list[Entity]:
    """The entities of an object; none when this kind has none. A container that was not made yet is none."""
    read = _READ.get(resource)
    if read is not None:
        return read(found)
    kind = _GENERIC.get(resource)
    return [] if kind is None else [_generic(kind, found)]


class Relations:
    """What services, replica sets and jobs say of pods."""

    def __init__(self) -> None:
        self._services: dict[str, dict[str, tuple[str, tuple[tuple[str, str], ...]]]] = {}
        self._owners: dict[str, tuple[str, str, str]] = {}

    def applied(self, resource: Resource, found: Object) -> None:
        """Learn from an object."""
        meta = found.metadata
        if resource is objects.SERVICES and isinstance(found, objects.Service):
            chosen = tuple((f"k8s.pod.label.{name}", value) for name, value in (found.spec.selector or {}).items())
            self._services.setdefault(meta.namespace, {})[meta.uid] = meta.name, chosen
        elif resource in (objects.REPLICA_SETS, objects.JOBS):
            wanted = "Deployment" if resource is objects.REPLICA_SETS else "CronJob"
            owner = next((owner for owner in meta.owner_references or () if owner.kind == wanted), None)
            kind = "ReplicaSet" if resource is objects.REPLICA_SETS else "Job"
            self._owners[meta.uid] = (owner.kind, owner.name, owner.uid) if owner else (kind, meta.name, meta.uid)

    def removed(self, resource: Resource, uid: str) -> None:
        """Forget an object."""
        if resource is objects.SERVICES:
            for namespace, services in list(self._services.items()):
                services.pop(uid, None)
                if not services:
                    del self._services[namespace]
        else:
            self._owners.pop(uid, None)

    def complete(self, entity: Entity) -> Entity:
        """The entity with what others say of it."""
        if entity.type != "k8s.pod":
            return entity
        attributes = dict(entity.attributes)
        for name, chosen in self._services.get(attributes.get("k8s.namespace.name", ""), {}).values():
            if chosen and all(attributes.get(label) == value for label, value in chosen):
                attributes[f"k8s.service.{name}"] = ""
        for between in _BETWEEN:
            owner = self._owners.get(attributes.get(f"k8s.{between.lower()}.uid", ""))
            if owner is not None:
                kind, name, uid = owner
                attributes |= {_KIND: kind, _NAME: name}
                attributes |= {f"k8s.{kind.lower()}.name": name, f"k8s.{kind.lower()}.uid": uid}
        return Entity(entity.type, entity.key, entity.id, attributes)


def state_record(entity: Entity, now_ns: int, interval_ms: int) -> bytes:
    """A serialized LogRecord that says what an entity is. interval_ms: until it is said again; 0: not told."""
    attributes: dict[str, Any] = {
        "otel.entity.id": {entity.key: entity.id},
        "otel.entity.event.type": "entity_state",
        "otel.entity.type": entity.type,
    }
    if interval_ms:
        attributes["otel.entity.interval"] = interval_ms
    attributes["otel.entity.attributes"] = entity.attributes
    return _record(attributes, now_ns)


def delete_record(type_: str, key: str, id_: str, now_ns: int) -> bytes:
    """A serialized LogRecord that says that an entity is gone."""
    attributes = {"otel.entity.id": {key: id_}, "otel.entity.event.type": "entity_delete", "otel.entity.type": type_}
    return _record(attributes, now_ns)


def resource_logs(records: Iterable[bytes]) -> bytes:
    """A serialized ResourceLogs with all records, and the scope that marks them as entity events."""
    return field(1, b"") + field(2, SCOPE + b"".join([field(2, record) for record in records]))


def _record(attributes: Mapping[str, Any], now_ns: int) -> bytes:
    encoded = [encode_key_value(6, key, value) for key, value in attributes.items()]
    return _TIME.pack(_LOG_TIME, now_ns) + b"".join(encoded)


def _labels(prefix: str, labels: Mapping[str, str] | None) -> dict[str, str]:
    return {f"{prefix}{name}": value for name, value in (labels or {}).items() if name != _APPLIED}


def _created(name: str, meta: Metadata) -> dict[str, str]:
    return {name: meta.creation_timestamp} if meta.creation_timestamp else {}


def _owned(owners: Iterable[Owner] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for owner in owners or ():
        kind = owner.kind.lower()
        found |= {f"k8s.{kind}.name": owner.name, f"k8s.{kind}.uid": owner.uid}
    return found


def _generic(kind: str, found: Any) -> Entity:
    meta: Metadata = found.metadata
    lower = kind.lower()
    attributes = _labels(f"k8s.{lower}.label.", meta.labels)
    attributes |= {_KIND: kind, _NAME: meta.name, "k8s.namespace.name": meta.namespace}
    attributes |= _created(f"{lower}.creation_timestamp", meta) | _owned(meta.owner_references)
    if kind == "Deployment":
        attributes["k8s.deployment.name"] = meta.name
    elif kind == "CronJob":
        attributes |= {"schedule": found.spec.schedule, "concurrency_policy": found.spec.concurrency_policy}
    elif kind == "StatefulSet":
        status = found.status
        attributes |= {"current_revision": status.current_revision, "update_revision": status.update_revision}
    return Entity(f"k8s.{lower}", f"k8s.{lower}.uid", meta.uid, attributes)


def _pod(pod: objects.Pod) -> list[Entity]:
    meta = pod.metadata
    place = {"k8s.pod.name": meta.name, "k8s.namespace.name": meta.namespace, "k8s.node.name": pod.spec.node_name}
    if not pod.spec.node_name:
        del place["k8s.node.name"]
    attributes = _labels("k8s.pod.label.", meta.labels) | _created("pod.creation_timestamp", meta)
    attributes["k8s.pod.phase"] = pod.status.phase or "Unknown"
    if pod.status.reason:
        attributes["k8s.pod.status_reason"] = pod.status.reason
    attributes |= _owned(meta.owner_references)
    for owner in meta.owner_references or ():
        if owner.kind not in _BETWEEN:
            attributes |= {_KIND: owner.kind, _NAME: owner.name}
    found = [Entity("k8s.pod", "k8s.pod.uid", meta.uid, attributes | place)]
    for status in pod.status.container_statuses or ():
        if status.container_id:
            found.append(_container(status, place | {"k8s.pod.uid": meta.uid}))
    return found


def _container(status: objects.ContainerStatus, pod: dict[str, str]) -> Entity:
    attributes = {"k8s.container.name": status.name, **pod}
    repository, tag = image(status.image)
    if repository:
        attributes |= {"container.image.name": repository, "container.image.tag": tag}
    state = status.state or objects.ContainerState()
    for name in ("running", "terminated", "waiting"):
        present: objects.State | None = getattr(state, name)
        if present is None:
            continue
        attributes["container.status"] = name
        if name != "running":
            attributes["container.status.reason"] = present.reason
        if present.started_at:
            attributes["container.creation_timestamp"] = present.started_at
    return Entity("container", "container.id", stripped(status.container_id), attributes)


def _node(node: objects.Node) -> list[Entity]:
    meta = node.metadata
    attributes = _labels("k8s.node.label.", meta.labels) | {"k8s.node.name": meta.name}
    attributes |= _created("node.creation_timestamp", meta)
    for condition in node.status.conditions or ():
        if condition.type in _CONDITIONS:
            attributes[f"k8s.node.condition_{snake(condition.type)}"] = condition.status.lower()
    return [Entity("k8s.node", "k8s.node.uid", meta.uid, attributes)]


def _namespace(found: objects.Namespace) -> list[Entity]:
    meta = found.metadata
    attributes = {"k8s.namespace.name": meta.name, "k8s.namespace.phase": found.status.phase.lower() or "unknown"}
    attributes |= _created("k8s.namespace.creation_timestamp", meta)
    return [Entity("k8s.namespace", "k8s.namespace.uid", meta.uid, attributes)]


def _service(found: objects.Service) -> list[Entity]:
    meta = found.metadata
    attributes = {"k8s.namespace.name": meta.namespace, "k8s.service.name": meta.name}
    attributes |= _created("k8s.service.creation_timestamp", meta)
    attributes |= _labels("k8s.service.selector.", found.spec.selector) | _labels("k8s.service.label.", meta.labels)
    attributes |= _labels("k8s.service.annotation.", meta.annotations)
    return [Entity("k8s.service", "k8s.service.uid", meta.uid, attributes)]


def _stored(kind: str, meta: Metadata) -> dict[str, str]:
    attributes = {f"k8s.{kind}.name": meta.name} | _created(f"k8s.{kind}.creation_timestamp", meta)
    attributes |= _labels(f"k8s.{kind}.label.", meta.labels)
    return attributes | _labels(f"k8s.{kind}.annotation.", meta.annotations)


def _volume(found: objects.PersistentVolume) -> list[Entity]:
    meta = found.metadata
    attributes = _stored("persistentvolume", meta)
    return [Entity("k8s.persistentvolume", "k8s.persistentvolume.uid", meta.uid, attributes)]


def _claim(found: objects.PersistentVolumeClaim) -> list[Entity]:
    meta = found.metadata
    attributes = _stored("persistentvolumeclaim", meta) | {"k8s.namespace.name": meta.namespace}
    if found.spec.volume_name:
        attributes["k8s.persistentvolume.name"] = found.spec.volume_name
    return [Entity("k8s.persistentvolumeclaim", "k8s.persistentvolumeclaim.uid", meta.uid, attributes)]


_READ: dict[Resource, Callable[[Any], list[Entity]]] = {
    objects.PODS: _pod,
    objects.NODES: _node,
    objects.NAMESPACES: _namespace,
    objects.SERVICES: _service,
    objects.PERSISTENT_VOLUMES: _volume,
    objects.PERSISTENT_VOLUME_CLAIMS: _claim,
}
