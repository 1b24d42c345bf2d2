"""Every metric of the receiver: name, unit, kind, type, whether it is on by default, description.

Those of node conditions and allocatable resources are named after what the configuration asks for.
Source: opentelemetry-collector-contrib, receiver/k8sclusterreceiver/metadata.yaml and internal/node, release 0.156.
"""

from collections.abc import Iterator

from heliograph.otlp.metrics_encode import Metric, metric_table

INT, DOUBLE, ON, OFF = True, False, True, False
SUM, GAUGE = "sum", "gauge"
_Row = tuple[str, str, str, bool, bool, str]


def _resources() -> Iterator[_Row]:
    """Requests and limits of containers."""
    for name, what, unit, whole in (
        ("cpu", "CPU cores", "{cpu}", DOUBLE),
        ("memory", "Memory", "By", INT),
        ("storage", "Storage", "By", INT),
        ("ephemeralstorage", "Ephemeral storage", "By", INT),
    ):
        yield f"k8s.container.{name}_request", unit, GAUGE, whole, ON, f"{what} that the container requests."
        yield f"k8s.container.{name}_limit", unit, GAUGE, whole, ON, f"{what} that the container may use at most."


CONTAINER = metric_table(
    *_resources(),
    ("k8s.container.restarts", "{restart}", GAUGE, INT, ON, "Restarts of the container, as far as they are known."),
    ("k8s.container.ready", "", GAUGE, INT, ON, "Whether the container is ready: 1 or 0."),
    (
        "k8s.container.status.state",
        "{container}",
        SUM,
        INT,
        OFF,
        "1 for the state that the container is in, 0 for the others.",
    ),
    (
        "k8s.container.status.reason",
        "{container}",
        SUM,
        INT,
        OFF,
        "1 for the reason of the container's state, 0 for the others.",
    ),
)
POD = metric_table(
    ("k8s.pod.phase", "", GAUGE, INT, ON, "1: pending, 2: running, 3: succeeded, 4: failed, 5: unknown."),
    (
        "k8s.pod.status_reason",
        "",
        GAUGE,
        INT,
        OFF,
        "1: Evicted, 2: NodeAffinity, 3: NodeLost, 4: Shutdown, 5: UnexpectedAdmissionError, 6: unknown.",
    ),
)
NODE = metric_table(
    ("k8s.node.condition", "{condition}", GAUGE, INT, OFF, "Conditions of the node: 1 true, 0 false, -1 unknown."),
)
NAMESPACE = metric_table(
    ("k8s.namespace.phase", "", GAUGE, INT, ON, "1: active, 0: terminating, -1: unknown."),
)
DEPLOYMENT = metric_table(
    ("k8s.deployment.desired", "{pod}", GAUGE, INT, ON, "Pods wanted."),
    ("k8s.deployment.available", "{pod}", GAUGE, INT, ON, "Pods ready for at least minReadySeconds."),
)
REPLICA_SET = metric_table(
    ("k8s.replicaset.desired", "{pod}", GAUGE, INT, ON, "Pods wanted."),
    ("k8s.replicaset.available", "{pod}", GAUGE, INT, ON, "Pods ready for at least minReadySeconds."),
)
REPLICATION_CONTROLLER = metric_table(
    ("k8s.replication_controller.desired", "{pod}", GAUGE, INT, ON, "Pods wanted."),
    ("k8s.replication_controller.available", "{pod}", GAUGE, INT, ON, "Pods ready for at least minReadySeconds."),
)
STATEFUL_SET = metric_table(
    ("k8s.statefulset.desired_pods", "{pod}", GAUGE, INT, ON, "Pods wanted."),
    ("k8s.statefulset.ready_pods", "{pod}", GAUGE, INT, ON, "Pods that are ready."),
    ("k8s.statefulset.current_pods", "{pod}", GAUGE, INT, ON, "Pods of the present revision."),
    ("k8s.statefulset.updated_pods", "{pod}", GAUGE, INT, ON, "Pods of the revision that is being rolled out."),
)
DAEMON_SET = metric_table(
    ("k8s.daemonset.current_scheduled_nodes", "{node}", GAUGE, INT, ON, "Nodes that run the pod and should."),
    ("k8s.daemonset.desired_scheduled_nodes", "{node}", GAUGE, INT, ON, "Nodes that should run the pod."),
    ("k8s.daemonset.misscheduled_nodes", "{node}", GAUGE, INT, ON, "Nodes that run the pod and should not."),
    ("k8s.daemonset.ready_nodes", "{node}", GAUGE, INT, ON, "Nodes that should run the pod and have a ready one."),
)
JOB = metric_table(
    ("k8s.job.active_pods", "{pod}", GAUGE, INT, ON, "Pods that run."),
    ("k8s.job.failed_pods", "{pod}", GAUGE, INT, ON, "Pods that failed."),
    ("k8s.job.successful_pods", "{pod}", GAUGE, INT, ON, "Pods that succeeded."),
    ("k8s.job.desired_successful_pods", "{pod}", GAUGE, INT, ON, "Pods that must succeed."),
    ("k8s.job.max_parallel_pods", "{pod}", GAUGE, INT, ON, "Pods that may run at once."),
)
CRON_JOB = metric_table(
    ("k8s.cronjob.active_jobs", "{job}", GAUGE, INT, ON, "Jobs that run."),
)
HPA = metric_table(
    ("k8s.hpa.max_replicas", "{pod}", GAUGE, INT, ON, "Most pods that the autoscaler may ask for."),
    ("k8s.hpa.min_replicas", "{pod}", GAUGE, INT, ON, "Fewest pods that the autoscaler may ask for."),
    ("k8s.hpa.current_replicas", "{pod}", GAUGE, INT, ON, "Pods that the autoscaler last saw."),
    ("k8s.hpa.desired_replicas", "{pod}", GAUGE, INT, ON, "Pods that the autoscaler asks for."),
)
RESOURCE_QUOTA = metric_table(
    (
        "k8s.resource_quota.hard_limit",
        "{resource}",
        GAUGE,
        INT,
        ON,
        "Most of a resource in the namespace; CPU in thousandths.",
    ),
    (
        "k8s.resource_quota.used",
        "{resource}",
        GAUGE,
        INT,
        ON,
        "What the namespace has of a resource; CPU in thousandths.",
    ),
)
CLUSTER_RESOURCE_QUOTA = metric_table(
    ("openshift.clusterquota.limit", "{resource}", GAUGE, INT, ON, "Most of a resource in all chosen namespaces."),
    ("openshift.clusterquota.used", "{resource}", GAUGE, INT, ON, "What all chosen namespaces have of a resource."),
    ("openshift.appliedclusterquota.limit", "{resource}", GAUGE, INT, ON, "Most of a resource in one namespace."),
    ("openshift.appliedclusterquota.used", "{resource}", GAUGE, INT, ON, "What one namespace has of a resource."),
)
SERVICE = metric_table(
    (
        "k8s.service.endpoint.count",
        "{endpoint}",
        GAUGE,
        INT,
        OFF,
        "Endpoints of the service by condition, address type and zone.",
    ),
    (
        "k8s.service.load_balancer.ingress.count",
        "{ingress}",
        GAUGE,
        INT,
        OFF,
        "Addresses that a load balancer gave to the service.",
    ),
)
PERSISTENT_VOLUME = metric_table(
    (
        "k8s.persistentvolume.status.phase",
        "{persistentvolume}",
        SUM,
        INT,
        OFF,
        "1 for the phase that the volume is in, 0 for the others.",
    ),
    ("k8s.persistentvolume.storage.capacity", "By", SUM, INT, OFF, "Size of the volume."),
)
PERSISTENT_VOLUME_CLAIM = metric_table(
    (
        "k8s.persistentvolumeclaim.status.phase",
        "{persistentvolumeclaim}",
        SUM,
        INT,
        OFF,
        "1 for the phase that the claim is in, 0 for the others.",
    ),
    ("k8s.persistentvolumeclaim.storage.request", "By", SUM, INT, OFF, "Storage asked for."),
    ("k8s.persistentvolumeclaim.storage.capacity", "By", SUM, INT, OFF, "Storage that the bound volume has."),
)
METRICS: dict[str, Metric] = {
    **CONTAINER,
    **POD,
    **NODE,
    **NAMESPACE,
    **DEPLOYMENT,
    **REPLICA_SET,
    **REPLICATION_CONTROLLER,
    **STATEFUL_SET,
    **DAEMON_SET,
    **JOB,
    **CRON_JOB,
    **HPA,
    **RESOURCE_QUOTA,
    **CLUSTER_RESOURCE_QUOTA,
    **SERVICE,
    **PERSISTENT_VOLUME,
    **PERSISTENT_VOLUME_CLAIM,
}
_ALLOCATABLE_UNITS = {"cpu": "{cpu}", "memory": "By", "ephemeral-storage": "By", "storage": "By", "pods": "{pod}"}


