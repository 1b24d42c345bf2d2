"""Configuration of kubelet_stats.

Source: opentelemetry-collector-contrib, receiver/kubeletstatsreceiver README and config, and its `print-config`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from heliograph.component.config import Duration, key
from heliograph.component.switches import Switches
from heliograph.kubernetes.access import AuthType
from heliograph.kubernetes.config import ApiConfig
from heliograph.kubernetes.kubelet import Kubelet, KubeletAuthType
from heliograph.receivers.kubelet_stats.metrics import METRICS, NODE_SHARES

MetricGroup = Literal["container", "pod", "node", "volume"]
ExtraLabel = Literal["container.id", "k8s.volume.type"]


class KubeletMetrics(Switches):
    """Metrics of the receiver."""

    DEFAULTS = {name: metric.on for name, metric in METRICS.items()}


class KubeletAttributes(Switches):
    """Resource attributes of the receiver."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        "k8s.node.name": True,
        "k8s.node.system_container.name": True,
        "k8s.pod.uid": True,
        "k8s.pod.name": True,
        "k8s.namespace.name": True,
        "k8s.container.name": True,
        "container.id": True,
        "k8s.volume.name": True,
        "k8s.volume.type": True,
        "k8s.persistentvolumeclaim.name": True,
        "aws.volume.id": False,
        "fs.type": False,
        "gce.pd.name": False,
        "glusterfs.endpoints.name": False,
        "glusterfs.path": False,
        "partition": False,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DialerConfig:
    """Connecting to the kubelet."""

    timeout: Duration = key(Duration(0), "Longest time for connecting; 0: 15 s.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedApiConfig(ApiConfig):
    """The Kubernetes API server."""

    auth_type: AuthType = key(..., "As whom to ask the API server: serviceAccount, kubeConfig or none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllInterfaces:
    """Whether all network interfaces are reported, or the default one alone."""

    node: bool = key(False, "All interfaces of the node.")
    pod: bool = key(False, "All interfaces of each pod.")


def _groups() -> list[MetricGroup]:
    return ["container", "pod", "node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletStatsConfig:
    """Metrics of a node, its pods, containers and volumes, from its kubelet."""

    auth_type: KubeletAuthType = key("tls", "As whom to ask: serviceAccount, tls, kubeConfig or none.")
    endpoint: str = key(
        "", "Address of the kubelet, host:port or URL; empty: this machine's name. With kubeConfig: the node's name."
    )
    ca_file: str = key("", "File with the CAs that the kubelet's certificate may come from, beside the system's.")
    cert_file: str = key("", "File with the client certificate.")
    key_file: str = key("", "File with the client certificate's key.")
    insecure_skip_verify: bool = key(False, "Do not verify the kubelet's certificate.")
    context: str = key("", "Context of the kubeconfig; empty: its current one.")
    kube_api_qps: float = key(0.0, "Most requests a second to the kubelet; 0: no limit.")
    kube_api_burst: int = key(0, "Requests that may come at once before kube_api_qps holds.")
    dialer: DialerConfig = key(DialerConfig, "Connecting to the kubelet.")
    collection_interval: Duration = key(Duration(10.0), "Time between two scrapes.")
    initial_delay: Duration = key(Duration(1.0), "Time before the first scrape.")
    timeout: Duration = key(Duration(0.0), "Longest time that a scrape may take; 0 for no limit.")
    metric_groups: list[MetricGroup] = key(_groups, "What to report on: container, pod, node, volume.")
    extra_metadata_labels: list[ExtraLabel] = key(
        list, "Resource attributes that need the kubelet's list of pods: container.id, k8s.volume.type."
    )
    k8s_api_config: NamedApiConfig | None = key(
        None, "API server to ask for the volumes behind claims and for the node's capacity."
    )
    node: str = key("", "Name of the node, for the *.node.utilization metrics.")
    collect_all_network_interfaces: AllInterfaces = key(AllInterfaces, "Which network interfaces to report.")
    metrics: KubeletMetrics = key(KubeletMetrics.default, "Which metrics to report: name -> {enabled: true|false}.")
    resource_attributes: KubeletAttributes = key(
        KubeletAttributes.default, "Which resource attributes to set: name -> {enabled: true|false}."
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.collection_interval <= 0:
            yield "collection_interval", "must be positive"
        for name in ("initial_delay", "timeout"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
        if self.auth_type == "tls":
            for name in ("cert_file", "key_file") + (() if self.insecure_skip_verify else ("ca_file",)):
                if not getattr(self, name):
                    yield name, "auth_type tls needs it"
        elif bool(self.cert_file) != bool(self.key_file):
            yield "cert_file", "cert_file and key_file need one another"
        if self.auth_type == "kubeConfig" and not self.endpoint:
            yield "endpoint", "auth_type kubeConfig needs the node's name here"
        if len(set(self.extra_metadata_labels)) < len(self.extra_metadata_labels):
            yield "extra_metadata_labels", "names a label twice"
        wanted = sorted(NODE_SHARES & self.metrics)
        if wanted and not self.node:
            yield "node", f"needed for {', '.join(wanted)}"
        for name in ("kube_api_qps", "kube_api_burst"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"

    def kubelet(self) -> Kubelet:
        """Which kubelet to ask, and as whom."""
        return Kubelet(
            auth_type=self.auth_type,
            endpoint=self.endpoint,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
            insecure_skip_verify=self.insecure_skip_verify,
            context=self.context,
        )
