"""A collector as a process while its API server freezes, is killed and comes back: nothing wrong is reported, nothing
is lost, health tells.

Outages of some seconds; with HELIOGRAPH_OUTAGES=long of a minute, and with a server that forgets versions by
compaction, as large clusters' do.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from api_outage import ApiServerProcess, Line
from heliograph.otlp.attributes import encode_attributes
from heliograph.testing.wait import until
from kubernetes_lab import Api

LONG = os.environ.get("HELIOGRAPH_OUTAGES", "") == "long"
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
]
OUTAGE = 60.0 if LONG else 4.0
RECOVERY = 60.0
FORGETFUL = ("--watch-cache=false", "--etcd-compaction-interval=10s") if LONG else ()
RULES = [
    {"sources": [{"from": "resource_attribute", "name": "k8s.pod.uid"}]},
    {"sources": [{"from": "resource_attribute", "name": "k8s.pod.ip"}]},
    {"sources": [{"from": "resource_attribute", "name": name} for name in ("k8s.namespace.name", "k8s.pod.name")]},
]


def plain(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in attributes}


def written(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file exporter."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


class Program:
    """A collector with OTLP in, k8s_attributes, k8s_cluster and k8s_events."""

    def __init__(self, folder: Path, kubeconfig: Path, namespace: str, ports: tuple[int, int]) -> None:
        self.folder = folder
        self._otlp, self._health = ports
        as_admin = {"auth_type": "kubeConfig"}
        files = {
            f"file/{name}": {"path": str(folder / f"{name}.json"), "flush_interval": "50ms"}
            for name in ("lines", "reports", "events")
        }
        config = {
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{self._health}"}},
            "receivers": {
                "otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{self._otlp}"}}},
                "k8s_cluster": {**as_admin, "collection_interval": "1s", "namespaces": [namespace]},
                "k8s_events": {**as_admin, "namespaces": [namespace]},
            },
            "processors": {
                "k8s_attributes": {
                    **as_admin,
                    "filter": {"namespace": namespace},
                    "pod_association": RULES,
                    "wait_for_metadata": True,
                    "extract": {"labels": [{"key": "who", "tag_name": "who"}]},
                }
            },
            "exporters": files,
            "service": {
                "extensions": ["health_check"],
                "pipelines": {
                    "logs": {"receivers": ["otlp"], "processors": ["k8s_attributes"], "exporters": ["file/lines"]},
                    "metrics": {"receivers": ["k8s_cluster"], "exporters": ["file/reports"]},
                    "logs/events": {"receivers": ["k8s_events"], "exporters": ["file/events"]},
                },
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config))
        self.log = folder / "log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "heliograph", f"--config={path}"],
                stdout=output,
                stderr=output,
                env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            )

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def health(self) -> tuple[int, dict[str, str]]:
        """The status and what is said of each component that is not well."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self._health}/", timeout=5) as answer:
                status, body = answer.status, json.loads(answer.read())
        except OSError:
            return 0, {}
        return status, {name: str(found) for name, found in body.get("components", {}).items()}

    async def who(self, **resource: str) -> dict[str, Any]:
        """The attributes with which a line of this resource leaves."""
        mark = uuid.uuid4().hex
        message = ExportLogsServiceRequest()
        logs = message.resource_logs.add()
        logs.resource.MergeFromString(encode_attributes(resource))
        logs.scope_logs.add().log_records.add().body.string_value = mark
        await asyncio.to_thread(self._post, message.SerializeToString())

        def there() -> dict[str, Any] | None:
            for request in reversed(written(self.folder / "lines.json")):
                for found in request["resourceLogs"]:
                    if mark in json.dumps(found["scopeLogs"]):
                        return plain(found["resource"]["attributes"])
            return None

        await until(there, "the line")
        return there() or {}

    def _post(self, body: bytes) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"Content-Type": "application/x-protobuf"}
        posted = urllib.request.Request(f"http://127.0.0.1:{self._otlp}/v1/logs", body, headers, method="POST")
        opener.open(posted, timeout=10).close()

    def events(self) -> Counter[str]:
        """How often each message was told."""
        return Counter(
            record["body"]["stringValue"]
            for request in written(self.folder / "events.json")
            for resource in request["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        )

    def reports(self) -> list[tuple[int, set[str], list[str]]]:
        """Of each report: its time in nanoseconds, the uids of its pods, and those of its pods' phases as they came."""
        found: dict[int, list[str]] = {}
        for request in written(self.folder / "reports.json"):
            for resource in request["resourceMetrics"]:
                attributes = plain(resource["resource"]["attributes"])
                for scope in resource["scopeMetrics"]:
                    for metric in scope["metrics"]:
                        if metric["name"] == "k8s.pod.phase":
                            (point,) = metric["gauge"]["dataPoints"]
                            found.setdefault(int(point["timeUnixNano"]), []).append(attributes["k8s.pod.uid"])
        return [(at, set(uids), uids) for at, uids in sorted(found.items())]

    def last(self) -> set[str]:
        """The uids of the last report's pods."""
        reports = self.reports()
        return reports[-1][1] if reports else set()


class Pods:
    """Pods of a node that nobody runs, as its kubelet would write them."""

    def __init__(self, api: Api, namespace: str, node: str) -> None:
        self._api, self._node = api, node
        self.path = f"/api/v1/namespaces/{namespace}/pods"

    def make(self, name: str, ip: str, who: str) -> str:
        """Its uid."""
        spec = {"nodeName": self._node, "containers": [{"name": "app", "image": "lab.test/app:1"}]}
        spec["automountServiceAccountToken"] = False
        body = {"metadata": {"name": name, "labels": {"who": who}}, "spec": spec}
        uid = self._api.call("POST", self.path, body)["metadata"]["uid"]
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": time.strftime("%FT%TZ", time.gmtime()),
        }
        self._api.call("PATCH", f"{self.path}/{name}/status", {"status": status})
        return str(uid)

    def remove(self, name: str) -> None:
        self._api.call("DELETE", f"{self.path}/{name}?gracePeriodSeconds=0")


@pytest.fixture
def pods(kubernetes: Api, namespace: str, node: str) -> Pods:
    return Pods(kubernetes, namespace, node)


@pytest.fixture
def say(kubernetes: Api, namespace: str) -> Callable[[str], None]:
    """Makes an event."""

    def write(message: str) -> None:
        body = {"metadata": {"name": message}, "involvedObject": {"namespace": namespace, "kind": "Pod"},
                "type": "Normal", "message": message,
                "lastTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}  # fmt: skip
        kubernetes.call("POST", f"/api/v1/namespaces/{namespace}/events", body)

    return write


@pytest.fixture
def server(kubernetes: Api) -> Iterator[ApiServerProcess]:
    """The API server's process, as it was found when the test is over."""
    found = ApiServerProcess(kubernetes)
    yield found
    found.restore()


async def pause(seconds: float) -> None:
    """An outage must last, whatever can be seen meanwhile."""
    await until(lambda end=time.monotonic() + seconds: time.monotonic() > end, timeout=seconds + 5)


def is_gone(api: Api, path: str, version: str) -> bool:
    """Whether the server refuses to watch from this version."""
    answer = api.call(
        "GET", f"{path}?watch=1&timeoutSeconds=1&resourceVersion={version}", accept=(200, 410), lines=True
    )
    return answer.get("code") == 410 or answer.get("object", {}).get("code") == 410


async def test_an_api_server_that_freezes_and_one_that_is_killed(
    kubernetes: Api,
    namespace: str,
    pods: Pods,
    say: Callable[[str], None],
    server: ApiServerProcess,
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """While it is away, reports and enrichment go on with what is known; afterwards every event was told once, an
    address and a name that others have by now lead to those, and no period had two reports or none."""
    a, b = pods.make("a", "10.99.0.1", "first"), pods.make("b", "10.99.0.2", "second")
    async with Line(kubernetes, tmp_path) as line:
        program = Program(tmp_path, line.kubeconfig, namespace, (free_port(), free_port()))
        try:
            await until(lambda: program.last() == {a, b}, "the first report", timeout=60)
            for number in range(40):  # until its watch has begun
                await asyncio.to_thread(say, f"probe-{number}")
                await pause(0.3)
                if program.events():
                    break
            assert (await program.who(**{"k8s.pod.ip": "10.99.0.2"}))["who"] == "second"
            assert program.health() == (200, {})

            with server.frozen():
                await pause(OUTAGE)
                assert (await program.who(**{"k8s.pod.uid": a}))["who"] == "first"
            await asyncio.to_thread(say, "after-the-freeze")
            await until(lambda: program.events()["after-the-freeze"], timeout=RECOVERY)

            line.cut()
            version = kubernetes.call("GET", f"{pods.path}?limit=1")["metadata"]["resourceVersion"]
            await asyncio.to_thread(pods.remove, "b")
            again = await asyncio.to_thread(pods.make, "b", "10.99.0.3", "second-again")
            other = await asyncio.to_thread(pods.make, "c", "10.99.0.2", "third")
            for number in range(3):
                await asyncio.to_thread(say, f"unseen-{number}")
            await asyncio.to_thread(server.kill)
            line.mend()
            await pause(OUTAGE)
            status, sick = program.health()
            assert status == 200, "a probe must not kill a collector because the API server is away"
            told = " ".join(f"{name}: {text}" for name, text in sick.items())
            assert all(name in told for name in ("k8s_attributes", "k8s_cluster", "k8s_events")), told
            assert (await program.who(**{"k8s.pod.uid": a}))["who"] == "first"
            assert program.last() == {a, b}

            line.cut()
            await asyncio.to_thread(server.start, FORGETFUL)
            await until(lambda: is_gone(kubernetes, pods.path, version), "410 Gone", timeout=60)
            line.mend()
            await asyncio.to_thread(say, "after-the-kill")
            late = await asyncio.to_thread(pods.make, "d", "10.99.0.4", "fourth")
            await until(lambda: program.last() == {a, again, other, late}, "a report as it is", timeout=RECOVERY)
            await until(lambda: program.events()["after-the-kill"], timeout=RECOVERY)
            await until(lambda: program.health() == (200, {}), "good health", timeout=RECOVERY)
            assert (await program.who(**{"k8s.pod.ip": "10.99.0.2"}))["k8s.pod.uid"] == other
            assert (await program.who(**{"k8s.pod.ip": "10.99.0.4"}))["who"] == "fourth"
            by_name = {"k8s.namespace.name": namespace, "k8s.pod.name": "b"}
            assert (await program.who(**by_name))["k8s.pod.uid"] == again
            assert "who" not in await program.who(**{"k8s.pod.ip": "10.99.0.9"})
            assert (await program.who(**{"k8s.pod.uid": b})).get("who") in (None, "second")
        finally:
            ended = await asyncio.to_thread(program.end)
    assert ended == 0
    events = program.events()
    wanted = {"after-the-freeze", "after-the-kill", *(f"unseen-{number}" for number in range(3))}
    assert wanted <= events.keys()
    assert [message for message, times in events.items() if times > 1] == []
    reports = program.reports()
    assert all(len(uids) == len(listed) for _, uids, listed in reports), "a pod twice in one report"
    gaps = [(later[0] - earlier[0]) / 1e9 for earlier, later in pairwise(reports)]
    assert min(gaps) > 0.5, "two reports in one period"
    assert max(gaps) < 2.5, "a period without a report"