def condition_metric(condition: str) -> Metric:
    """The metric of one of node_conditions_to_report."""
    name = f"k8s.node.condition_{snake(condition)}"
    return Metric(name, "", GAUGE, INT, ON, f"Condition {condition} of the node: 1 true, 0 false, -1 unknown.")


def allocatable_metric(resource: str) -> Metric:
    """The metric of one of allocatable_types_to_report. CPU is in cores, everything else whole."""
    unit = _ALLOCATABLE_UNITS.get(resource, f"{{{resource}}}")
    name = f"k8s.node.allocatable_{snake(resource)}"
    return Metric(name, unit, GAUGE, resource != "cpu", ON, f"How much {resource} the node has for pods.")


def snake(name: str) -> str:
    """MemoryPressure -> memory_pressure, PIDPressure -> pid_pressure, hugepages-2Mi -> hugepages_2_mi.

    A word ends where the kind of character changes (small, capital, digit), but a single capital belongs to the small
    letters after it.
    """
    name = name.strip()
    made: list[str] = []
    for position, character in enumerate(name):
        kind, after = _kind(character), _kind(name[position + 1 : position + 2])
        before = _kind(name[position - 1 : position]) if position else ""
        if kind == "capital" and after == "small" and before == "capital":
            made.append("_")
        made.append("_" if character in " _-." else character.lower() if kind == "capital" else character)
        changes = kind and after and kind != after
        if changes and (kind in ("small", "digit") or after == "digit"):
            made.append("_")
    return "".join(made)


def _kind(character: str) -> str:
    if "a" <= character <= "z":
        return "small"
    if "A" <= character <= "Z":
        return "capital"
    return "digit" if "0" <= character <= "9" else ""
