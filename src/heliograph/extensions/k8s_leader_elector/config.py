"""Configuration of k8s_leader_elector.

Source: opentelemetry-collector-contrib, extension/k8sleaderelector config.schema.yaml and internal/k8sconfig.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import Duration, key
from heliograph.kubernetes.config import ApiConfig

JITTER = 1.2
"""Tries to become the leader come every retry_period and up to this share of it more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class K8sLeaderElectorConfig(ApiConfig):
    """Lets one of several replicas lead, by a Lease in the Kubernetes API."""

    lease_name: str = key(..., "Name of the Lease; the replicas of one deployment share it.")
    lease_namespace: str = key(..., "Namespace of the Lease.")
    lease_duration: Duration = key(
        Duration(15), "How long the others wait after the last sign of a leader before one of them takes over."
    )
    renew_deadline: Duration = key(Duration(10), "How long the leader goes on without having renewed the Lease.")
    retry_period: Duration = key(Duration(2), "Time between two tries to get or to renew the Lease.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from ApiConfig.check(self)
        for name in ("lease_name", "lease_namespace"):
            if not getattr(self, name):
                yield name, "must not be empty"
        if self.retry_period <= 0:
            yield "retry_period", "must be positive"
        elif self.renew_deadline <= JITTER * self.retry_period:
            yield "renew_deadline", f"must be greater than {JITTER} times retry_period"
        if self.lease_duration < 1:
            yield "lease_duration", "must be at least 1s: the Lease holds whole seconds"
        elif int(self.lease_duration) <= self.renew_deadline:
            yield "lease_duration", "must, in whole seconds, be greater than renew_deadline"
