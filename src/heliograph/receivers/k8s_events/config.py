"""Configuration of k8s_events.

Source: opentelemetry-collector-contrib, receiver/k8seventsreceiver config.schema.yaml and internal/k8sconfig.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import Duration, key
from heliograph.component.ids import ComponentId
from heliograph.kubernetes.config import ApiConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class K8sEventsConfig(ApiConfig):
    """Events of a cluster as log records."""

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
        yield from ApiConfig.check(self)
        if len(set(self.namespaces)) < len(self.namespaces):
            yield "namespaces", "names a namespace twice"
