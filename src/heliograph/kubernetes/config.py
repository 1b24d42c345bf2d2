"""The keys of every component that asks the Kubernetes API.

Source: opentelemetry-collector-contrib, internal/k8sconfig.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import key
from heliograph.kubernetes.access import AuthType


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiConfig:
    """How to ask the API server. A component's own configuration is a subclass."""

    auth_type: AuthType = key("serviceAccount", "As whom to ask the API server: serviceAccount, kubeConfig or none.")
    context: str = key("", "Context of the kubeconfig; empty: its current one.")
    kube_api_qps: float = key(0.0, "Most requests a second to the API server; 0: no limit.")
    kube_api_burst: int = key(0, "Requests that may come at once before kube_api_qps holds.")

    def check(self) -> Iterator[tuple[str, str]]:
        """Mistakes in these keys; a subclass yields them before its own."""
        for name in ("kube_api_qps", "kube_api_burst"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
