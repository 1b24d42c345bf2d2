"""What the kubelet answers to /stats/summary and /pods, cut down to the fields in use while it is decoded.

Sources: k8s.io/kubelet/pkg/apis/stats/v1alpha1 (numbers that the runtime does not know are absent), and the Pod of the
Kubernetes API reference.
"""

import msgspec

from heliograph.kubernetes.errors import BadAnswer


class Cpu(msgspec.Struct, rename="camel", gc=False):
    """usage_nano_cores: rate. usage_core_nano_seconds: total."""

    usage_nano_cores: int | None = None
    usage_core_nano_seconds: int | None = None


_MEMORY = {
    "rss_bytes": "rssBytes",
    "available_bytes": "availableBytes",
    "usage_bytes": "usageBytes",
    "working_set_bytes": "workingSetBytes",
    "page_faults": "pageFaults",
    "major_page_faults": "majorPageFaults",
}


class Memory(msgspec.Struct, rename=_MEMORY, gc=False):
    """Bytes and counts."""

    available_bytes: int | None = None
    usage_bytes: int | None = None
    working_set_bytes: int | None = None
    rss_bytes: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None


class FileSystem(msgspec.Struct, rename="camel", gc=False):
    """Bytes and inodes."""

    available_bytes: int | None = None
    capacity_bytes: int | None = None
    used_bytes: int | None = None
    inodes: int | None = None
    inodes_free: int | None = None
    inodes_used: int | None = None


class Interface(msgspec.Struct, rename="camel", gc=False):
    """Counters of a network interface."""

    name: str = ""
    rx_bytes: int | None = None
    rx_errors: int | None = None
    tx_bytes: int | None = None
    tx_errors: int | None = None


class Network(Interface, rename="camel", gc=True):
    """The default interface, and all of them."""

    interfaces: list[Interface] | None = None


class Volume(FileSystem, rename="camel", gc=False):
    """A mounted volume."""

    name: str = ""


class Container(msgspec.Struct, rename="camel"):
    """start_time: RFC 3339."""

    name: str = ""
    start_time: str | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    rootfs: FileSystem | None = None
    logs: FileSystem | None = None


class PodRef(msgspec.Struct, gc=False):
    """Which pod."""

    name: str = ""
    namespace: str = ""
    uid: str = ""


_PODSTATS = {
    "pod_ref": "podRef",
    "start_time": "startTime",
    "ephemeral_storage": "ephemeral-storage",
    "volumes": "volume",
}


class PodStats(msgspec.Struct, rename=_PODSTATS):
    """A pod with its containers and volumes."""

    pod_ref: PodRef
    start_time: str | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    network: Network | None = None
    ephemeral_storage: FileSystem | None = None
    containers: list[Container] | None = None
    volumes: list[Volume] | None = None


class NodeStats(msgspec.Struct, rename="camel"):
    """The node."""

    node_name: str = ""
    start_time: str | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    network: Network | None = None
    fs: FileSystem | None = None
    system_containers: list[Container] | None = None


class Summary(msgspec.Struct):
    """The answer to /stats/summary."""

    node: NodeStats
    pods: list[PodStats] | None = None


class Resources(msgspec.Struct):
    """Quantities as text."""

    limits: dict[str, str | int | float] | None = None
    requests: dict[str, str | int | float] | None = None


class ContainerSpec(msgspec.Struct):
    """One of spec.containers."""

    name: str = ""
    resources: Resources | None = None


class Claim(msgspec.Struct, rename="camel", gc=False):
    """A reference to a PersistentVolumeClaim."""

    claim_name: str = ""


_DISK = {
    "volume_id": "volumeID",
    "pd_name": "pdName",
    "fs_type": "fsType",
    "partition": "partition",
    "endpoints": "endpoints",
    "path": "path",
}


class Disk(msgspec.Struct, rename=_DISK, gc=False):
    """An AWS or Google disk, or a GlusterFS volume. endpoints is endpointsName of the API's Go types."""

    volume_id: str = ""
    pd_name: str = ""
    fs_type: str = ""
    partition: int = 0
    endpoints: str = ""
    path: str = ""


_VOLUMESOURCE = {
    "config_map": "configMap",
    "downward_api": "downwardAPI",
    "empty_dir": "emptyDir",
    "claim": "persistentVolumeClaim",
    "host_path": "hostPath",
    "aws": "awsElasticBlockStore",
    "gce": "gcePersistentDisk",
}


class VolumeSource(msgspec.Struct, rename=_VOLUMESOURCE):
    """One of a pod's spec.volumes, or the spec of a PersistentVolume. Of most kinds it only matters that it is one."""

    name: str = ""
    config_map: dict[str, msgspec.Raw] | None = None
    downward_api: dict[str, msgspec.Raw] | None = None
    empty_dir: dict[str, msgspec.Raw] | None = None
    secret: dict[str, msgspec.Raw] | None = None
    claim: Claim | None = None
    host_path: dict[str, msgspec.Raw] | None = None
    local: dict[str, msgspec.Raw] | None = None
    aws: Disk | None = None
    gce: Disk | None = None
    glusterfs: Disk | None = None


class PodSpec(msgspec.Struct):
    """Of a pod."""

    containers: list[ContainerSpec] | None = None
    volumes: list[VolumeSource] | None = None


class ContainerStatus(msgspec.Struct, rename={"container_id": "containerID"}, gc=False):
    """container_id: with the runtime's scheme before it; empty until it was made."""

    name: str = ""
    container_id: str = ""


class PodStatus(msgspec.Struct, rename="camel"):
    """Of a pod."""

    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class PodMetadata(msgspec.Struct, gc=False):
    """Of a pod."""

    uid: str = ""


class Pod(msgspec.Struct):
    """One of the kubelet's pods."""

    metadata: PodMetadata
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class Pods(msgspec.Struct):
    """The answer to /pods."""

    items: list[Pod] | None = None


class ClaimSpec(msgspec.Struct, rename="camel", gc=False):
    """volume_name: empty until the claim is bound."""

    volume_name: str = ""


class PersistentVolumeClaim(msgspec.Struct):
    """Of the API server."""

    spec: ClaimSpec = msgspec.field(default_factory=ClaimSpec)


class PersistentVolume(msgspec.Struct):
    """Of the API server."""

    spec: VolumeSource = msgspec.field(default_factory=VolumeSource)


_SUMMARY = msgspec.json.Decoder(Summary)
_PODS = msgspec.json.Decoder(Pods)
_CLAIM = msgspec.json.Decoder(PersistentVolumeClaim)
_VOLUME = msgspec.json.Decoder(PersistentVolume)


def summary(body: bytes) -> Summary:
    """Read the answer to /stats/summary. Raises BadAnswer."""
    try:
        return _SUMMARY.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadAnswer(f"/stats/summary: {error}") from None


def pods(body: bytes) -> Pods:
    """Read the answer to /pods. Raises BadAnswer."""
    try:
        return _PODS.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadAnswer(f"/pods: {error}") from None


def claim(body: bytes) -> PersistentVolumeClaim:
    """Read a PersistentVolumeClaim. Raises BadAnswer."""
    try:
        return _CLAIM.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadAnswer(f"PersistentVolumeClaim: {error}") from None


def volume(body: bytes) -> PersistentVolume:
    """Read a PersistentVolume. Raises BadAnswer."""
    try:
        return _VOLUME.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadAnswer(f"PersistentVolume: {error}") from None
