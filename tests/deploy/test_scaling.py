"""The deployment under load while its parts come and go: gateways are scaled, every role is rolled, a daemon is killed.

Numbered spans go to the node's daemon and a pod writes numbered lines, all the time.
"""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployment import real_node
from kubernetes_lab import Api
from serverless import Deployment, serverless
from tiers import SpanSender

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]
LOAD_SECONDS = 400.0
FOLLOWED_SECONDS = 30.0
"""After which a new gateway has its share."""
MEASURED_SECONDS = 30.0
SPREAD = 0.2
WRITER = """
import time
number = 0
while True:
    print("numbered line", number, flush=True)
    number += 1
    time.sleep(0.02)
"""


@contextmanager
def spans_to(host: str) -> Iterator[SpanSender]:
    """Numbered spans to a daemon; ends when all that was begun is acknowledged."""
    ready: list[SpanSender] = []
    begun = threading.Event()

    async def send() -> None:
        ready.append(SpanSender(4317, host))
        begun.set()
        await ready[0].run(LOAD_SECONDS)

    thread = threading.Thread(target=lambda: asyncio.run(send()))
    thread.start()
    try:
        assert begun.wait(10)
        yield ready[0]
    finally:
        ready[0].enough = True
        thread.join(60)
        assert not thread.is_alive()


def write_lines(deployed: Deployment, image: str) -> None:
    """A pod that writes numbered lines."""
    node = real_node(deployed.release.api)
    container = {"name": "writer", "image": image, "command": ["/usr/bin/python3.11", "-c", WRITER]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "writer"},
        "spec": {"nodeSelector": node.selector, "containers": [container], "terminationGracePeriodSeconds": 0},
    }
    run = deployed.release.api.run
    run("kubectl", "apply", "-n", deployed.shop, "-f", "-", stdin=json.dumps(pod))
    run("kubectl", "wait", "-n", deployed.shop, "pod/writer", "--for=condition=Ready", "--timeout=60s")


def kill(uid: str) -> None:
    """SIGKILL to every process of a pod. uid: the pod's."""
    marks = (uid, uid.replace("-", "_"))
    killed = 0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                inside = (folder / "cgroup").read_text()
                program = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if any(mark in inside for mark in marks) and b"heliograph" in program:
                os.kill(int(folder.name), signal.SIGKILL)
                killed += 1
    assert killed, "the pod has no process"


def scaled(deployed: Deployment, replicas: int) -> None:
    release = deployed.release
    release.kubectl("scale", "deployment/heliograph-gateway", f"--replicas={replicas}")
    release.kubectl("rollout", "status", "deployment/heliograph-gateway", "--timeout=90s")
    end = time.monotonic() + 90
    while len(release.pods("gateway")) != replicas:
        assert time.monotonic() < end, release.told()
        time.sleep(0.5)


def rolled(deployed: Deployment, what: str) -> None:
    deployed.release.kubectl("rollout", "restart", what)
    deployed.release.kubectl("rollout", "status", what, "--timeout=120s")


def test_nothing_is_lost_while_roles_come_and_go(kubernetes: Api, images: tuple[str, str], tmp_path: Path) -> None:
    """Gateways 1 -> 4 -> 1 with an even share for each of the four, a rolling update of every role, a killed daemon:
    each span that was acknowledged and each line that was written is there, a line under one identity."""
    alone = {"gateway": {"autoscaling": {"enabled": False}, "replicas": 1}}
    with serverless(kubernetes, images, tmp_path, alone) as deployed:
        release = deployed.release
        write_lines(deployed, images[1])
        with spans_to(real_node(kubernetes).address) as sender:
            scaled(deployed, 4)
            time.sleep(FOLLOWED_SECONDS)
            name = "otelcol_receiver_accepted_spans"
            before = release.metric("gateway", name)
            time.sleep(MEASURED_SECONDS)
            after = release.metric("gateway", name)
            shares = {pod: after[pod] - before[pod] for pod in before}
            mean = sum(shares.values()) / len(shares)
            print("shares", sorted(shares.values()), "refusals", len(sender.refusals))
            assert len(shares) == 4
            assert all(abs(share - mean) <= SPREAD * mean for share in shares.values()), shares
            scaled(deployed, 1)
            for what in (
                "deployment/heliograph-gateway",
                "daemonset/heliograph-daemon",
                "deployment/heliograph-cluster",
            ):
                rolled(deployed, what)
            (daemon,) = [pod for pod in release.pods("daemon") if "deletionTimestamp" not in pod["metadata"]]
            kill(daemon["metadata"]["uid"])
            release.kubectl("rollout", "status", "daemonset/heliograph-daemon", "--timeout=120s")
            time.sleep(5)
        last = release.api.run("kubectl", "logs", "-n", deployed.shop, "writer", "--tail=1")
        count = int(last.split()[-1]) + 1
        assert sender.acknowledged > 0
        check(deployed, sender.acknowledged, count)


def check(deployed: Deployment, spans: int, lines: int) -> None:
    """Wait for everything, and see that no line has two identities."""
    end = time.monotonic() + 90
    while True:
        found: set[int] = set()
        written: dict[int, set[str]] = {}
        copies = 0
        for document in deployed.documents:
            if document["signal"] == "traces" and document["resource"].get("service.name") == "sender":
                number = int(document["trace"], 16)
                copies += number in found
                found.add(number)
            elif document["signal"] == "logs" and str(document["body"]).startswith("numbered line "):
                number = int(document["body"].split()[-1])
                written.setdefault(number, set()).add(document["attributes"]["log.record.uid"])
        missing = set(range(spans)) - found, set(range(lines)) - written.keys()
        if not any(missing):
            break
        shown = [(len(numbers), sorted(numbers)[:5]) for numbers in missing]
        assert time.monotonic() < end, f"missing spans and lines: {shown}; {deployed.release.told()}"
        time.sleep(1)
    print("spans", spans, "copies", copies, "lines", lines)
    assert [number for number, identities in written.items() if len(identities) > 1] == []
