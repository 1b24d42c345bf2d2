"""The parts of Kubernetes objects that components of this program use, and where the API has them.

Decoding by these types drops every other field at once, so that neither managed fields nor specifications are held.
A component that needs one more field adds it here; all watches of a kind then carry it. Where metadata is
enough, the server is asked for metadata alone (`partial`), which saves most of the bytes.
Source: Kubernetes API reference v1.36; "Receiving resources as PartialObjectMetadata" in its API concepts.
"""

from dataclasses import dataclass
from urllib.parse import quote

import msgspec


class Owner(msgspec.Struct, gc=False):
    """One of metadata.ownerReferences."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Metadata(msgspec.Struct, rename="camel"):
    """Of every object. creation_timestamp: RFC 3339, as it came."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None


class Object(msgspec.Struct, kw_only=True):
    """An object of which only the metadata matters."""

    metadata: Metadata


class ContainerSpec(msgspec.Struct, gc=False):
    """One of spec.containers."""

    name: str = ""
    image: str | None = None


class Terminated(msgspec.Struct, rename={"container_id": "containerID"}, gc=False):
    """How a container ended."""

    container_id: str | None = None


class LastState(msgspec.Struct):
    """The state before the present one."""

    terminated: Terminated | None = None


class ContainerStatus(
    msgspec.Struct,
    rename={
        "container_id": "containerID",
        "image_id": "imageID",
        "restart_count": "restartCount",
        "last_state": "lastState",
    },
):
    """One of status.containerStatuses. container_id: with the runtime's scheme before it, empty while it waits."""

    name: str = ""
    container_id: str | None = None
    image_id: str | None = None
    restart_count: int = 0
    last_state: LastState | None = None


class PodSpec(msgspec.Struct, rename="camel"):
    """Of a pod."""

    node_name: str | None = None
    hostname: str | None = None
    host_network: bool | None = None
    containers: list[ContainerSpec] | None = None
    init_containers: list[ContainerSpec] | None = None


class PodStatus(
    msgspec.Struct,
    rename={
        "pod_ip": "podIP",
        "start_time": "startTime",
        "phase": "phase",
        "container_statuses": "containerStatuses",
        "init_container_statuses": "initContainerStatuses",
    },
):
    """Of a pod. start_time: RFC 3339, as it came."""

    phase: str | None = None
    pod_ip: str | None = None
    start_time: str | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class Pod(Object, kw_only=True):
    """A pod."""

    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object. api: "/api/v1" or "/apis/<group>/<version>". namespaced: False for nodes and namespaces."""

    api: str
    plural: str
    shape: type[Object] = Object
    namespaced: bool = True
    partial: bool = True


@dataclass(frozen=True, slots=True)
class Scope:
    """Which objects of a kind. namespace: "" for all of them. fields, labels: selectors in the API's own text form."""

    namespace: str = ""
    fields: str = ""
    labels: str = ""

    def path(self, resource: Resource) -> str:
        """The path of the collection."""
        inside = f"/namespaces/{quote(self.namespace, safe='')}" if self.namespace and resource.namespaced else ""
        return f"{resource.api}{inside}/{resource.plural}"


PODS = Resource("/api/v1", "pods", Pod, partial=False)
NAMESPACES = Resource("/api/v1", "namespaces", namespaced=False)
NODES = Resource("/api/v1", "nodes", namespaced=False)
REPLICA_SETS = Resource("/apis/apps/v1", "replicasets")
DEPLOYMENTS = Resource("/apis/apps/v1", "deployments")
STATEFUL_SETS = Resource("/apis/apps/v1", "statefulsets")
DAEMON_SETS = Resource("/apis/apps/v1", "daemonsets")
JOBS = Resource("/apis/batch/v1", "jobs")
