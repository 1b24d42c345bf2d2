"""The receiver at work: what it watches, when it reports, what it says when something is denied, missing or away."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.errors import Overloaded, Permanent, StartError
from heliograph.component.ids import Signal
from heliograph.component.leadership import Follower
from heliograph.component.lifecycle import Component, Status
from heliograph.config.decode import from_plain
from heliograph.extensions.k8s_leader_elector.config import K8sLeaderElectorConfig
from heliograph.extensions.k8s_leader_elector.extension import K8sLeaderElector
from heliograph.otlp.attributes import from_any_value
from heliograph.receivers.k8s_cluster.config import K8sClusterConfig
from heliograph.receivers.k8s_cluster.receiver import K8sClusterReceiver
from heliograph.testing import metric_rows
from heliograph.testing.api_server import ApiServer
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

SOON = {"auth_type": "kubeConfig", "collection_interval": "50ms"}
SERVED = {
    "": {"v1": ["pods", "nodes", "namespaces", "services", "resourcequotas", "replicationcontrollers"]},
    "apps": {"v1": ["deployments", "replicasets", "statefulsets", "daemonsets"]},
    "batch": {"v1": ["jobs", "cronjobs"]},
    "autoscaling": {"v2": ["horizontalpodautoscalers"]},
    "discovery.k8s.io": {"v1": ["endpointslices"]},
}


def meta(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "uid": f"uid-{name}", "namespace": "shop", **more}


def pod(name: str, phase: str = "Running", container: str = "c1", **more: Any) -> dict[str, Any]:
    status = {"name": "app", "image": "shop/app", "containerID": f"containerd://{container}", "ready": True}
    return {
        "kind": "Pod",
        "metadata": meta(name, labels={"app": "shop"}, **more),
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "resources": {"limits": {"cpu": "500m"}}}]},
        "status": {"phase": phase, "containerStatuses": [status]},
    }


def deployment(name: str, desired: int = 2) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": meta(name), "spec": {"replicas": desired}}


class Elector:
    """A leader elector in the hands of a test."""

    def __init__(self) -> None:
        self.follower: Follower | None = None

    @property
    def leading(self) -> bool:
        return False

    async def subscribe(self, follower: Follower) -> None:
        self.follower = follower

    async def unsubscribe(self, follower: Follower) -> None:
        self.follower = None


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        server.groups = {group: dict(versions) for group, versions in SERVED.items()}
        (tmp_path / "config").write_text(server.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        yield server


@asynccontextmanager
async def running(
    config: dict[str, Any],
    metrics: SinkConsumer | None = None,
    logs: SinkConsumer | None = None,
    extensions: dict[Any, object] | None = None,
) -> AsyncIterator[TestHost]:
    outputs = {Signal.METRICS: metrics, Signal.LOGS: logs}
    made = settings("receiver", "k8s_cluster", outputs={signal: sink for signal, sink in outputs.items() if sink})
    receiver = K8sClusterReceiver(made, from_plain(K8sClusterConfig, {**SOON, **config}))
    async with TestHost(extensions=extensions) as host:
        await receiver.start(host)
        try:
            yield host
        finally:
            deadline = asyncio.get_running_loop().time() + 1
            await receiver.shutdown(deadline)
            await receiver.shutdown(deadline)
        assert host.crashes == []


def values(sink: SinkConsumer) -> dict[tuple[str, str], float]:
    """The last report: (metric, name of the object) -> value."""
    if not sink.batches:
        return {}
    found = {}
    for (metric, _, resource), row in metric_rows.ours(sink.batches[-1].parts).items():
        names = dict(resource)
        kind = metric.rsplit(".", 1)[0]
        found[metric, names.get(f"{kind}.name") or names.get("k8s.node.name", "")] = row.value
    return found


def told(sink: SinkConsumer) -> list[tuple[str, str, dict[str, Any]]]:
    """Entity events in order: kind of event, id, attributes."""
    found = []
    for message in sink.messages:
        for record in message.scope_logs[0].log_records:
            event: dict[str, Any] = {pair.key: from_any_value(pair.value) for pair in record.attributes}
            (identity,) = event["otel.entity.id"].values()
            kind = event["otel.entity.event.type"].removeprefix("entity_")
            found.append((kind, identity, event.get("otel.entity.attributes", {})))
    return found


def lists(server: ApiServer) -> set[str]:
    """Paths of the collections that were listed."""
    return {
        request.path
        for request in server.requests
        if "watch" not in request.query and request.path.count("/") > 2 and not request.path.endswith(("/v1", "/v2"))
    }


async def test_a_large_report_is_handed_on_in_slices(server: ApiServer) -> None:
    """Each pod and its container once in a report, with one time; a slice that is refused is offered again."""
    for number in range(1200):
        server.put(pod(f"p{number}", container=f"c{number}"))
    refusals = iter((None, Overloaded("full", after=0.01), None))
    sink = SinkConsumer(refuse=lambda batch: next(refusals, None))
    async with running({"collection_interval": "30s"}, sink):
        await until(lambda: len(sink.batches) >= 3, "three slices")
    assert [len(batch.parts) for batch in sink.batches] == [1000, 1000, 400]
    assert [batch.items for batch in sink.batches] == [metric_rows_count(batch.parts) for batch in sink.batches]
    assert sink.refused == 1
    found = {
        (pair.key, from_any_value(pair.value))
        for message in sink.messages
        for pair in message.resource.attributes
        if pair.key in ("k8s.pod.uid", "container.id")
    }
    assert found == {(key, f"{prefix}{number}") for key, prefix in (("k8s.pod.uid", "uid-p"), ("container.id", "c"))
                     for number in range(1200)}  # fmt: skip
    times = {point.time_unix_nano for message in sink.messages for scope in message.scope_metrics
             for metric in scope.metrics for point in (*metric.gauge.data_points, *metric.sum.data_points)}  # fmt: skip
    assert len(times) == 1


async def test_a_report_that_is_refused_until_the_next_one_is_given_up(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What was not taken is counted in the log once, and the next report is whole."""
    server.put(pod("p"))
    sink = SinkConsumer(refuse=[Permanent("never")])
    with caplog.at_level(logging.ERROR):
        async with running({}, sink):
            await until(lambda: sink.batches, "a report")
    assert "gave up 4 metric points: never" in caplog.text


