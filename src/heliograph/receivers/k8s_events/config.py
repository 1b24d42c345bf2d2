"""Configuration of k8s_events.

Source: opentelemetry-collector-contrib, receiver/k8seventsreceiver config.schema.yaml and internal/k8sconfig.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heliograph.component.config import Duration, key
from heliograph.component.ids import ComponentId


@dataclass(frozen=True, slots=True, kw_only=True)
class K8sEventsConfig:
    """Events of a cluster as log records."""

    auth_type: Literal["none", "serviceAccount", "kubeConfig"] = key(
        "serviceAccount", "As whom to ask the API server: none, serviceAccount or kubeConfig."
    )
    context: str = key("", "Context of the kubeconfig; empty: its current one.")
    kube_api_qps: float = key(0.0, "Most requests a second to the API server; 0: no limit.")
    kube_api_burst: int = key(0, "Requests that may come at once before kube_api_qps holds.")
    namespaces: list[str] = key(list, "Namespaces whose events are collected; empty: all.")
    dedup_interval: Duration = key(
        Duration(0),
        "Least time between two records of one event that goes on being counted up; 0: a record for each change, "
        "negative: only the first one.",
    )
    k8s_leader_elector: ComponentId | None = key(
        None, "Extension that elects the replica that collects; without it, each one does."
    )
    storage: ComponentId | None = key(
        None, "Storage extension that keeps how far events were delivered, for the next start to go on from there."
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.kube_api_qps < 0:
            yield "kube_api_qps", "must not be negative"
        if self.kube_api_burst < 0:
            yield "kube_api_burst", "must not be negative"
        if len(set(self.namespaces)) < len(self.namespaces):
            yield "namespaces", "names a namespace twice"
