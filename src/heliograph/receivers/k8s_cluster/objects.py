"""The objects of the Kubernetes API that the receiver watches, cut down to the fields in use while they are decoded.

Pods have a shape of their own here, so that those of a daemon on every node do not carry what only this receiver reads.
Sources: Kubernetes API reference v1.36; quota.openshift.io/v1 of OpenShift's API.
"""

import msgspec

from heliograph.kubernetes.objects import Object, Resource

Quantities = dict[str, str | int | float]
"""By resource; text such as 500m or 128Mi."""


class Resources(msgspec.Struct):
    """Requests and limits."""

    requests: Quantities | None = None
    limits: Quantities | None = None


class Container(msgspec.Struct):
    """One of spec.containers. resources: the JSON of `Resources`, which many containers have in common."""

    name: str = ""
    resources: msgspec.Raw = msgspec.Raw()


class State(msgspec.Struct, rename="camel", gc=False):
    """Of a container: why it waits or ended, since when it runs."""

    reason: str = ""
    started_at: str | None = None


class ContainerState(msgspec.Struct):
    """One of them is there."""

    running: State | None = None
    terminated: State | None = None
    waiting: State | None = None


class ContainerStatus(
    msgspec.Struct,
    rename={"container_id": "containerID", "restart_count": "restartCount", "last_state": "lastState"},
):
    """container_id: with the runtime's scheme before it; empty until it was made."""

    name: str = ""
    image: str = ""
    container_id: str = ""
    restart_count: int = 0
    ready: bool = False
    state: ContainerState | None = None
    last_state: ContainerState | None = None


class PodSpec(msgspec.Struct, rename="camel"):
    """Of a pod."""

    node_name: str = ""
    containers: list[Container] | None = None


class PodStatus(
    msgspec.Struct,
    rename={"qos_class": "qosClass", "container_statuses": "containerStatuses"},
):
    """Of a pod."""

    phase: str = ""
    reason: str = ""
    qos_class: str = ""
    container_statuses: list[ContainerStatus] | None = None


class Pod(Object, kw_only=True):
    """A pod."""

    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class Condition(msgspec.Struct, gc=False):
    """status: True, False or Unknown."""

    type: str = ""
    status: str = ""


_NODEINFO = {
    "kubelet_version": "kubeletVersion",
    "runtime_version": "containerRuntimeVersion",
    "os_image": "osImage",
    "operating_system": "operatingSystem",
}


class NodeInfo(msgspec.Struct, rename=_NODEINFO, gc=False):
    """runtime_version: containerd://1.7.0."""

    kubelet_version: str = ""
    runtime_version: str = ""
    os_image: str = ""
    operating_system: str = ""


class NodeStatus(msgspec.Struct, rename="camel"):
    """Of a node."""

    conditions: list[Condition] | None = None
    allocatable: Quantities | None = None
    node_info: NodeInfo = msgspec.field(default_factory=NodeInfo)


class Node(Object, kw_only=True):
    """A node."""

    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class NamespaceStatus(msgspec.Struct, gc=False):
    """phase: Active or Terminating."""

    phase: str = ""


class Namespace(Object, kw_only=True):
    """A namespace."""

    status: NamespaceStatus = msgspec.field(default_factory=NamespaceStatus)


class ReplicasSpec(msgspec.Struct, gc=False):
    """Of whatever keeps a number of pods."""

    replicas: int | None = None


class ReplicasStatus(msgspec.Struct, rename="camel", gc=False):
    """Numbers of pods. The revisions are a stateful set's."""

    available_replicas: int = 0
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""


class Replicated(Object, kw_only=True):
    """A deployment, replica set, replication controller or stateful set."""

    spec: ReplicasSpec = msgspec.field(default_factory=ReplicasSpec)
    status: ReplicasStatus = msgspec.field(default_factory=ReplicasStatus)


class DaemonSetStatus(msgspec.Struct, rename="camel", gc=False):
    """Numbers of nodes."""

    current_number_scheduled: int = 0
    desired_number_scheduled: int = 0
    number_misscheduled: int = 0
    number_ready: int = 0


class DaemonSet(Object, kw_only=True):
    """A daemon set."""

    status: DaemonSetStatus = msgspec.field(default_factory=DaemonSetStatus)


class JobSpec(msgspec.Struct, gc=False):
    """Numbers of pods."""

    completions: int | None = None
    parallelism: int | None = None


class JobStatus(msgspec.Struct, gc=False):
    """Numbers of pods."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0


class Job(Object, kw_only=True):
    """A job."""

    spec: JobSpec = msgspec.field(default_factory=JobSpec)
    status: JobStatus = msgspec.field(default_factory=JobStatus)


class CronJobSpec(msgspec.Struct, rename="camel", gc=False):
    """When it runs."""

    schedule: str = ""
    concurrency_policy: str = ""


class CronJobStatus(msgspec.Struct):
    """active: references to jobs."""

    active: list[msgspec.Raw] | None = None


class CronJob(Object, kw_only=True):
    """A cron job."""

    spec: CronJobSpec = msgspec.field(default_factory=CronJobSpec)
    status: CronJobStatus = msgspec.field(default_factory=CronJobStatus)


class ScaleTarget(msgspec.Struct, rename="camel", gc=False):
    """What an autoscaler scales."""

    api_version: str = ""
    kind: str = ""
    name: str = ""


class HpaSpec(msgspec.Struct, rename="camel"):
    """Bounds and target."""

    max_replicas: int = 0
    min_replicas: int | None = None
    scale_target_ref: ScaleTarget = msgspec.field(default_factory=ScaleTarget)


class HpaStatus(msgspec.Struct, rename="camel", gc=False):
    """Numbers of pods."""

    current_replicas: int = 0
    desired_replicas: int = 0


class Hpa(Object, kw_only=True):
    """A horizontal pod autoscaler."""

    spec: HpaSpec = msgspec.field(default_factory=HpaSpec)
    status: HpaStatus = msgspec.field(default_factory=HpaStatus)


class QuotaStatus(msgspec.Struct):
    """Quantities by resource."""

    hard: Quantities | None = None
    used: Quantities | None = None


class ResourceQuota(Object, kw_only=True):
    """A quota of a namespace."""

    status: QuotaStatus = msgspec.field(default_factory=QuotaStatus)


class NamespaceQuota(msgspec.Struct):
    """A namespace's share in a cluster quota."""

    namespace: str = ""
    status: QuotaStatus = msgspec.field(default_factory=QuotaStatus)


