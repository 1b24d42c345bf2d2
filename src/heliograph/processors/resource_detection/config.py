"""Configuration of resource_detection.

Source: opentelemetry-collector-contrib, processor/resourcedetectionprocessor (0.156).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from heliograph.component.config import Decoder, Duration, Node, key
from heliograph.component.regex import RegexError, compile_text
from heliograph.kubernetes.access import AuthType
from heliograph.processors.resource_detection import attributes
from heliograph.processors.resource_detection.attributes import SystemAttributes as SystemAttributes

_ELSEWHERE = (
    *("akamai", "alibaba_ecs", "consul", "digitalocean", "dynatrace", "elasticbeanstalk", "heroku", "hetzner"),
    *("ibmcloud_classic", "ibmcloud_vpc", "lambda", "nova", "openshift", "oraclecloud", "scaleway", "tencent_cvm"),
    *("upcloud", "vultr"),
)
DETECTORS = (*("env", "system", "docker", "gcp", "ec2", "ecs", "eks", "azure", "aks", "k8s_api", "k8snode", "kubeadm"),)
DEFAULT_ATTEMPTS = 3
_SWITCHES = "Which attributes to set: name -> {enabled: true|false}."
_CONNECTION = (
    *("max_idle_conns", "max_idle_conns_per_host", "max_conns_per_host", "idle_conn_timeout", "disable_keep_alives"),
    *("force_attempt_http2", "http2_read_idle_timeout", "http2_ping_timeout", "proxy_url", "tls", "compression"),
    *("compression_params", "headers", "cookies", "auth", "endpoint", "read_buffer_size", "write_buffer_size"),
    *("middlewares",),
)


class HostnameSource(StrEnum):
    """How to find the machine's name."""

    OS = "os"
    DNS = "dns"
    CNAME = "cname"
    LOOKUP = "lookup"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemConfig:
    """This machine's name, addresses, operating system and processor."""

    hostname_sources: list[HostnameSource] = key(
        list, "Where the name comes from, tried in this order: os, dns, cname, lookup. Default: dns, then os."
    )
    resource_attributes: attributes.SystemAttributes = key(attributes.SystemAttributes.default, _SWITCHES)


