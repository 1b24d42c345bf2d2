"""Configuration of k8s_cluster.

Source: opentelemetry-collector-contrib, receiver/k8sclusterreceiver/config.go and internal/k8sconfig, release 0.156.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from heliograph.component.config import Duration, key
from heliograph.component.ids import ComponentId
from heliograph.component.switches import Switches
from heliograph.kubernetes.config import ApiConfig
from heliograph.receivers.k8s_cluster.metrics import METRICS

_OFF = (
    "container.runtime",
    "container.runtime.version",
    "k8s.container.status.last_terminated_reason",
    "k8s.hpa.scaletargetref.apiversion",
    "k8s.hpa.scaletargetref.kind",
    "k8s.hpa.scaletargetref.name",
    "k8s.kubelet.version",
    "k8s.persistentvolume.reclaim_policy",
    "k8s.pod.qos_class",
    "k8s.service.publish_not_ready_addresses",
    "k8s.service.traffic_distribution",
    "os.description",
    "os.type",
)
_NAMED = (
    *("k8s.namespace", "k8s.node", "k8s.pod", "k8s.deployment", "k8s.replicaset", "k8s.replicationcontroller"),
    *("k8s.statefulset", "k8s.daemonset", "k8s.job", "k8s.cronjob", "k8s.hpa", "k8s.resourcequota", "k8s.service"),
    *("k8s.persistentvolume", "k8s.persistentvolumeclaim", "openshift.clusterquota"),
)
_ON = (
    *("container.id", "container.image.name", "container.image.tag", "k8s.container.name", "k8s.service.type"),
    "k8s.storageclass.name",
)


class ClusterMetrics(Switches):
    """Metrics of the receiver."""

    DEFAULTS = {name: metric.on for name, metric in METRICS.items()}


class ClusterAttributes(Switches):
    """Resource attributes of the receiver."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        **{f"{prefix}.{what}": True for prefix in _NAMED for what in ("name", "uid")},
        **dict.fromkeys(_ON, True),
        **dict.fromkeys(_OFF, False),
    }


def _conditions() -> list[str]:
    return ["Ready"]


@dataclass(frozen=True, slots=True, kw_only=True)
class K8sClusterConfig(ApiConfig):
    """Metrics and entity events of a cluster's objects, from the Kubernetes API: one instance for a cluster."""

    collection_interval: Duration = key(Duration(10.0), "Time between two reports of all metrics.")
    metadata_collection_interval: Duration = key(
        Duration(300.0), "Time after which every entity is told again in a logs pipeline; 0: only when it changes."
    )
    node_conditions_to_report: list[str] = key(_conditions, "Node conditions with a metric each: Ready, DiskPressure.")
    allocatable_types_to_report: list[str] = key(
        list, "Allocatable resources of nodes with a metric each: cpu, memory, ephemeral-storage, pods."
    )
    distribution: Literal["kubernetes", "openshift"] = key(
        "kubernetes", "openshift: report ClusterResourceQuotas as well."
    )
    namespaces: list[str] = key(
        list, "Watch these namespaces alone; then no nodes, namespaces, volumes and cluster quotas. Empty: the cluster."
    )
    namespace: str = key("", "Watch this namespace alone.", deprecated="use namespaces")
    metadata_exporters: list[str] = key(list, "Must be empty: no exporter takes metadata; use a logs pipeline.")
    k8s_leader_elector: ComponentId | None = key(
        None, "Extension that elects a leader; only the leader watches and reports."
    )
    metrics: ClusterMetrics = key(ClusterMetrics.default, "Which metrics to report: name -> {enabled: true|false}.")
    resource_attributes: ClusterAttributes = key(
        ClusterAttributes.default, "Which resource attributes to set: name -> {enabled: true|false}."
    )

    def check(self) -> Iterator[tuple[str, str]]:
        yield from ApiConfig.check(self)
        if self.collection_interval <= 0:
            yield "collection_interval", "must be positive"
        if self.metadata_collection_interval < 0:
            yield "metadata_collection_interval", "must not be negative"
        if self.metadata_exporters:
            yield (
                "metadata_exporters",
                "no exporter takes metadata here; put the receiver in a logs pipeline, which gets it as entity events",
            )
        for name in ("node_conditions_to_report", "allocatable_types_to_report", "namespaces"):
            values = getattr(self, name)
            if not all(values):
                yield name, "must not hold an empty name"
            if len(set(values)) < len(values):
                yield name, "names something twice"

    def scopes(self) -> tuple[str, ...]:
        """The namespaces to watch; ("",) for the whole cluster."""
        return tuple(self.namespaces) or (self.namespace,)
