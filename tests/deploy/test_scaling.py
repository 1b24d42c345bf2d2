"""The deployment under load while its parts come and go: gateways are scaled, every role is rolled, a daemon is killed.

Numbered spans go to the node's daemon and a pod writes numbered lines, all the time.
"""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from deployment import real_node
from kubernetes_lab import Api
from numbered_load import spans_to, write_lines, written
from serverless import Deployment, serverless

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]
FOLLOWED_SECONDS = 30.0
"""After which a new gateway has its share."""
MEASURED_SECONDS = 30.0
NAMESPACE = "k8s.namespace.name"
SPREAD = 1.2
"""The greatest share by the smallest."""


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
    """Gateways 1 -> 4 -> 1 with an even share for each of the four, a rolling update of every role: each span that was
    acknowledged and each line that was written is there once. A killed daemon: each is there, and what was on its way
    at that moment may be there again, a line under its identity."""
    alone = {"gateway": {"autoscaling": {"enabled": False}, "replicas": 1}}
    with serverless(kubernetes, images, tmp_path, alone) as deployed:
        release = deployed.release
        write_lines(release, images[1])
        with spans_to(real_node(kubernetes).address) as sender:
            scaled(deployed, 4)
            time.sleep(FOLLOWED_SECONDS)
            name = "otelcol_receiver_accepted_spans"
            before = release.metric("gateway", name)
            time.sleep(MEASURED_SECONDS)
            after = release.metric("gateway", name)
            shares = {pod: after[pod] - before[pod] for pod in before}
            print("shares", sorted(shares.values()), "refusals", len(sender.refusals))
            assert len(shares) == 4
            assert max(shares.values()) <= SPREAD * min(shares.values()), shares
            scaled(deployed, 1)
            for what in (
                "deployment/heliograph-gateway",
                "daemonset/heliograph-daemon",
                "deployment/heliograph-cluster",
            ):
                rolled(deployed, what)
            time.sleep(5)
            orderly = sender.acknowledged, written(release)
            assert wait_for_all(deployed, *orderly) == ([], [])
            (daemon,) = [pod for pod in release.pods("daemon") if "deletionTimestamp" not in pod["metadata"]]
            kill(daemon["metadata"]["uid"])
            release.kubectl("rollout", "status", "daemonset/heliograph-daemon", "--timeout=120s")
            time.sleep(5)
        assert sender.acknowledged > orderly[0]
        again = wait_for_all(deployed, sender.acknowledged, written(release))
        print("spans", sender.acknowledged, "lines", written(release), "again", [len(numbers) for numbers in again])


def wait_for_all(deployed: Deployment, spans: int, lines: int) -> tuple[list[int], list[int]]:
    """Wait until all have arrived; which spans and lines did so more than once. Each line has one identity. (The node
    may still have the logs of a writer of another test.)"""
    end, shop = time.monotonic() + 90, deployed.shop
    while True:
        found: Counter[int] = Counter()
        read: dict[int, list[str]] = {}
        for document in deployed.documents:
            if document["signal"] == "traces" and document["resource"].get("service.name") == "sender":
                found[int(document["trace"], 16)] += 1
            elif document["signal"] == "logs" and str(document["body"]).startswith("numbered line "):
                if document["resource"].get(NAMESPACE) != shop:
                    continue
                number = int(document["body"].split()[-1])
                read.setdefault(number, []).append(document["attributes"]["log.record.uid"])
        missing = set(range(spans)) - found.keys(), set(range(lines)) - read.keys()
        if not any(missing):
            break
        shown = [(len(numbers), sorted(numbers)[:5]) for numbers in missing]
        assert time.monotonic() < end, f"missing spans and lines: {shown}; {deployed.release.told()}"
        time.sleep(1)
    assert [number for number, identities in read.items() if len(set(identities)) > 1] == []
    twice = sorted(number for number, count in found.items() if count > 1)
    return twice, sorted(number for number, identities in read.items() if len(identities) > 1)