@dataclass(frozen=True, slots=True, kw_only=True)
class AksConfig:
    """Azure Kubernetes Service; silent outside of a Kubernetes cluster on Azure."""

    resource_attributes: attributes.AksAttributes = key(attributes.AksAttributes.default, _SWITCHES)


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureConfig:
    """The Azure virtual machine this runs on, from its instance metadata service."""

    tags: list[str] = key(list, "Regular expressions: tags whose names match become azure.tag.<name>.")
    resource_attributes: attributes.AzureAttributes = key(attributes.AzureAttributes.default, _SWITCHES)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from _patterns("tags", self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerConfig:
    """The machine behind the Docker daemon, from DOCKER_HOST or /var/run/docker.sock."""

    resource_attributes: attributes.DockerAttributes = key(attributes.DockerAttributes.default, _SWITCHES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2Config:
    """The EC2 instance this runs on, from its instance metadata service."""

    tags: list[str] = key(list, "Regular expressions: tags whose names match become ec2.tag.<name>.")
    tags_from_imds: bool = key(False, "Read tags from the metadata service instead of the EC2 API (DescribeTags).")
    max_attempts: int = key(
        DEFAULT_ATTEMPTS, "How often to ask; above 3 a metadata service that refuses is waited for, too."
    )
    max_backoff: Duration = key(Duration(20.0), "Longest time between two attempts.")
    fail_on_missing_metadata: bool = key(False, "Whether it is a failure that there is no metadata service.")
    resource_attributes: attributes.Ec2Attributes = key(attributes.Ec2Attributes.default, _SWITCHES)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from _patterns("tags", self.tags)
        if self.max_attempts < 0:
            yield "max_attempts", "must not be negative"
        if self.max_backoff < 0:
            yield "max_backoff", "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class EcsConfig:
    """The ECS task this runs in, from its task metadata endpoint."""

    resource_attributes: attributes.EcsAttributes = key(attributes.EcsAttributes.default, _SWITCHES)


@dataclass(frozen=True, slots=True, kw_only=True)
class EksConfig:
    """Amazon's Kubernetes; the instance metadata service, or else the node and the EC2 API (DescribeInstances)."""

    node_from_env_var: str = key("", "Environment variable with the node's name, for when there is no metadata.")
    resource_attributes: attributes.EksAttributes = key(attributes.EksAttributes.default, _SWITCHES)


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpConfig:
    """Google Cloud: Compute Engine, Kubernetes Engine, Cloud Run, Functions, App Engine, bare metal."""

    labels: list[str] = key(
        list, "Regular expressions: instance labels whose names match become gcp.gce.instance.labels.<name>."
    )
    resource_attributes: attributes.GcpAttributes = key(attributes.GcpAttributes.default, _SWITCHES)

    def check(self) -> Iterator[tuple[str, str]]:
        yield from _patterns("labels", self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class K8sApiConfig:
    """The node and the cluster, from the Kubernetes API."""

    auth_type: AuthType = key("serviceAccount", "How to authenticate to the Kubernetes API.")
    context: str = key("", "Context of the kubeconfig; empty: its current one.")
    kube_api_qps: float = key(0.0, "Accepted; it asks twice for each detection.")
    kube_api_burst: int = key(0, "Accepted; it asks twice for each detection.")
    node_from_env_var: str = key("", "Environment variable with the node's name. Empty: K8S_NODE_NAME.")
    resource_attributes: attributes.K8sApiAttributes = key(attributes.K8sApiAttributes.default, _SWITCHES)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeadmConfig:
    """The cluster as kubeadm made it, from the ConfigMap kubeadm-config."""

    auth_type: AuthType = key("serviceAccount", "How to authenticate to the Kubernetes API.")
    context: str = key("", "Context of the kubeconfig; empty: its current one.")
    kube_api_qps: float = key(0.0, "Accepted; it asks twice for each detection.")
    kube_api_burst: int = key(0, "Accepted; it asks twice for each detection.")
    resource_attributes: attributes.KubeadmAttributes = key(attributes.KubeadmAttributes.default, _SWITCHES)


class Detectors(tuple[str, ...]):
    """Names of detectors, in order."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Detectors | None":
        """Read the list; unknown and unsupported names are noted."""
        if not isinstance(node.value, list):
            decoder.problem(node, "expected a list of detectors")
            return None
        names: list[str] = []
        for entry in node.value:
            name: Any = entry.value
            name = name.strip() if isinstance(name, str) else name
            if name in DETECTORS:
                names.append(name)
            elif name in _ELSEWHERE:
                decoder.problem(entry, f"the detector {name!r} is not supported here", f"use {', '.join(DETECTORS)}")
            else:
                decoder.problem(entry, f"unknown detector {name!r}", f"one of: {', '.join(DETECTORS)}")
        return cls(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceDetectionConfig:
    """Adds attributes of the machine, its cloud and its cluster to resources."""

    detectors: Detectors = key(lambda: Detectors(["env"]), "Detectors in order; the first to find an attribute wins.")
    override: bool = key(True, "Whether what is detected replaces attributes that came in.")
    timeout: Duration = key(Duration(5.0), "Longest time for all detectors together.")
    refresh_interval: Duration = key(Duration(0.0), "Detect again after this time; 0 for never.")
    system: SystemConfig = key(SystemConfig, "Options of the system detector.")
    docker: DockerConfig = key(DockerConfig, "Options of the docker detector.")
    gcp: GcpConfig = key(GcpConfig, "Options of the gcp detector.")
    ec2: Ec2Config = key(Ec2Config, "Options of the ec2 detector.")
    ecs: EcsConfig = key(EcsConfig, "Options of the ecs detector.")
    eks: EksConfig = key(EksConfig, "Options of the eks detector.")
    azure: AzureConfig = key(AzureConfig, "Options of the azure detector.")
    aks: AksConfig = key(AksConfig, "Options of the aks detector.")
    k8s_api: K8sApiConfig = key(K8sApiConfig, "Options of the k8s_api detector.")
    k8snode: K8sApiConfig = key(K8sApiConfig, "Options of the k8snode detector, the older name of k8s_api.")
    kubeadm: KubeadmConfig = key(KubeadmConfig, "Options of the kubeadm detector.")
    UNSUPPORTED: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(_ELSEWHERE, "this detector is not supported here; remove it"),
        **dict.fromkeys(_CONNECTION, "metadata services are asked straight, with no options but timeout; remove it"),
        "attributes": "switch attributes in <detector>::resource_attributes instead",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.detectors:
            yield "detectors", "must name at least one detector"
        if self.timeout <= 0:
            yield "timeout", "must be positive"
        if self.refresh_interval < 0:
            yield "refresh_interval", "must not be negative"


def _patterns(name: str, patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    for position, pattern in enumerate(patterns):
        try:
            compile_text(pattern)
        except RegexError as error:
            yield f"{name}.{position}", str(error)


def matching(patterns: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
    """Those of the pairs whose names match one of the patterns somewhere, as in Go."""
    compiled = [compile_text(pattern) for pattern in patterns]
    return {name: value for name, value in names.items() if any(pattern.search(name) for pattern in compiled)}