def metric_rows_count(parts: tuple[bytes, ...]) -> int:
    return len(metric_rows.ours(parts))


async def test_reports_follow_the_objects(server: ApiServer) -> None:
    """What is there when all lists are read is in the first report; then additions, changes and removals."""
    sink = SinkConsumer()
    server.put(pod("a"))
    server.put(deployment("d"))
    async with running({}, sink) as host:
        await until(lambda: sink.batches, "a report")
        first = values(sink)
        assert first["k8s.pod.phase", "a"] == 2
        assert (first["k8s.deployment.desired", "d"], first["k8s.deployment.available", "d"]) == (2, 0)
        server.put(deployment("d", 5))
        server.put(pod("b", "Pending"))
        await until(lambda: values(sink).get(("k8s.deployment.desired", "d")) == 5, "the change")
        await until(lambda: values(sink).get(("k8s.pod.phase", "b")) == 1, "the new pod")
        server.delete("Pod", "uid-a")
        await until(lambda: ("k8s.pod.phase", "a") not in values(sink), "the removal")
        assert host.status is Status.OK
    await until(lambda: not any(server.watching.values()), "that no watch is left")


async def test_only_what_is_reported_is_watched(server: ApiServer) -> None:
    """Kinds whose metrics are off are not asked for, so that no right is needed for them."""
    sink = SinkConsumer()
    server.put(pod("a"))
    off = {name: {"enabled": False} for name in ("k8s.replicaset.desired", "k8s.replicaset.available")}
    async with running({"metrics": off}, sink):
        await until(lambda: sink.batches, "a report")
    asked = {path.rsplit("/", 1)[1] for path in lists(server)}
    assert asked >= {"pods", "nodes", "namespaces", "deployments", "resourcequotas", "cronjobs"}
    assert not asked & {"replicasets", "services", "endpointslices", "persistentvolumes", "clusterresourcequotas"}


