"""What an object says: the attributes of its resource and the values of its metrics, as plain tuples.

Numbers are those of upstream's internal/{pod,container,node,...} of the receiver, release 0.156. A quantity that
cannot be read gives no value. Those of workloads are in workloads.py.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from heliograph.kubernetes.image import parse
from heliograph.kubernetes.objects import Resource
from heliograph.kubernetes.quantity import thousandths, whole
from heliograph.otlp.metrics_encode import Metric, Point
from heliograph.receivers.k8s_cluster import objects, workloads
from heliograph.receivers.k8s_cluster.metrics import allocatable_metric, condition_metric
from heliograph.receivers.k8s_cluster.reading import Pairs, Reading, Values, amount, choice, identity, one

_PHASES = {"Pending": 1, "Running": 2, "Succeeded": 3, "Failed": 4}
_UNKNOWN_PHASE = 5
_REASONS = {"Evicted": 1, "NodeAffinity": 2, "NodeLost": 3, "Shutdown": 4, "UnexpectedAdmissionError": 5}
_UNKNOWN_REASON = 6
_NAMESPACE_PHASES = {"Active": 1, "Terminating": 0, "": -1}
CONDITIONS = {"True": 1, "False": 0, "Unknown": -1}
_STATES = ("running", "waiting", "terminated")
_STATE_REASONS = (
    *("ContainerCreating", "CrashLoopBackOff", "CreateContainerConfigError", "ErrImagePull", "ImagePullBackOff"),
    *("OOMKilled", "Completed", "Error", "ContainerCannotRun"),
)
_VOLUME_PHASES = ("Pending", "Available", "Bound", "Released", "Failed")
_CLAIM_PHASES = ("Pending", "Bound", "Lost")
_QUANTITIES = (
    ("cpu", "cpu"),
    ("memory", "memory"),
    ("storage", "storage"),
    ("ephemeral-storage", "ephemeralstorage"),
)
_DECODE_RESOURCES = msgspec.json.Decoder(objects.Resources | None).decode
_SCHEME = re.compile(r"[\w-]+://", re.ASCII)


class Readings:
    """Reads objects. metrics: those that are on."""

    def __init__(self, metrics: Collection[str], conditions: Iterable[str], allocatable: Iterable[str]) -> None:
        self._on = metrics
        self._conditions = [(name, condition_metric(name)) for name in conditions]
        self._allocatable = [(name, allocatable_metric(name)) for name in allocatable]
        self._of: Mapping[Resource, Callable[[Any], list[Reading]]] = {
            objects.PODS: self._pod,
            objects.NODES: self._node,
            objects.NAMESPACES: _namespace,
            objects.REPLICATION_CONTROLLERS: workloads.replication_controller,
            objects.RESOURCE_QUOTAS: _resource_quota,
            objects.PERSISTENT_VOLUMES: _volume,
            objects.PERSISTENT_VOLUME_CLAIMS: _claim,
            objects.DEPLOYMENTS: workloads.deployment,
            objects.REPLICA_SETS: workloads.replica_set,
            objects.STATEFUL_SETS: workloads.stateful_set,
            objects.DAEMON_SETS: workloads.daemon_set,
            objects.JOBS: workloads.job,
            objects.CRON_JOBS: workloads.cron_job,
            objects.HPAS: workloads.hpa,
            objects.CLUSTER_RESOURCE_QUOTAS: _cluster_quota,
        }

    @property
    def custom(self) -> dict[str, Metric]:
        """The metrics named after conditions and resources."""
        return {metric.name: metric for _, metric in (*self._conditions, *self._allocatable)}

    def read(self, resource: Resource, found: Any) -> list[Reading]:
        """Everything about one object; services are read with their endpoints, by `service`."""
        of = self._of.get(resource)
        return of(found) if of is not None else []

    def _pod(self, pod: objects.Pod) -> list[Reading]:
        meta, node = pod.metadata, pod.spec.node_name
        place = (("k8s.namespace.name", meta.namespace), ("k8s.node.name", node))
        values = (
            one("k8s.pod.phase", _PHASES.get(pod.status.phase, _UNKNOWN_PHASE)),
            one("k8s.pod.status_reason", _REASONS.get(pod.status.reason, _UNKNOWN_REASON)),
        )
        named = (("k8s.pod.uid", meta.uid), ("k8s.pod.name", meta.name))
        found = [Reading("k8s.pod", (*named, ("k8s.pod.qos_class", pod.status.qos_class), *place), values)]
        statuses = {status.name: status for status in pod.status.container_statuses or ()}
        for container in pod.spec.containers or ():
            found.append(self._container(container, statuses.get(container.name), (*named, *place)))
        return found

    def _container(
        self, container: objects.Container, status: objects.ContainerStatus | None, pod: tuple[tuple[str, str], ...]
    ) -> Reading:
        attributes: list[tuple[str, str]] = [("k8s.container.name", container.name)]
        values = list(_resources(bytes(container.resources)))
        if status is not None:
            values.append(one("k8s.container.restarts", status.restart_count))
            values.append(one("k8s.container.ready", int(status.ready)))
            values += self._state(status.state or objects.ContainerState())
            attributes.insert(0, ("container.id", stripped(status.container_id)))
            name, tag = image(status.image)
            last = status.last_state.terminated if status.last_state else None
            attributes += [
                ("container.image.name", name),
                ("container.image.tag", tag),
                ("k8s.container.status.last_terminated_reason", last.reason if last else ""),
            ]
        return Reading("k8s.container", (*attributes, *pod), tuple(values))

    def _state(self, state: objects.ContainerState) -> list[tuple[str, tuple[Point, ...]]]:
        values: list[tuple[str, tuple[Point, ...]]] = []
        name = "k8s.container.status.state"
        if name in self._on:
            present = next((name for name in ("running", "terminated", "waiting") if getattr(state, name)), "")
            if present:
                values.append((name, choice(name, _STATES, present)))
        name = "k8s.container.status.reason"
        if name in self._on:
            why = state.terminated or state.waiting
            values.append((name, choice(name, _STATE_REASONS, why.reason if why else "")))
        return values

    def _node(self, node: objects.Node) -> list[Reading]:
        meta, status, info = node.metadata, node.status, node.status.node_info
        conditions = {each.type: CONDITIONS.get(each.status, 0) for each in status.conditions or ()}
        points = tuple(((("condition", kind),), value) for kind, value in conditions.items())
        base = (("k8s.node.uid", meta.uid), ("k8s.node.name", meta.name), ("k8s.kubelet.version", info.kubelet_version))
        values = [one(metric.name, conditions.get(name, -1)) for name, metric in self._conditions]
        for name, metric in self._allocatable:
            number = amount((status.allocatable or {}).get(name), cores=name == "cpu")
            if number is not None:
                values.append(one(metric.name, number))
        runtime, version = _runtime(info.runtime_version)
        more = (
            ("os.type", info.operating_system),
            ("os.description", info.os_image),
            ("container.runtime", runtime),
            ("container.runtime.version", version),
        )
        return [
            Reading("k8s.node", (*base, *more), tuple(values), custom=True),
            Reading("k8s.node", base, (("k8s.node.condition", points),)),
        ]


def service(found: objects.Service, endpoints: Mapping[tuple[str, str], tuple[int, int, int]]) -> Reading:
    """endpoints: (address type, zone) -> how many are ready, serving, terminating."""
    meta, spec = found.metadata, found.spec
    points: list[Point] = []
    for (address_type, zone), counts in endpoints.items():
        for condition, count in zip(("ready", "serving", "terminating"), counts, strict=True):
            where = (
                ("k8s.service.endpoint.address_type", address_type),
                ("k8s.service.endpoint.condition", condition),
                ("k8s.service.endpoint.zone", zone),
            )
            points.append((where, count))
    values: list[tuple[str, tuple[Point, ...]]] = [("k8s.service.endpoint.count", tuple(points))]
    if spec.type == "LoadBalancer":
        ingress = found.status.load_balancer.ingress or ()
        values.append(one("k8s.service.load_balancer.ingress.count", len(ingress)))
    attributes: Pairs = (
        ("k8s.service.uid", meta.uid),
        ("k8s.service.name", meta.name),
        ("k8s.service.type", spec.type),
        ("k8s.service.publish_not_ready_addresses", spec.publish_not_ready_addresses),
        ("k8s.namespace.name", meta.namespace),
        ("k8s.service.traffic_distribution", spec.traffic_distribution),
    )
    return Reading("k8s.service", attributes, tuple(values))


def endpoints(found: objects.EndpointSlice) -> tuple[str, dict[tuple[str, str], tuple[int, int, int]]]:
    """(namespace/service, counts by address type and zone) of one slice. "" when it belongs to no service."""
    of = (found.metadata.labels or {}).get("kubernetes.io/service-name", "")
    counts: dict[tuple[str, str], tuple[int, int, int]] = {}
    if not of or found.address_type not in ("IPv4", "IPv6", "FQDN"):
        return "", counts
    for endpoint in found.endpoints or ():
        said = endpoint.conditions
        ready = said.ready is not False
        serving = ready if said.serving is None else said.serving
        place = found.address_type, endpoint.zone or ""
        before = counts.get(place, (0, 0, 0))
        counts[place] = before[0] + ready, before[1] + serving, before[2] + bool(said.terminating)
    return f"{found.metadata.namespace}/{of}", counts


def stripped(container_id: str) -> str:
    """The id without the runtime's scheme."""
    found = _SCHEME.match(container_id)
    return container_id[found.end() :] if found else container_id


