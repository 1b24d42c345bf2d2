"""The Kubernetes of the lab: an API server with its controllers and scheduler, started when it does not run."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

from heliograph.kubernetes.access import access

_MERGE = "application/merge-patch+json"


def missing(what: str) -> NoReturn:
    """Skip because it cannot run here; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and in CI no test is skipped for that")
    pytest.skip(what)


class Api:
    """Writes objects, as kubectl and the kubelet do."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._access = access("kubeConfig", "", {"KUBECONFIG": str(kubeconfig)})

    def call(self, method: str, path: str, body: Any = None, accept: tuple[int, ...] = (200, 201, 202)) -> Any:
        """One request. Raises AssertionError for another status than `accept`."""
        parts = urlsplit(self._access.server)
        assert parts.hostname is not None
        connection = HTTPSConnection(parts.hostname, parts.port, context=self._access.tls, timeout=30)
        kind = _MERGE if method == "PATCH" else "application/json"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": kind})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        assert response.status in accept, f"{method} {path}: {response.status} {content[:500]!r}"
        return json.loads(content)

    def wait(self, path: str, wanted: Callable[[Any], Any], what: str, timeout: float = 30.0) -> Any:
        """What `wanted` makes of the answer to a GET, as soon as that is true."""
        end = time.monotonic() + timeout
        while True:
            if found := wanted(self.call("GET", path, accept=(200, 404))):
                return found
            assert time.monotonic() < end, f"{what} did not come about within {timeout} s"
            time.sleep(0.1)


def _started(kube: Path, tries: int = 3) -> Path:
    """The kubeconfig of a cluster that runs.

    On a busy machine `kube up` can take a program that has not begun yet for one that has ended: then everything is
    cleared and started again.
    """
    for _ in range(tries):
        up = subprocess.run([kube, "up", "--control-plane"], capture_output=True, text=True, check=False, timeout=300)
        if up.returncode == 0:
            return Path(up.stdout.strip().splitlines()[-1])
        subprocess.run([kube, "down"], capture_output=True, check=False, timeout=120)
    missing(f"the cluster of the lab did not start in {tries} tries: {up.stderr[-2000:]}")


@pytest.fixture(scope="session")
def kubernetes(lab: Path) -> Iterator[Api]:
    """A cluster. One that was running before the tests goes on running after them."""
    kube = lab / "kubernetes" / "kube"
    if not kube.exists():
        missing(f"{kube} is not here")
    if os.geteuid() != 0:
        missing("the cluster of the lab must be started as root")
    running = subprocess.run([kube, "status"], capture_output=True, check=False).returncode == 0
    yield Api(_started(kube))
    if not running:
        subprocess.run([kube, "down"], capture_output=True, check=False, timeout=120)


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
