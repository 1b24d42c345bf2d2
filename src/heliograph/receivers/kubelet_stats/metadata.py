"""What /pods adds to the kubelet's figures: container ids, kinds of volumes, limits and requests."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from heliograph.kubernetes.quantity import quantity
from heliograph.receivers.kubelet_stats.answers import ContainerSpec, Disk, Pods, VolumeSource

_SCHEME = re.compile(r"^[\w-]+://", re.ASCII)
Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Share:
    """Limits and requests; 0.0 where there is none. Cores and bytes."""

    cpu_limit: float = 0.0
    cpu_request: float = 0.0
    memory_limit: float = 0.0
    memory_request: float = 0.0


NOTHING = Share()


class PodMetadata:
    """The pods of a node by uid."""

    def __init__(self, pods: Pods) -> None:
        self._ids: dict[tuple[str, str], str] = {}
        self._volumes: dict[tuple[str, str], VolumeSource] = {}
        self._containers: dict[tuple[str, str], Share] = {}
        self._pods: dict[str, Share] = {}
        for pod in pods.items or ():
            uid = pod.metadata.uid
            for status in (*(pod.status.container_statuses or ()), *(pod.status.init_container_statuses or ())):
                self._ids.setdefault((uid, status.name), _SCHEME.sub("", status.container_id.strip()))
            for volume in pod.spec.volumes or ():
                self._volumes.setdefault((uid, volume.name), volume)
            shares = [_share(container) for container in pod.spec.containers or ()]
            for container, share in zip(pod.spec.containers or (), shares, strict=True):
                self._containers[uid, container.name] = share
            self._pods[uid] = _sum(shares)

    def container_id(self, uid: str, container: str) -> str | None:
        """Without the runtime's scheme; "" until the container was made, None when it is not known."""
        return self._ids.get((uid, container))

    def volume(self, uid: str, name: str) -> VolumeSource | None:
        """Where a pod's volume comes from."""
        return self._volumes.get((uid, name))

    def share(self, uid: str, container: str | None = None) -> Share:
        """Of a container, or of the pod: the sum of its containers, where each of them has one."""
        if container is None:
            return self._pods.get(uid, NOTHING)
        return self._containers.get((uid, container), NOTHING)


def volume_attributes(source: VolumeSource) -> Pairs:
    """Resource attributes of a volume in a pod; none for kinds that upstream does not name."""
    for kind, there in (
        ("configMap", source.config_map),
        ("downwardAPI", source.downward_api),
        ("emptyDir", source.empty_dir),
        ("secret", source.secret),
    ):
        if there is not None:
            return [("k8s.volume.type", kind)]
    if source.claim is not None:
        return [
            ("k8s.volume.type", "persistentVolumeClaim"),
            ("k8s.persistentvolumeclaim.name", source.claim.claim_name),
        ]
    if source.host_path is not None:
        return [("k8s.volume.type", "hostPath")]
    return _disk_attributes(source)


def persistent_attributes(source: VolumeSource) -> Pairs:
    """Resource attributes of the PersistentVolume behind a claim; they come before the claim's own."""
    if source.local is not None:
        return [("k8s.volume.type", "local")]
    return _disk_attributes(source)


def _disk_attributes(source: VolumeSource) -> Pairs:
    if source.aws is not None:
        return [
            ("k8s.volume.type", "awsElasticBlockStore"),
            ("aws.volume.id", source.aws.volume_id),
            *_parts(source.aws),
        ]
    if source.gce is not None:
        return [("k8s.volume.type", "gcePersistentDisk"), ("gce.pd.name", source.gce.pd_name), *_parts(source.gce)]
    if source.glusterfs is not None:
        return [
            ("k8s.volume.type", "glusterfs"),
            ("glusterfs.endpoints.name", source.glusterfs.endpoints),
            ("glusterfs.path", source.glusterfs.path),
        ]
    return []


def _parts(disk: Disk) -> Pairs:
    return [("fs.type", disk.fs_type), ("partition", str(disk.partition))]


def _share(container: ContainerSpec) -> Share:
    resources = container.resources
    if resources is None:
        return NOTHING
    limits, requests = resources.limits or {}, resources.requests or {}
    return Share(
        _number(limits, "cpu"), _number(requests, "cpu"), _number(limits, "memory"), _number(requests, "memory")
    )


def _number(quantities: Mapping[str, str | int | float], name: str) -> float:
    try:
        return max(0.0, quantity(str(quantities.get(name, "0"))))
    except ValueError:
        return 0.0


def _sum(shares: list[Share]) -> Share:
    """0.0 where one of them has none."""
    columns = zip(*((s.cpu_limit, s.cpu_request, s.memory_limit, s.memory_request) for s in shares), strict=True)
    return Share(*(sum(column) if all(column) else 0.0 for column in columns))
