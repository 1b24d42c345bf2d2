"""What tests with the Kubernetes of the lab use: the way to it, a namespace, a node."""

import uuid
from collections.abc import Iterator

import pytest

from kubernetes_lab import Api, kubernetes

__all__ = ["kubernetes"]


@pytest.fixture
def kubeconfig(kubernetes: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Components of this process with `auth_type: kubeConfig` find the lab's Kubernetes."""
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))


@pytest.fixture
def namespace(kubernetes: Api) -> Iterator[str]:
    """A namespace of its own, gone after the test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    body = {"metadata": {"name": name, "labels": {"stage": "test"}, "annotations": {"owner": "tests"}}}
    kubernetes.call("POST", "/api/v1/namespaces", body)
    kubernetes.wait(
        f"/api/v1/namespaces/{name}/serviceaccounts/default",
        lambda found: found.get("kind") == "ServiceAccount",
        "the default service account",
    )
    yield name
    pods = kubernetes.call("GET", f"/api/v1/namespaces/{name}/pods")
    kubernetes.call("DELETE", f"/api/v1/namespaces/{name}", {"gracePeriodSeconds": 0})
    for pod in pods["items"]:
        path = f"/api/v1/namespaces/{name}/pods/{pod['metadata']['name']}?gracePeriodSeconds=0"
        kubernetes.call("DELETE", path, accept=(200, 202, 404))


@pytest.fixture
def node(kubernetes: Api) -> Iterator[str]:
    """A node that nobody runs, but the scheduler believes in."""
    name = f"node-{uuid.uuid4().hex[:8]}"
    labels = {"kubernetes.io/hostname": name, "zone": "a"}
    kubernetes.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    size = {"cpu": "8", "memory": "32Gi", "pods": "250"}
    ready = {"type": "Ready", "status": "True", "reason": "Test", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
    status = {"capacity": size, "allocatable": size, "conditions": [ready]}
    kubernetes.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": status})
    yield name
    kubernetes.call("DELETE", f"/api/v1/nodes/{name}", accept=(200, 404))
