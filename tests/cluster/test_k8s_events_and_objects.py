"""k8s_events, k8s_objects and k8s_leader_elector with a real API server: the events of the cluster's own controllers,
and replicas as processes, one of them the upstream Collector."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from heliograph.config.decode import from_plain
from heliograph.extensions.k8s_leader_elector import FACTORY as ELECTOR
from heliograph.otlp.attributes import from_any_value
from heliograph.receivers.k8s_events import FACTORY as EVENTS
from heliograph.receivers.k8s_objects import FACTORY as OBJECTS
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.usefixtures("kubeconfig")]
LEASE = {"lease_duration": "4s", "renew_deadline": "3s", "retry_period": "1s"}
LONGEST_GAP = 4 + 1 * 2.2
"""Seconds from the leader's last renewal to the next leader's first request, and its last renewal was at its death."""


@asynccontextmanager
async def receiver(factory: Any, **config: Any) -> Any:
    sink = SinkConsumer()
    made = factory.create(
        settings("receiver", factory.type, outputs={"logs": sink}),
        from_plain(factory.config, {"auth_type": "kubeConfig", **config}),
    )
    async with TestHost() as host:
        await made.start(host)
        try:
            yield sink
        finally:
            await made.shutdown(host.clock.monotonic() + 5)


def records(sink: SinkConsumer) -> list[tuple[dict[str, Any], dict[str, Any], Any, Any]]:
    """(resource attributes, attributes, body, LogRecord) of each."""
    return [
        (
            {pair.key: from_any_value(pair.value) for pair in message.resource.attributes},
            {pair.key: from_any_value(pair.value) for pair in found.attributes},
            from_any_value(found.body),
            found,
        )
        for batch in sink.batches
        for message in batch.messages()
        for scope in message.scope_logs
        for found in scope.log_records
    ]


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    spec = {"containers": [{"name": "app", "image": "lab.test/app:1"}], "nodeSelector": {"nobody": "has"}}
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


async def test_the_events_of_controllers_through_both(kubernetes: Any, namespace: str) -> None:
    """A Deployment makes events of three controllers: each comes through k8s_events once, with the fields that the API
    has of it, and through k8s_objects once, whole."""
    objects = [{"name": "events", "mode": "watch", "namespaces": [namespace]}]
    path = f"/api/v1/namespaces/{namespace}/events"
    async with receiver(EVENTS, namespaces=[namespace]) as told, receiver(OBJECTS, objects=objects) as whole:
        for number in range(20):  # until both watches have begun
            body = {"metadata": {"name": f"probe-{number}"}, "involvedObject": {"namespace": namespace, "kind": "Pod"},
                    "type": "Normal", "message": "probe", "lastTimestamp": "2100-01-01T00:00:00Z"}  # fmt: skip
            kubernetes.call("POST", path, body)
            try:
                await until(lambda: told.batches and whole.batches, timeout=1)
                break
            except AssertionError:
                continue
        kubernetes.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web"))
        wanted = {"ScalingReplicaSet", "SuccessfulCreate", "FailedScheduling"}
        await until(lambda: wanted <= {found[1]["k8s.event.reason"] for found in records(told)}, timeout=30)
        stored = {item["metadata"]["uid"]: item for item in kubernetes.call("GET", path)["items"]}
        seen = [found for found in records(told) if found[1]["k8s.event.reason"] in wanted]
        names = {found[1]["k8s.event.name"] for found in seen}
        await until(lambda: names <= {found[1]["event.name"] for found in records(whole)})
    assert len({found[1]["k8s.event.uid"] for found in seen}) == len(seen) == 3
    for resource, attributes, body, record in seen:
        item = stored[attributes["k8s.event.uid"]]
        about = item["involvedObject"]
        assert resource == {
            "k8s.node.name": item["source"].get("host", ""),
            "k8s.object.kind": about["kind"],
            "k8s.object.name": about["name"],
            "k8s.object.uid": about["uid"],
            "k8s.object.fieldpath": about.get("fieldPath", ""),
            "k8s.object.api_version": about["apiVersion"],
            "k8s.object.resource_version": about["resourceVersion"],
        }
        assert body == item["message"]
        assert record.severity_text == item["type"]
        assert record.severity_number == {"Normal": 9, "Warning": 13}[item["type"]]
        at = item["eventTime"] or item["lastTimestamp"]
        assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.time_unix_nano // 10**9)) == at[:19]
        assert attributes["k8s.event.start_time"] == (
            item["metadata"]["creationTimestamp"].replace("T", " ").replace("Z", " +0000 UTC")
        )
        assert attributes["k8s.event.reporting_controller"] == item["reportingComponent"]
        assert attributes.get("k8s.event.count", 0) == item.get("count", 0)
    by_name = {found[1]["event.name"]: found for found in records(whole)}
    for _, attributes, _, _ in seen:
        resource, _, body, _ = by_name[attributes["k8s.event.name"]]
        assert resource == {"k8s.namespace.name": namespace}
        assert body == {
            "type": "ADDED",
            "object": {**stored[attributes["k8s.event.uid"]], "kind": "Event", "apiVersion": "v1"},
        }


async def test_pulled_and_watched_objects_are_the_api_s_own(kubernetes: Any, namespace: str) -> None:
    """A ConfigMap and a Deployment of a group, pulled: the very object, with kind and apiVersion."""
    kubernetes.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web"))
    objects = [{"name": "deployments", "namespaces": [namespace]}, {"name": "configmaps", "namespaces": [namespace]}]
    async with receiver(OBJECTS, objects=objects) as sink:
        await until(lambda: len(records(sink)) >= 2, timeout=30)
    found = {body["kind"]: body for _, _, body, _ in records(sink)}
    assert found["Deployment"]["apiVersion"] == "apps/v1"
    stored = kubernetes.call("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    assert {**found["Deployment"], "status": 0, "metadata": 0} == {**stored, "status": 0, "metadata": 0}
    assert found["ConfigMap"] == kubernetes.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")


class Follower:
    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    async def started(self) -> None:
        self.calls.append(("started", time.monotonic()))

    async def stopped(self) -> None:
        self.calls.append(("stopped", time.monotonic()))


async def test_one_lease_with_the_upstream_collector(
    kubernetes: Any, namespace: str, upstream_collector: Callable[[str], Any]
) -> None:
    """Upstream leads: ours stands by. Upstream is killed: ours leads, not before the lease's end. Upstream comes again
    and stands by while ours renews; ours ends, and upstream leads at once."""
    plain = {"auth_type": "kubeConfig", "lease_name": "shared", "lease_namespace": namespace, **LEASE}
    theirs = {
        "extensions": {"k8s_leader_elector": plain},
        "receivers": {"k8s_cluster": {"auth_type": "kubeConfig", "k8s_leader_elector": "k8s_leader_elector"}},
        "exporters": {"debug": {}},
        "service": {
            "extensions": ["k8s_leader_elector"],
            "pipelines": {"metrics": {"receivers": ["k8s_cluster"], "exporters": ["debug"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/shared"

    def holder() -> str:
        found = kubernetes.call("GET", path, accept=(200, 404))
        return str(found.get("spec", {}).get("holderIdentity", ""))

    first = upstream_collector(yaml.safe_dump(theirs))
    await until(holder, timeout=20)
    upstream = holder()
    follower = Follower()
    elector = ELECTOR.create(settings("extension", "k8s_leader_elector"), from_plain(ELECTOR.config, plain))
    async with TestHost() as host:
        await elector.start(host)
        await elector.subscribe(follower)
        await until(lambda: upstream in (host.reports[-1][1] if host.reports else ""), timeout=10)
        assert follower.calls == []
        first.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        await until(lambda: follower.calls, timeout=20)
        waited = follower.calls[0][1] - killed
        assert 4 - 1 - 0.5 <= waited <= LONGEST_GAP + 0.5
        assert holder() == elector.identity
        upstream_collector(yaml.safe_dump(theirs))
        end = time.monotonic() + 6
        while time.monotonic() < end:
            assert holder() == elector.identity
            await until(lambda end=time.monotonic() + 0.5: time.monotonic() > end)
        spec = kubernetes.call("GET", path)["spec"]
        assert spec["leaseTransitions"] == 1
        await elector.shutdown(time.monotonic() + 5)
        released = time.monotonic()
        await until(lambda: holder() not in ("", elector.identity), timeout=10)
        assert time.monotonic() - released <= 1 * 2.2 + 1
    assert [name for name, _ in follower.calls] == ["started", "stopped"]


class Replica:
    """A process of this program: k8s_events led by an elector, into a file."""

    def __init__(self, folder: Path, number: int, namespace: str) -> None:
        self.out = folder / f"out-{number}.json"
        lease = {"auth_type": "kubeConfig", "lease_name": "replicas", "lease_namespace": namespace, **LEASE}
        events = {"auth_type": "kubeConfig", "namespaces": [namespace], "k8s_leader_elector": "k8s_leader_elector"}
        config = {
            "extensions": {"k8s_leader_elector": lease},
            "receivers": {"k8s_events": events},
            "exporters": {"file": {"path": str(self.out), "flush_interval": "100ms"}},
            "service": {
                "extensions": ["k8s_leader_elector"],
                "pipelines": {"logs": {"receivers": ["k8s_events"], "exporters": ["file"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        path = folder / f"replica-{number}.yaml"
        path.write_text(yaml.safe_dump(config))
        self.log = (folder / f"replica-{number}.log").open("wb")
        command = [sys.executable, "-m", "heliograph", f"--config={path}"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def told(self) -> list[str]:
        """Messages, in order."""
        if not self.out.exists():
            return []
        lines = self.out.read_text().splitlines()
        return [
            record["body"]["stringValue"]
            for line in lines
            if line.endswith("}")
            for resource in json.loads(line)["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]

    def end(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(20)
        self.log.close()


async def test_two_replicas_with_the_leader_killed(kubernetes: Any, namespace: str, tmp_path: Path) -> None:
    """Events four times a second: none is told twice, and what is missing is in one row no longer than the lease."""
    replicas = [Replica(tmp_path, number, namespace) for number in range(2)]
    path = f"/api/v1/namespaces/{namespace}/events"
    made: list[tuple[str, float]] = []

    def make() -> None:
        name = f"e{len(made)}"
        body = {"metadata": {"name": name}, "involvedObject": {"namespace": namespace}, "type": "Normal",
                "message": name, "lastTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}  # fmt: skip
        kubernetes.call("POST", path, body)
        made.append((name, time.monotonic()))

    async def make_for(seconds: float, enough: Callable[[], object] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not enough():
            make()
            await until(lambda end=time.monotonic() + 0.25: time.monotonic() > end)

    try:
        await make_for(30, lambda: any(replica.told() for replica in replicas))
        begun = len(made)
        leader, other = sorted(replicas, key=lambda replica: not replica.told())
        assert leader.told()
        assert not other.told()
        await make_for(3)
        await until(lambda: leader.told()[-1:] == [made[-1][0]])
        leader.end(signal.SIGKILL)
        killed = time.monotonic()
        await make_for(30, other.told)
        await make_for(2)
        await until(lambda: other.told()[-1:] == [made[-1][0]])
        told = leader.told() + other.told()
        assert len(set(told)) == len(told)
        missing = [(name, at) for name, at in made[begun:] if name not in told]
        assert all(killed <= at <= killed + LONGEST_GAP + 1 for _, at in missing)
        assert other.told() == [name for name, at in made if at > killed and (name, at) not in missing]
    finally:
        for replica in replicas:
            replica.end(signal.SIGTERM)
