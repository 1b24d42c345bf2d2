"""Pods that come and go, on the real node: their lines from the file to the exporter, names and addresses used again,
and two replicas of the cluster collector of which the leader is killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.otlp.attributes import encode_attributes, from_any_value
from heliograph.processors.k8s_attributes import FACTORY as ATTRIBUTES
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until
from kubernetes_lab import Api

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
LOGS = Path("/var/log/pods")
IMAGE = "lab.test/busybox:1"
LEASE_SECONDS, DEADLINE_SECONDS, RETRY_SECONDS = 4, 3, 1


class Collector:
    """A process of this program."""

    def __init__(self, folder: Path, name: str, config: dict[str, Any], kubeconfig: Path) -> None:
        self.output = folder / f"{name}.json"
        exporter = {"path": str(self.output), "flush_interval": "50ms"}
        service = {**config["service"], "telemetry": {"metrics": {"level": "none"}}}
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**config, "exporters": {"file": exporter}, "service": service}))
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "heliograph", f"--config={path}"],
                stdout=log,
                stderr=log,
                env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            )

    def requests(self) -> list[dict[str, Any]]:
        """What the file exporter has written."""
        if not self.output.exists():
            return []
        return [json.loads(line) for line in self.output.read_text().split("\n")[:-1]]

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(40)


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in attributes}


@pytest.fixture
def daemon(kubernetes: Api, namespace: str, tmp_path: Path) -> Iterator[Collector]:
    """Follows the files of this namespace's containers and waits for pods that it does not know yet."""
    sources = [{"sources": [{"from": "resource_attribute", "name": "k8s.pod.uid"}]}]
    config = {
        "receivers": {
            "file_log": {
                "include": [str(LOGS / f"{namespace}_*" / "*" / "*.log")],
                "start_at": "beginning",
                "include_file_path": True,
                "poll_interval": "100ms",
                "operators": [{"type": "container"}],
            }
        },
        "processors": {
            "k8s_attributes": {
                "auth_type": "kubeConfig",
                "filter": {"namespace": namespace},
                "pod_association": sources,
                "wait_for_pod": {"timeout": "20s"},
                "extract": {
                    "metadata": ["k8s.pod.start_time", "k8s.node.name", "container.image.name"],
                    "labels": [{"key": "run", "tag_name": "run"}],
                },
            }
        },
        "service": {
            "pipelines": {"logs": {"receivers": ["file_log"], "processors": ["k8s_attributes"], "exporters": ["file"]}}
        },
    }
    collector = Collector(tmp_path, "daemon", config, kubernetes.kubeconfig)
    yield collector
    collector.end()