class ClusterQuotaStatus(msgspec.Struct):
    """The sum and the shares."""

    total: QuotaStatus = msgspec.field(default_factory=QuotaStatus)
    namespaces: list[NamespaceQuota] | None = None


class ClusterResourceQuota(Object, kw_only=True):
    """OpenShift's quota over several namespaces."""

    status: ClusterQuotaStatus = msgspec.field(default_factory=ClusterQuotaStatus)


class ServiceSpec(msgspec.Struct, rename="camel"):
    """Of a service."""

    type: str = ""
    selector: dict[str, str] | None = None
    publish_not_ready_addresses: bool = False
    traffic_distribution: str = ""


class LoadBalancer(msgspec.Struct):
    """ingress: the addresses."""

    ingress: list[msgspec.Raw] | None = None


class ServiceStatus(msgspec.Struct, rename="camel"):
    """Of a service."""

    load_balancer: LoadBalancer = msgspec.field(default_factory=LoadBalancer)


class Service(Object, kw_only=True):
    """A service."""

    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)
    status: ServiceStatus = msgspec.field(default_factory=ServiceStatus)


class EndpointConditions(msgspec.Struct, gc=False):
    """None: nothing was said."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(msgspec.Struct):
    """One of an endpoint slice."""

    conditions: EndpointConditions = msgspec.field(default_factory=EndpointConditions)
    zone: str | None = None


class EndpointSlice(Object, kw_only=True, rename="camel"):
    """Some endpoints of the service that its label names. address_type: IPv4, IPv6 or FQDN."""

    address_type: str = ""
    endpoints: list[Endpoint] | None = None


class VolumeSpec(
    msgspec.Struct, rename={"storage_class": "storageClassName", "reclaim": "persistentVolumeReclaimPolicy"}
):
    """Of a persistent volume."""

    storage_class: str = ""
    reclaim: str = ""
    capacity: Quantities | None = None


class VolumeStatus(msgspec.Struct):
    """capacity: of a claim alone."""

    phase: str = ""
    capacity: Quantities | None = None


class PersistentVolume(Object, kw_only=True):
    """A volume."""

    spec: VolumeSpec = msgspec.field(default_factory=VolumeSpec)
    status: VolumeStatus = msgspec.field(default_factory=VolumeStatus)


class ClaimSpec(msgspec.Struct, rename={"storage_class": "storageClassName", "volume_name": "volumeName"}):
    """Of a claim."""

    storage_class: str = ""
    volume_name: str = ""
    resources: Resources | None = None


class PersistentVolumeClaim(Object, kw_only=True):
    """A claim."""

    spec: ClaimSpec = msgspec.field(default_factory=ClaimSpec)
    status: VolumeStatus = msgspec.field(default_factory=VolumeStatus)


def _resource(api: str, plural: str, shape: type[Object], *, namespaced: bool = True) -> Resource:
    return Resource(api, plural, shape, namespaced=namespaced, partial=False)


PODS = _resource("/api/v1", "pods", Pod)
NODES = _resource("/api/v1", "nodes", Node, namespaced=False)
NAMESPACES = _resource("/api/v1", "namespaces", Namespace, namespaced=False)
REPLICATION_CONTROLLERS = _resource("/api/v1", "replicationcontrollers", Replicated)
RESOURCE_QUOTAS = _resource("/api/v1", "resourcequotas", ResourceQuota)
SERVICES = _resource("/api/v1", "services", Service)
PERSISTENT_VOLUMES = _resource("/api/v1", "persistentvolumes", PersistentVolume, namespaced=False)
PERSISTENT_VOLUME_CLAIMS = _resource("/api/v1", "persistentvolumeclaims", PersistentVolumeClaim)
DEPLOYMENTS = _resource("/apis/apps/v1", "deployments", Replicated)
REPLICA_SETS = _resource("/apis/apps/v1", "replicasets", Replicated)
STATEFUL_SETS = _resource("/apis/apps/v1", "statefulsets", Replicated)
DAEMON_SETS = _resource("/apis/apps/v1", "daemonsets", DaemonSet)
JOBS = _resource("/apis/batch/v1", "jobs", Job)
CRON_JOBS = _resource("/apis/batch/v1", "cronjobs", CronJob)
HPAS = _resource("/apis/autoscaling/v2", "horizontalpodautoscalers", Hpa)
ENDPOINT_SLICES = _resource("/apis/discovery.k8s.io/v1", "endpointslices", EndpointSlice)
CLUSTER_RESOURCE_QUOTAS = _resource(
    "/apis/quota.openshift.io/v1", "clusterresourcequotas", ClusterResourceQuota, namespaced=False
)