async def test_namespaces_alone(server: ApiServer) -> None:
    """With `namespaces` nothing of the whole cluster is asked for, and each namespace is."""
    sink = SinkConsumer()
    server.put(pod("a"))
    async with running({"namespaces": ["shop", "other"], "distribution": "openshift"}, sink):
        await until(lambda: sink.batches, "a report")
    asked = lists(server)
    assert {"/api/v1/namespaces/shop/pods", "/api/v1/namespaces/other/pods"} <= asked
    assert not any(path.endswith(("/nodes", "/api/v1/namespaces", "clusterresourcequotas")) for path in asked)


async def test_a_kind_that_is_denied(server: ApiServer) -> None:
    """It is named in the health, the others are reported; when it is allowed all is well."""
    sink = SinkConsumer()
    server.put(pod("a"))
    server.put(deployment("d"))
    server.refuse("deployments", 403, "deployments.apps is forbidden")
    async with running({}, sink) as host:
        await until(lambda: values(sink).get(("k8s.pod.phase", "a")) == 2, "the pods")
        await until(lambda: host.status is Status.RECOVERABLE_ERROR, "the health")
        assert "deployments.apps is forbidden" in host.reports[-1][1]
        assert not any(metric.startswith("k8s.deployment") for metric, _ in values(sink))
        server.refuse("deployments", 0)
        await until(lambda: ("k8s.deployment.desired", "d") in values(sink), "the deployments")
        await until(lambda: host.status is Status.OK, "the health")


async def test_a_denied_kind_is_named_without_metrics_too(server: ApiServer) -> None:
    """The same in a logs pipeline alone."""
    logs = SinkConsumer()
    server.put(pod("a"))
    server.refuse("deployments", 403, "forbidden here")
    async with running({}, logs=logs) as host:
        await until(lambda: told(logs), "the pod")
        assert host.status is Status.RECOVERABLE_ERROR
        assert "cannot watch deployments" in host.reports[-1][1]