@lru_cache(maxsize=1024)
def _resources(json: bytes) -> Values:
    """The metrics of a container's requests and limits; none when they are not what the API promises."""
    try:
        found = _DECODE_RESOURCES(json or b"null")
    except (msgspec.MsgspecError, RecursionError):
        found = None
    if found is None:
        return ()
    values: list[tuple[str, tuple[Point, ...]]] = []
    for what, quantities in (("request", found.requests), ("limit", found.limits)):
        for name, short in _QUANTITIES if quantities else ():
            number = amount((quantities or {}).get(name), cores=name == "cpu")
            if number is not None:
                values.append(one(f"k8s.container.{short}_{what}", number))
    return tuple(values)


@lru_cache(maxsize=1024)
def image(name: str) -> tuple[str, str]:
    """(repository, tag) of a container's image, without a tag "latest"; ("", "") when it is no image's name."""
    found = parse(name)
    return (found.repository, found.tag or "latest") if found else ("", "")


def _runtime(text: str) -> tuple[str, str]:
    parts = text.split("://")
    return (parts[0], parts[1]) if len(parts) == 2 else ("", "")


def _namespace(found: objects.Namespace) -> list[Reading]:
    meta = found.metadata
    named = (("k8s.namespace.uid", meta.uid), ("k8s.namespace.name", meta.name))
    return [
        Reading("k8s.namespace", named, (one("k8s.namespace.phase", _NAMESPACE_PHASES.get(found.status.phase, 0)),))
    ]


