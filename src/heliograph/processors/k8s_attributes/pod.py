"""What is kept of a pod: the attributes it gives, and by what it can be found. Everything else is let go.

The rules of service.* are those of the OpenTelemetry operator, as upstream applies them: name, then owner, then
app.kubernetes.io/name, then app.kubernetes.io/instance, then annotations. Attributes that depend on other objects (the
deployment of a replica set, the cron job of a job, the cluster) are completed when a resource is enriched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from heliograph.kubernetes import objects
from heliograph.kubernetes.image import canonical, parse
from heliograph.processors.k8s_attributes.rules import Rules

_OWNERS = {"ReplicaSet": "replicaset", "DaemonSet": "daemonset", "StatefulSet": "statefulset", "Job": "job"}
_IGNORE = "opentelemetry.io/k8s-processor/ignore"
_CRON_JOB = re.compile(r"(.*)-(\d{8})", re.ASCII)
_CRON_JOB_MINUTES = 5
_RUNS_KEPT = 8  # former runs of a container that are still known by their container.id


@dataclass(slots=True)
class Container:
    """attributes: set as they are. runs: restart count -> (container.id, repo digest)."""

    attributes: dict[str, str] = field(default_factory=dict)
    runs: dict[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class Pod:
    """early and late: attributes before and after those of its owners; the later win. owners: kind in lower case ->
    (name, uid). guesses: the name of the deployment behind "replicaset" and of the cron job behind "job", as far
    as names tell. address: "" when it has none or it can be another's (it has ended). start: RFC 3339 or ""."""

    uid: str
    name: str
    namespace: str
    node: str
    address: str
    host_network: bool
    start: str
    ignored: bool
    owners: dict[str, tuple[str, str]]
    guesses: dict[str, str]
    early: dict[str, str]
    late: dict[str, str]
    containers: dict[str, Container]
    container_ids: dict[str, str]  # container.id -> name
    deleted: bool = False


def pod_of(found: objects.Pod, rules: Rules, excluded: bool, before: Pod | None) -> Pod:
    """The pod as it is kept. before: what was kept of it, for container ids of former runs."""
    metadata, spec, status = found.metadata, found.spec, found.status
    annotations = metadata.annotations or {}
    ignored = excluded or annotations.get(_IGNORE, "").strip().lower() == "true"
    ended = status.phase in ("Succeeded", "Failed")
    pod = Pod(
        uid=metadata.uid,
        name=metadata.name,
        namespace=metadata.namespace,
        node=spec.node_name or "",
        address="" if ended else status.pod_ip or "",
        host_network=bool(spec.host_network),
        start=status.start_time or "",
        ignored=ignored,
        owners={
            _OWNERS[owner.kind]: (owner.name, owner.uid)
            for owner in metadata.owner_references or ()
            if owner.kind in _OWNERS
        },
        guesses={},
        early={},
        late={},
        containers={},
        container_ids={},
    )
    if "replicaset" in pod.owners:
        pod.guesses["replicaset"] = _deployment(pod.owners["replicaset"][0], metadata.labels or {})
    if "job" in pod.owners:
        pod.guesses["job"] = _cron_job(pod.owners["job"][0], metadata.creation_timestamp or "")
    if not ignored:
        _attributes(pod, found, rules)
        if rules.containers:
            _containers(pod, found, rules, before)
    return pod


def _attributes(pod: Pod, found: objects.Pod, rules: Rules) -> None:
    metadata, wanted = found.metadata, rules.wanted
    values = {
        "k8s.pod.name": pod.name,
        "service.name": pod.name,
        "k8s.pod.hostname": found.spec.hostname,
        "k8s.pod.ip": found.status.pod_ip,
        "k8s.namespace.name": pod.namespace,
        "service.namespace": pod.namespace,
        "k8s.pod.start_time": metadata.creation_timestamp,
        "k8s.pod.uid": pod.uid,
        "k8s.node.name": pod.node,
    }
    pod.early = {name: value for name, value in values.items() if value and name in wanted}
    labels = metadata.labels or {}
    late = pod.late
    rules.labels("pod", labels, late)
    if "service.name" in wanted:
        name = labels.get("app.kubernetes.io/instance") or labels.get("app.kubernetes.io/name")
        if name:
            late["service.name"] = name
    if "service.version" in wanted and labels.get("app.kubernetes.io/version"):
        late["service.version"] = labels["app.kubernetes.io/version"]
    rules.annotations("pod", metadata.annotations, late)


def _containers(pod: Pod, found: objects.Pod, rules: Rules, before: Pod | None) -> None:
    wanted = rules.wanted
    if wanted & {
        "container.image.name",
        "container.image.tag",
        "container.image.tags",
        "service.version",
        "service.instance.id",
    }:
        for spec in [*(found.spec.containers or ()), *(found.spec.init_containers or ())]:
            container = pod.containers[spec.name] = Container()
            image = parse(spec.image or "")
            if image is None:
                continue
            values = {
                "container.image.name": image.repository,
                "container.image.tag": image.tag or "latest",
                "container.image.tags": image.tag or "latest",
                "service.version": image.version,
            }
            container.attributes = {name: value for name, value in values.items() if value and name in wanted}
    for status in [*(found.status.container_statuses or ()), *(found.status.init_container_statuses or ())]:
        container = pod.containers.setdefault(status.name, Container())
        if "k8s.container.name" in wanted:
            container.attributes["k8s.container.name"] = status.name
        if "service.instance.id" in wanted:
            container.attributes["service.instance.id"] = f"{pod.namespace}.{pod.name}.{status.name}"
        if before is not None and status.name in before.containers:
            container.runs = dict(list(before.containers[status.name].runs.items())[-_RUNS_KEPT:])
        digest = canonical(status.image_id or "")
        last = status.last_state.terminated if status.last_state else None
        if last is not None and last.container_id and status.restart_count - 1 not in container.runs:
            container.runs[status.restart_count - 1] = (_bare(last.container_id), digest)
        container.runs[status.restart_count] = (_bare(status.container_id or ""), digest)
        pod.container_ids |= {id_: status.name for id_, _ in container.runs.values() if id_}


def _deployment(replica_set: str, labels: Mapping[str, str]) -> str:
    """The name less the hash that a deployment appends and notes as a label; "" when it is not there."""
    suffix = labels.get("pod-template-hash", "")
    return replica_set.removesuffix(f"-{suffix}") if suffix and replica_set.endswith(f"-{suffix}") else ""


def _cron_job(job: str, created: str) -> str:
    """The name less the time in minutes that a cron job appends; "" when the pod is of another time."""
    found = _CRON_JOB.fullmatch(job)
    if found is None:
        return ""
    try:
        minutes = datetime.fromisoformat(created).timestamp() // 60
    except ValueError:
        return ""
    return found[1] if abs(minutes - int(found[2])) <= _CRON_JOB_MINUTES else ""


def _bare(container_id: str) -> str:
    """Without the runtime's scheme."""
    scheme, separator, rest = container_id.partition("://")
    return rest if separator else scheme