async def test_a_kind_that_the_server_does_not_have(server: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    """It is skipped with one line; the health is good."""
    sink = SinkConsumer()
    server.put(pod("a"))
    server.refuse("v2", 404, "the server could not find the requested resource")
    server.groups["batch"] = {"v1": ["jobs"]}
    with caplog.at_level(logging.INFO):
        async with running({}, sink) as host:
            await until(lambda: len(sink.batches) > 2, "reports")
            assert host.status is Status.OK
    lines = [record.getMessage() for record in caplog.records if "the server has no" in record.getMessage()]
    assert sorted(line.split()[4] for line in lines) == ["cronjobs", "horizontalpodautoscalers"]
    assert not any(path.endswith(("cronjobs", "horizontalpodautoscalers")) for path in lists(server))


async def test_the_server_is_away_for_a_while(server: ApiServer) -> None:
    """No report before it was there; later, what was known goes on while it is away, and the health says so."""
    sink = SinkConsumer()
    server.put(pod("a"))
    server.put(pod("b", container="c2"))
    await server.stop()
    async with running({}, sink) as host:
        await until(lambda: host.status is Status.RECOVERABLE_ERROR, "the health")
        assert sink.batches == []
        await server.start()
        await until(lambda: values(sink).get(("k8s.pod.phase", "a")) == 2, "the first report")
        await until(lambda: host.status is Status.OK, "the health")
        await server.stop()
        await until(lambda: host.status is Status.RECOVERABLE_ERROR, "the health")
        seen = len(sink.batches)
        await until(lambda: len(sink.batches) > seen, "a report without the server")
        assert values(sink)["k8s.pod.phase", "a"] == 2
        server.delete("Pod", "uid-a")
        server.compact()
        await server.start()
        await until(lambda: host.status is Status.OK, "the health")
        await until(lambda: ("k8s.pod.phase", "a") not in values(sink), "the removal that nobody told")


async def test_only_the_leader_works(server: ApiServer) -> None:
    """Nothing is watched before this process leads; when it leads no longer all ends at once; then it begins anew."""
    elector, metrics, logs = Elector(), SinkConsumer(), SinkConsumer()
    server.put(pod("a"))
    config = {"k8s_leader_elector": "k8s_leader_elector/one"}
    async with running(config, metrics, logs, {"k8s_leader_elector/one": elector}) as host:
        assert elector.follower is not None
        assert (server.requests, host.status) == ([], Status.OK)
        for _ in range(2):
            reported, events = len(metrics.batches), len(logs.batches)
            await elector.follower.started()
            await until(lambda: len(metrics.batches) > reported, "a report")  # noqa: B023
            await until(lambda: len(logs.batches) > events, "entities")  # noqa: B023
            await elector.follower.stopped()
            seen = len(metrics.batches), len(logs.batches)
            await until(lambda: not any(server.watching.values()), "the end of the watches")
            await asyncio.sleep(0.12)  # more than two intervals: what must not come cannot be awaited
            assert (len(metrics.batches), len(logs.batches)) == seen
            assert host.status is Status.OK
    assert elector.follower is None


async def test_two_replicas(server: ApiServer) -> None:
    """With the real elector: one of two reports; when it is killed the other one does, after the lease."""
    server.put(pod("a"))
    lease = {"auth_type": "kubeConfig", "lease_name": "x", "lease_namespace": "shop"}
    soon = {"lease_duration": "2s", "renew_deadline": "1s", "retry_period": "200ms"}
    sinks: list[SinkConsumer] = []
    hosts: list[TestHost] = []
    components: list[Component] = []
    for name in ("one", "two"):
        made = settings("extension", "k8s_leader_elector")
        elector = K8sLeaderElector(made, from_plain(K8sLeaderElectorConfig, lease | soon), identity=name)
        host, sink = TestHost(extensions={"k8s_leader_elector": elector}), SinkConsumer()
        await elector.start(host)
        config = {**SOON, "k8s_leader_elector": "k8s_leader_elector"}
        outputs = {Signal.METRICS: sink}
        receiver = K8sClusterReceiver(
            settings("receiver", "k8s_cluster", outputs=outputs), from_plain(K8sClusterConfig, config)
        )
        await receiver.start(host)
        components += [receiver, elector]
        hosts.append(host)
        sinks.append(sink)
        await until(lambda: sinks[0].batches, "a report of the first")
    first, second = sinks
    reported = len(first.batches)
    await until(lambda: len(first.batches) > reported + 3, "more reports")
    assert second.batches == []
    await hosts[0].close()  # its tasks end where they are, as those of a process that is killed
    reported = len(first.batches)
    await until(lambda: second.batches, "a report of the second")
    assert len(first.batches) == reported
    for component in components:
        await component.shutdown(asyncio.get_running_loop().time() + 1)
    await hosts[1].close()


async def test_an_elector_that_is_not_there(server: ApiServer) -> None:
    """The start is refused, and says who is missing."""
    with pytest.raises(StartError, match=r"receiver k8s_cluster: extension 'nobody'"):
        async with running({"k8s_leader_elector": "nobody"}, SinkConsumer()):
            pass


async def test_entities(server: ApiServer) -> None:
    """Told once at first, with the workload behind the replica set and the services; then what changed, and ends."""
    logs = SinkConsumer()
    owner = {"kind": "Deployment", "name": "d", "uid": "uid-d"}
    server.put({"kind": "ReplicaSet", "metadata": meta("rs", ownerReferences=[owner])})
    between = {"kind": "ReplicaSet", "name": "rs", "uid": "uid-rs"}
    server.put(pod("a", ownerReferences=[between]))
    server.put({"kind": "Service", "metadata": meta("front"), "spec": {"selector": {"app": "shop"}}})
    server.put({"kind": "Service", "metadata": meta("all"), "spec": {}})
    server.put({"kind": "Service", "metadata": meta("not"), "spec": {"selector": {"app": "other"}}})
    async with running({}, logs=logs):
        await until(lambda: len(told(logs)) >= 6, "all entities")
        first = {identity: attributes for kind, identity, attributes in told(logs) if kind == "state"}
        assert first.keys() == {"uid-rs", "uid-a", "c1", "uid-front", "uid-all", "uid-not"}
        assert first["uid-a"]["k8s.workload.kind"] == "Deployment"
        assert first["uid-a"]["k8s.deployment.uid"] == "uid-d"
        assert {name for name in first["uid-a"] if name.startswith("k8s.service.")} == {"k8s.service.front"}
        assert first["c1"]["container.image.tag"] == "latest"
        server.put(pod("a", ownerReferences=[between]))  # the same but for its version: no news
        server.put(pod("a", container="c2", ownerReferences=[between]))
        await until(lambda: len(told(logs)) >= 9, "the new container")
        news = told(logs)[6:]
        assert [(kind, identity) for kind, identity, _ in news] == [
            ("delete", "c1"),
            ("state", "uid-a"),
            ("state", "c2"),
        ]
        server.delete("Pod", "uid-a")
        await until(lambda: len(told(logs)) >= 11, "the end")
        assert {(kind, identity) for kind, identity, _ in told(logs)[9:]} == {("delete", "uid-a"), ("delete", "c2")}


async def test_entities_are_told_again(server: ApiServer) -> None:
    """Once every metadata_collection_interval, though nothing changed."""
    logs = SinkConsumer()
    server.put(pod("a"))
    async with running({"metadata_collection_interval": "100ms"}, logs=logs):
        await until(lambda: [identity for _, identity, _ in told(logs)].count("uid-a") >= 3, "three times")


async def test_news_that_nobody_takes(server: ApiServer) -> None:
    """Refused for the moment: told later as it is then, ends included. Refused for good: given up, and life goes on."""
    logs = SinkConsumer(refuse=Overloaded("full", after=0.01))
    server.put(pod("a"))
    server.put(pod("b", container="c9"))
    async with running({}, logs=logs):
        await until(lambda: logs.refused > 2, "refusals")
        server.put(pod("a", "Succeeded"))
        server.delete("Pod", "uid-b")
        await until(lambda: server.watching.get("pods"), "the watch")
        refused = logs.refused
        await until(lambda: logs.refused > refused + 40, "refusals after the news")
        logs.refuse = None
        await until(lambda: {"uid-b", "uid-a"} <= {identity for _, identity, _ in told(logs)}, "the news")
        events = {identity: (kind, attributes) for kind, identity, attributes in told(logs)}
        assert events["uid-a"][1]["k8s.pod.phase"] == "Succeeded"
        assert (events["uid-b"][0], events["c9"][0]) == ("delete", "delete")
        logs.refuse, before = [Permanent("no")], logs.refused
        server.put(pod("a", "Failed"))
        await until(lambda: logs.refused == before + 1, "the refusal")
        server.put(pod("z", container="c7"))
        await until(lambda: "uid-z" in {identity for _, identity, _ in told(logs)}, "later news")
        assert not any(attributes.get("k8s.pod.phase") == "Failed" for _, _, attributes in told(logs))


async def test_quotas_of_openshift(server: ApiServer) -> None:
    """ClusterResourceQuotas are reported with distribution openshift: the sum, and each namespace's share."""
    sink = SinkConsumer()
    server.groups["quota.openshift.io"] = {"v1": ["clusterresourcequotas"]}
    share = {"namespace": "shop", "status": {"hard": {"requests.cpu": "6"}, "used": {"requests.cpu": "1"}}}
    total = {"hard": {"requests.cpu": "10", "pods": "4"}, "used": {"requests.cpu": "600m"}}
    status = {"total": total, "namespaces": [share]}
    server.put({"kind": "ClusterResourceQuota", "metadata": {"name": "q", "uid": "uid-q"}, "status": status})
    async with running({"distribution": "openshift"}, sink):
        await until(lambda: sink.batches, "a report")
    found = {(metric, attributes): row.value for (metric, attributes, _), row in metric_rows.ours(sink.parts).items()}
    cpu, where = ("resource", "requests.cpu"), ("k8s.namespace.name", "shop")
    assert found == {
        ("openshift.clusterquota.limit", (cpu,)): 10000,
        ("openshift.clusterquota.limit", (("resource", "pods"),)): 4,
        ("openshift.clusterquota.used", (cpu,)): 600,
        ("openshift.appliedclusterquota.limit", (where, cpu)): 6000,
        ("openshift.appliedclusterquota.used", (where, cpu)): 1000,
    }
