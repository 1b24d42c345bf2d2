"""The Kubernetes of the lab, with a node that runs pods: started when it does not run, and one for all tests.

A conftest that needs it imports the fixture `kubernetes`. Nodes that a test makes up itself turn NotReady after 40 s,
since the controllers miss their kubelet; their pods stay for five minutes more.
"""

import json
import os
import subprocess
import time
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

    def __init__(self, kubeconfig: Path, kube: Path) -> None:
        self.kubeconfig = kubeconfig
        self.kube = kube
        self._access = access("kubeConfig", "", {"KUBECONFIG": str(kubeconfig)})

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self._access.server

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        accept: tuple[int, ...] = (200, 201, 202),
        *,
        lines: bool = False,
    ) -> Any:
        """One request. lines: the answer is a watch's, of which the first event is wanted, {} when there is none.
        Raises AssertionError for another status than `accept`."""
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
        if lines:
            content = content.partition(b"\n")[0] or b"{}"
        return json.loads(content)

    def wait(self, path: str, wanted: Callable[[Any], Any], what: str, timeout: float = 30.0) -> Any:
        """What `wanted` makes of the answer to a GET, as soon as that is true."""
        end = time.monotonic() + timeout
        while True:
            if found := wanted(self.call("GET", path, accept=(200, 404))):
                return found
            assert time.monotonic() < end, f"{what} did not come about within {timeout} s"
            time.sleep(0.1)

    def run(self, *arguments: str, timeout: float = 120.0, stdin: str | None = None) -> str:
        """What a command of the lab prints: `kubectl`, `helm`, `image`. Raises AssertionError when it fails."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [self.kube, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=environment,
            input=stdin,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-3000:]}"
        return done.stdout


def _started(kube: Path, tries: int = 3) -> Path:
    """The kubeconfig of a cluster that runs.

    On a busy machine `kube up` can take a program that has not begun yet for one that has ended: then everything is
    cleared and started again.
    """
    for _ in range(tries):
        up = subprocess.run([kube, "up"], capture_output=True, text=True, check=False, timeout=300)
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
    yield Api(_started(kube), kube)
    if not running:
        subprocess.run([kube, "down"], capture_output=True, check=False, timeout=120)