async def test_pods_of_three_seconds_and_the_same_name(kubernetes: Api, namespace: str, daemon: Collector) -> None:
    """A pod writes for three seconds and is gone; another one of the same name follows: each line carries what belongs
    to its own pod, and none is without."""
    path = f"/api/v1/namespaces/{namespace}/pods"

    def live(run: str) -> str:
        script = f"for i in 1 2 3 4 5 6; do echo {run}-$i; sleep 0.5; done"
        container = {"name": "app", "image": IMAGE, "command": ["sh", "-c", script]}
        spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
        spec["automountServiceAccountToken"] = False
        body = {"metadata": {"name": "brief", "labels": {"run": run}}, "spec": spec}
        uid = kubernetes.call("POST", path, body)["metadata"]["uid"]
        kubernetes.wait(f"{path}/brief", lambda found: found["status"]["phase"] == "Succeeded", "its end", timeout=60)
        kubernetes.call("DELETE", f"{path}/brief?gracePeriodSeconds=0", accept=(200, 202))
        kubernetes.wait(f"{path}/brief", lambda found: found.get("code") == 404, "its removal")
        return str(uid)

    def lines() -> dict[str, dict[str, Any]]:
        return {
            record["body"]["stringValue"]: plain(resource["resource"]["attributes"])
            for request in daemon.requests()
            for resource in request["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        }

    uids = {run: await asyncio.to_thread(live, run) for run in ("first", "second")}
    assert uids["first"] != uids["second"]
    wanted = {f"{run}-{number}" for run in uids for number in range(1, 7)}
    await until(lambda: lines().keys() >= wanted, "all lines", timeout=30)
    for line, resource in lines().items():
        run = line.partition("-")[0]
        assert resource["k8s.pod.uid"] == uids[run], line
        assert resource["run"] == run, line
        assert resource["k8s.pod.start_time"], line
        assert resource["container.image.name"] == "lab.test/busybox", line


async def test_an_address_that_another_pod_gets(
    kubernetes: Api, namespace: str, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the end of a pod on nothing is found by its address, until another pod has it; then it is that one."""
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.kubeconfig))
    path = f"/api/v1/namespaces/{namespace}/pods"
    address = "10.99.7.7"

    def make(name: str) -> None:
        spec = {"nodeName": node, "containers": [{"name": "app", "image": "lab.test/app:1"}]}
        kubernetes.call("POST", path, {"metadata": {"name": name}, "spec": spec})
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        kubernetes.call("PATCH", f"{path}/{name}/status", {"status": status})

    sink = SinkConsumer()
    made = settings("processor", "k8s_attributes", "logs", outputs={Signal.LOGS: sink})
    rules = [{"sources": [{"from": "resource_attribute", "name": "k8s.pod.ip"}]}]
    config = {"auth_type": "kubeConfig", "filter": {"namespace": namespace}, "pod_association": rules}
    processor: Any = ATTRIBUTES.create(made, from_plain(ATTRIBUTES.config, config))
    message = ResourceLogs()
    message.resource.MergeFromString(encode_attributes({"k8s.pod.ip": address}))
    message.scope_logs.add().log_records.add().body.string_value = "x"

    async def name() -> Any:
        await processor.consume(Batch(Signal.LOGS, [message.SerializeToString()], 1))
        attributes = sink.messages[-1].resource.attributes
        return next((from_any_value(pair.value) for pair in attributes if pair.key == "k8s.pod.name"), None)

    async def seen(wanted: str | None) -> list[Any]:
        """The names found until this one is."""
        found = [await name()]
        end = time.monotonic() + 20
        while found[-1] != wanted:
            assert time.monotonic() < end, f"{wanted} was not found but {found[-1]}"
            await asyncio.sleep(0.02)
            found.append(await name())
        return found

    async with TestHost() as host:
        await processor.start(host)
        await asyncio.to_thread(make, "one")
        assert set(await seen("one")) <= {None, "one"}
        await asyncio.to_thread(kubernetes.call, "DELETE", f"{path}/one?gracePeriodSeconds=0")
        assert set(await seen(None)) <= {"one", None}
        await asyncio.to_thread(make, "two")
        assert set(await seen("two")) <= {None, "two"}
        await processor.shutdown(host.clock.monotonic() + 1)


async def test_two_cluster_collectors_with_the_leader_killed(kubernetes: Api, namespace: str, tmp_path: Path) -> None:
    """Each second one report of the namespace's metrics, from one of the two; without a leader none for no longer than
    the lease allows, and then from the other one."""
    lease = {
        "auth_type": "kubeConfig",
        "lease_name": "cluster",
        "lease_namespace": namespace,
        "lease_duration": f"{LEASE_SECONDS}s",
        "renew_deadline": f"{DEADLINE_SECONDS}s",
        "retry_period": f"{RETRY_SECONDS}s",
    }
    receiver = {"auth_type": "kubeConfig", "collection_interval": "1s", "namespaces": [namespace]}
    receiver["k8s_leader_elector"] = "k8s_leader_elector"
    config = {
        "extensions": {"k8s_leader_elector": lease},
        "receivers": {"k8s_cluster": receiver},
        "service": {
            "extensions": ["k8s_leader_elector"],
            "pipelines": {"metrics": {"receivers": ["k8s_cluster"], "exporters": ["file"]}},
        },
    }
    labels = {"app": "idle"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": IMAGE}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    kubernetes.call("POST", path, {"metadata": {"name": "idle"}, "spec": spec})
    both = [Collector(tmp_path, f"replica-{number}", config, kubernetes.kubeconfig) for number in range(2)]

    def times(collector: Collector) -> list[float]:
        """When the deployment was reported, in seconds."""
        return sorted(
            int(metric["gauge"]["dataPoints"][0]["timeUnixNano"]) / 1e9
            for request in collector.requests()
            for resource in request["resourceMetrics"]
            for scope in resource["scopeMetrics"]
            for metric in scope["metrics"]
            if metric["name"] == "k8s.deployment.desired"
        )

    try:
        await until(lambda: any(len(times(each)) > 2 for each in both), "some reports", timeout=60)
        leader, other = sorted(both, key=lambda each: not times(each))
        assert times(other) == []
        leader.end(signal.SIGKILL)
        await until(lambda: len(times(other)) > 3, "reports of the other one", timeout=30)
    finally:
        for each in both:
            each.end()
    first, second = times(leader), times(other)
    gaps = [later - earlier for earlier, later in (*pairwise(first), *pairwise(second))]
    assert min(gaps) > 0.5, "two reports in one period"
    assert max(gaps) < 2.0, "a period without a report"
    # A report before the kill may not have been written; the lease ends, the other one tries, and lists.
    longest = 1 + LEASE_SECONDS + RETRY_SECONDS * 2.2 + 3
    assert 0.5 < second[0] - first[-1] <= longest