def _quota(quantities: objects.Quantities | None, more: tuple[tuple[str, str], ...] = ()) -> tuple[Point, ...]:
    points: list[Point] = []
    for name, quantity in (quantities or {}).items():
        try:
            value = thousandths(str(quantity)) if name.endswith(".cpu") else whole(str(quantity))
        except ValueError:
            continue
        points.append(((*more, ("resource", name)), value))
    return tuple(points)


def _resource_quota(found: objects.ResourceQuota) -> list[Reading]:
    values = (
        ("k8s.resource_quota.hard_limit", _quota(found.status.hard)),
        ("k8s.resource_quota.used", _quota(found.status.used)),
    )
    return [Reading("k8s.resourcequota", identity("k8s.resourcequota", found.metadata), values)]


def _cluster_quota(found: objects.ClusterResourceQuota) -> list[Reading]:
    meta, status = found.metadata, found.status
    limits: list[Point] = []
    used: list[Point] = []
    for share in status.namespaces or ():
        where = (("k8s.namespace.name", share.namespace),)
        limits += _quota(share.status.hard, where)
        used += _quota(share.status.used, where)
    values = (
        ("openshift.clusterquota.limit", _quota(status.total.hard)),
        ("openshift.clusterquota.used", _quota(status.total.used)),
        ("openshift.appliedclusterquota.limit", tuple(limits)),
        ("openshift.appliedclusterquota.used", tuple(used)),
    )
    named = (("openshift.clusterquota.uid", meta.uid), ("openshift.clusterquota.name", meta.name))
    return [Reading("openshift.clusterquota", named, values)]


def _storage(name: str, quantities: objects.Quantities | None) -> list[tuple[str, tuple[Point, ...]]]:
    number = amount((quantities or {}).get("storage"))
    return [] if number is None else [one(name, number)]


def _volume(found: objects.PersistentVolume) -> list[Reading]:
    meta, spec = found.metadata, found.spec
    name = "k8s.persistentvolume.status.phase"
    values = [(name, choice(name, _VOLUME_PHASES, found.status.phase))]
    values += _storage("k8s.persistentvolume.storage.capacity", spec.capacity)
    attributes = (
        ("k8s.persistentvolume.uid", meta.uid),
        ("k8s.persistentvolume.name", meta.name),
        ("k8s.storageclass.name", spec.storage_class),
        ("k8s.persistentvolume.reclaim_policy", spec.reclaim),
    )
    return [Reading("k8s.persistentvolume", attributes, tuple(values))]


def _claim(found: objects.PersistentVolumeClaim) -> list[Reading]:
    spec = found.spec
    name = "k8s.persistentvolumeclaim.status.phase"
    values = [(name, choice(name, _CLAIM_PHASES, found.status.phase))]
    requests = spec.resources.requests if spec.resources else None
    values += _storage("k8s.persistentvolumeclaim.storage.request", requests)
    values += _storage("k8s.persistentvolumeclaim.storage.capacity", found.status.capacity)
    named = identity("k8s.persistentvolumeclaim", found.metadata)
    return [
        Reading("k8s.persistentvolumeclaim", (*named, ("k8s.storageclass.name", spec.storage_class)), tuple(values))
    ]
