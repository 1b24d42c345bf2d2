"""What is added to which resource, with a small API server behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph.component.batch import Batch, Completion, Context, Fate, Outcome
from heliograph.component.clock import SystemClock
from heliograph.component.errors import ConfigError, Overloaded, StartError
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.otlp.attributes import encode_attributes, from_any_value
from heliograph.processors.k8s_attributes import FACTORY
from heliograph.processors.k8s_attributes.config import METADATA, K8sAttributesConfig
from heliograph.testing.api_server import ApiServer
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

UID = [{"sources": [{"from": "resource_attribute", "name": "k8s.pod.uid"}]}]
PEER = [{"sources": [{"from": "connection"}]}]
IMAGE_ID = "lab.test/app@sha256:" + "a" * 64


def pod(uid: str = "u1", name: str = "web-5d9c7b8f4d-x2x4z", **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"app": "web", "tier/x": "front", "empty": "", "pod-template-hash": "5d9c7b8f4d"},
            "annotations": {"team": "blue", "resource.opentelemetry.io/service.version": "from-annotation"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d9c7b8f4d", "uid": "rs1", "controller": True}],
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "lab.test/app:1.2"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "startTime": "2026-01-02T03:04:06Z",
            "containerStatuses": [
                {"name": "app", "containerID": "containerd://c1", "imageID": IMAGE_ID, "restartCount": 1,
                 "lastState": {"terminated": {"containerID": "containerd://c0"}}}
            ],
        },
    }  # fmt: skip
    for section, values in changes.items():
        found[section] |= values
    return found


def part(**attributes: Any) -> bytes:
    message = ResourceLogs()
    message.resource.MergeFromString(encode_attributes({name.replace("__", "."): v for name, v in attributes.items()}))
    message.scope_logs.add().log_records.add().body.string_value = "x"
    return bytes(message.SerializeToString())


def of(message: ResourceLogs) -> dict[str, Any]:
    return {pair.key: from_any_value(pair.value) for pair in message.resource.attributes}


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@pytest.fixture
def environment(tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(server.kubeconfig())
    monkeypatch.setenv("KUBECONFIG", str(file))


class Running:
    """A processor that runs, its sink and its host."""

    def __init__(self, config: dict[str, Any], clock: SystemClock | None = None) -> None:
        self.sink = SinkConsumer()
        self.settings = settings("processor", "k8s_attributes", "logs", outputs={Signal.LOGS: self.sink})
        self.host = TestHost(clock=clock)
        plain = {"auth_type": "kubeConfig", "wait_for_metadata": True} | config
        self.processor: Any = FACTORY.create(self.settings, from_plain(K8sAttributesConfig, plain))

    async def give(self, *parts: bytes, peer: str = "", done: Callable[[Outcome], None] = lambda _: None) -> None:
        await self.processor.consume(
            Batch(Signal.LOGS, parts, len(parts), context=Context(peer=peer), completion=Completion(done))
        )

    async def attributes(self, peer: str = "", **attributes: Any) -> dict[str, Any]:
        await self.give(part(**attributes), peer=peer)
        return of(self.sink.messages[-1])

    async def until(self, wanted: Callable[[dict[str, Any]], bool], peer: str = "", **attributes: Any) -> None:
        """Give the same resource until what comes out is as wanted."""
        async with asyncio.timeout(10):
            while True:
                if wanted(await self.attributes(peer, **attributes)):
                    return
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(config: dict[str, Any], clock: SystemClock | None = None) -> AsyncIterator[Running]:
    made = Running(config, clock)
    async with made.host:
        await made.processor.start(made.host)
        yield made
        await made.processor.shutdown(made.host.clock.monotonic() + 1)
        assert made.host.crashes == []


pytestmark = pytest.mark.usefixtures("environment")


async def test_defaults(server: ApiServer) -> None:
    server.put(pod())
    async with running({"pod_association": UID}) as it:
        assert await it.attributes(k8s__pod__uid="u1", mine="x", k8s__node__name="kept", k8s__pod__name="") == {
            "k8s.pod.uid": "u1",
            "mine": "x",
            "k8s.node.name": "kept",
            "k8s.pod.name": "web-5d9c7b8f4d-x2x4z",
            "k8s.namespace.name": "shop",
            "k8s.pod.start_time": "2026-01-02T03:04:05Z",
            "k8s.deployment.name": "web",
            "container.image.name": "lab.test/app",
            "container.image.tag": "1.2",
        }
        assert await it.attributes(k8s__pod__uid="unknown") == {"k8s.pod.uid": "unknown"}
        assert it.settings.telemetry.metrics.value(
            "otelcol_otelsvc_k8s_ip_lookup_miss", {"processor": "k8s_attributes", "otelcol_signal": "logs"}
        ) == 1  # fmt: skip


async def test_every_name_of_metadata(server: ApiServer) -> None:
    server.put({"kind": "Namespace", "metadata": {"name": "kube-system", "uid": "cluster"}})
    server.put({"kind": "Node", "metadata": {"name": "node-1", "uid": "node-uid"}})
    owner = {"kind": "Deployment", "name": "web", "uid": "d1", "controller": True}
    server.put({"kind": "ReplicaSet", "metadata": {"name": "rs", "namespace": "shop", "uid": "rs1",
                                                   "ownerReferences": [owner]}})  # fmt: skip
    cron = {"kind": "CronJob", "name": "nightly", "uid": "cj1", "controller": True}
    server.put({"kind": "Job", "metadata": {"name": "nightly-29", "namespace": "shop", "uid": "j1",
                                            "ownerReferences": [cron]}})  # fmt: skip
    server.put(pod(spec={"hostname": "h"}))
    job = [{"kind": "Job", "name": "nightly-29", "uid": "j1"}]
    server.put(pod("u2", "nightly-29-abc", metadata={"uid": "u2", "name": "nightly-29-abc", "ownerReferences": job}))
    for kind in ("StatefulSet", "DaemonSet"):
        owned = [{"kind": kind, "name": kind.lower(), "uid": f"{kind}-uid"}]
        server.put(pod(kind, kind, metadata={"uid": kind, "name": kind, "ownerReferences": owned}))
    async with running({"pod_association": UID, "extract": {"metadata": list(METADATA)}}) as it:
        web = await it.attributes(k8s__pod__uid="u1")
        assert web == {
            "container.id": "c1",
            "container.image.name": "lab.test/app",
            "container.image.repo_digests": [IMAGE_ID],
            "container.image.tag": "1.2",
            "container.image.tags": ["1.2"],
            "k8s.cluster.uid": "cluster",
            "k8s.container.name": "app",
            "k8s.deployment.name": "web",
            "k8s.deployment.uid": "d1",
            "k8s.namespace.name": "shop",
            "k8s.node.name": "node-1",
            "k8s.node.uid": "node-uid",
            "k8s.pod.hostname": "h",
            "k8s.pod.ip": "10.0.0.1",
            "k8s.pod.name": "web-5d9c7b8f4d-x2x4z",
            "k8s.pod.start_time": "2026-01-02T03:04:05Z",
            "k8s.pod.uid": "u1",
            "k8s.replicaset.name": "web-5d9c7b8f4d",
            "k8s.replicaset.uid": "rs1",
            "service.instance.id": "shop.web-5d9c7b8f4d-x2x4z.app",
            "service.name": "web",
            "service.namespace": "shop",
            "service.version": "1.2",
        }
        nightly = await it.attributes(k8s__pod__uid="u2")
        assert {name: value for name, value in nightly.items() if "job" in name or name == "service.name"} == {
            "k8s.cronjob.name": "nightly",
            "k8s.cronjob.uid": "cj1",
            "k8s.job.name": "nightly-29",
            "k8s.job.uid": "j1",
            "service.name": "nightly",
        }
        for kind in ("StatefulSet", "DaemonSet"):
            found = await it.attributes(k8s__pod__uid=kind)
            assert found[f"k8s.{kind.lower()}.name"] == found["service.name"] == kind.lower()
            assert found[f"k8s.{kind.lower()}.uid"] == f"{kind}-uid"


async def test_deployment_by_its_replica_set_when_the_name_does_not_tell(server: ApiServer) -> None:
    owner = {"kind": "Deployment", "name": "real", "uid": "d1", "controller": True}
    server.put({"kind": "ReplicaSet", "metadata": {"name": "rs", "namespace": "shop", "uid": "rs1",
                                                   "ownerReferences": [owner]}})  # fmt: skip
    server.put(pod())
    config = {"pod_association": UID, "extract": {"deployment_name_from_replicaset": False}}
    async with running(config) as it:
        assert (await it.attributes(k8s__pod__uid="u1"))["k8s.deployment.name"] == "real"


async def test_labels_and_annotations(server: ApiServer) -> None:
    server.put({"kind": "Namespace", "metadata": {"name": "shop", "uid": "n", "labels": {"env": "prod"}}})
    server.put({"kind": "Node", "metadata": {"name": "node-1", "uid": "no", "annotations": {"rack": "7"}}})
    owner = {"kind": "Deployment", "name": "web", "uid": "d1", "controller": True}
    server.put({"kind": "ReplicaSet", "metadata": {"name": "rs", "namespace": "shop", "uid": "rs1",
                                                   "ownerReferences": [owner]}})  # fmt: skip
    server.put({"kind": "Deployment", "metadata": {"name": "web", "namespace": "shop", "uid": "d1",
                                                   "labels": {"chart": "c"}}})  # fmt: skip
    server.put(pod())
    extract = {
        "metadata": ["k8s.pod.name"],
        "labels": [
            {"key": "app", "tag_name": "application", "from": "pod"},
            {"key": "tier/x"},
            {"key": "empty"},
            {"key": "env", "from": "namespace"},
            {"key_regex": "(.*)art", "tag_name": "$1-$1", "from": "deployment"},
            {"key": "chart", "from": "deployment"},
        ],
        "annotations": [{"key_regex": "te.*"}, {"key_regex": "rac"}, {"key": "rack", "from": "node"}],
        "otel_annotations": True,
    }
    async with running({"pod_association": UID, "extract": extract}) as it:
        assert await it.attributes(k8s__pod__uid="u1") == {
            "k8s.pod.uid": "u1",
            "k8s.pod.name": "web-5d9c7b8f4d-x2x4z",
            "application": "web",
            "k8s.pod.labels.tier/x": "front",
            "k8s.namespace.labels.env": "prod",
            "ch-ch": "c",
            "k8s.deployment.label.chart": "c",
            "k8s.pod.annotations.team": "blue",
            "k8s.node.annotations.rack": "7",
            "service.version": "from-annotation",
        }
        server.put({"kind": "Namespace", "metadata": {"name": "shop", "uid": "n", "labels": {"env": "test"}}})
        await it.until(lambda found: found.get("k8s.namespace.labels.env") == "test", k8s__namespace__name="shop")
        assert (await it.attributes(k8s__pod__uid="u1"))["k8s.namespace.labels.env"] == "test"


@pytest.mark.parametrize(
    ("rules", "peer", "resource", "found"),
    [
        ([], "", {"k8s__pod__ip": "10.0.0.1"}, True),
        ([], "", {"ip": "10.0.0.1"}, True),
        ([], "::ffff:10.0.0.1", {}, True),
        ([], "", {"host__name": "10.0.0.1"}, True),
        ([], "10.0.0.9", {"host__name": "10.0.0.1"}, False),
        (PEER, "10.0.0.1", {}, True),
        (PEER, "", {"k8s__pod__ip": "10.0.0.1"}, False),
        (UID + PEER, "10.0.0.1", {"k8s__pod__uid": "other"}, False),
        (["k8s.namespace.name", "k8s.pod.name"], "", {"k8s__namespace__name": "shop",
                                                     "k8s__pod__name": "web-5d9c7b8f4d-x2x4z"}, True),
        (["k8s.namespace.name", "k8s.pod.name"], "", {"k8s__pod__name": "web-5d9c7b8f4d-x2x4z"}, False),
        (["container.id"], "", {"container__id": "c1"}, True),
        (["container.id"], "", {"container__id": "c0"}, True),
        (["k8s.deployment.name"], "", {"k8s__deployment__name": 5}, False),
        (["host.name"], "", {"host__name": "web"}, False),
        (["host.name"], "", {"host__name": "10.0.0.1"}, True),
    ],
)  # fmt: skip
async def test_associations(server: ApiServer, rules: Any, peer: str, resource: dict[str, Any], found: bool) -> None:
    if rules and isinstance(rules[0], str):
        rules = [{"sources": [{"from": "resource_attribute", "name": name} for name in rules]}]
    server.put(pod())
    async with running({"pod_association": rules, "extract": {"metadata": ["k8s.pod.start_time",
                                                                           "k8s.container.name"]}}) as it:  # fmt: skip
        assert ("k8s.pod.start_time" in await it.attributes(peer, **resource)) is found


async def test_containers_by_name_and_run(server: ApiServer) -> None:
    two = [{"name": "app", "image": "a:1"}, {"name": "side", "image": "Bad Name"}]
    server.put(pod(spec={"containers": two}))
    config = {"pod_association": UID, "extract": {"metadata": ["container.id", "container.image.tag"]}}
    async with running(config) as it:
        base = {"k8s.pod.uid": "u1"}
        assert await it.attributes(k8s__pod__uid="u1") == base, "which container it is cannot be known"
        named = {"k8s__pod__uid": "u1", "k8s__container__name": "app"}
        assert (await it.attributes(**named))["container.id"] == "c1"
        assert (await it.attributes(**named, k8s__container__restart_count="1"))["container.id"] == "c1"
        assert (await it.attributes(**named, k8s__container__restart_count=0))["container.id"] == "c0"
        assert "container.id" not in await it.attributes(**named, k8s__container__restart_count="7")
        assert "container.image.tag" not in await it.attributes(k8s__pod__uid="u1", k8s__container__name="side")


async def test_an_address_that_another_pod_gets(server: ApiServer) -> None:
    """Between the death of a pod and the next one with its address nothing is added; by uid the dead one is found."""
    server.put(pod())
    async with running({"pod_association": [*UID, *PEER]}) as it:
        assert (await it.attributes("10.0.0.1"))["k8s.pod.name"].startswith("web")
        server.delete("Pod", "u1")
        await it.until(lambda found: "k8s.pod.name" not in found, "10.0.0.1")
        assert (await it.attributes(k8s__pod__uid="u1"))["k8s.pod.name"].startswith("web")
        server.put(pod("u2", "next", status={"startTime": "2026-01-02T04:00:00Z"}))
        await it.until(lambda found: found.get("k8s.pod.name") == "next", "10.0.0.1")


async def test_an_ended_job_does_not_keep_its_address(server: ApiServer) -> None:
    server.put(pod("job", "job", status={"phase": "Succeeded"}))
    server.put(pod("new", "new", status={"startTime": "2020-01-01T00:00:00Z"}))
    server.put(pod("net", "net", spec={"hostNetwork": True}))
    async with running({"pod_association": PEER}) as it:
        assert (await it.attributes("10.0.0.1"))["k8s.pod.name"] == "new"


async def test_the_same_name_with_another_uid(server: ApiServer) -> None:
    """A StatefulSet's pod comes back: by name the new one is found, unless the resource says that it is the old one."""
    names = ("k8s.namespace.name", "k8s.pod.name")
    rules = [{"sources": [{"from": "resource_attribute", "name": name} for name in names]}]
    server.put(pod("old", "db-0"))
    async with running({"pod_association": rules}) as it:
        named = {"k8s__namespace__name": "shop", "k8s__pod__name": "db-0"}
        assert (await it.attributes(**named))["k8s.pod.uid"] == "old"
        server.delete("Pod", "old")
        server.put(pod("new", "db-0", status={"startTime": None, "podIP": None}))
        await it.until(lambda found: found.get("k8s.pod.uid") == "new", **named)
        assert "k8s.pod.start_time" not in await it.attributes(**named, k8s__pod__uid="old")


async def test_a_change_of_the_pod_is_seen_and_what_did_not_change_is_remembered(server: ApiServer) -> None:
    server.put(pod())
    extract = {"metadata": ["k8s.pod.name"], "labels": [{"key": "app"}]}
    async with running({"pod_association": UID, "extract": extract}) as it:
        for _ in range(3):
            assert (await it.attributes(k8s__pod__uid="u1"))["k8s.pod.labels.app"] == "web"
        assert it.processor._enricher.hits == 2
        server.put(pod(metadata={"labels": {"app": "changed"}}))
        await it.until(lambda found: found["k8s.pod.labels.app"] == "changed", k8s__pod__uid="u1")


async def test_excluded_and_ignored_pods_get_nothing(server: ApiServer) -> None:
    server.put(pod("u1", "my-jaeger-agent-1"))
    server.put(pod("u2", "b", metadata={"annotations": {"opentelemetry.io/k8s-processor/ignore": " True"}}))
    async with running({"pod_association": UID}) as it:
        assert await it.attributes(k8s__pod__uid="u1") == {"k8s.pod.uid": "u1"}
        assert await it.attributes(k8s__pod__uid="u2") == {"k8s.pod.uid": "u2"}


async def test_filters_become_selectors(server: ApiServer) -> None:
    server.put(pod())
    server.put(pod("u2", "b", spec={"nodeName": "node-2"}))
    filters = {
        "node": "node-1",
        "namespace": ["shop", "bar"],
        "labels": [{"key": "app", "value": "web"}, {"key": "tier/x", "op": "exists"}],
        "fields": [{"key": "spec.nodeName", "value": "node-1", "op": "equals"}],
    }
    async with running({"pod_association": UID, "filter": filters}) as it:
        assert "k8s.pod.name" in await it.attributes(k8s__pod__uid="u1")
        assert "k8s.pod.name" not in await it.attributes(k8s__pod__uid="u2")
    lists = [request for request in server.requests if "watch" not in request.query]
    assert {request.path for request in lists} == {"/api/v1/namespaces/shop/pods", "/api/v1/namespaces/bar/pods"}
    assert lists[0].query["fieldSelector"] == "spec.nodeName=node-1,spec.nodeName=node-1"
    assert lists[0].query["labelSelector"] == "app=web,tier/x"


async def test_passthrough_only_notes_the_address_and_asks_nobody(server: ApiServer) -> None:
    async with running({"passthrough": True}) as it:
        assert await it.attributes("10.9.9.9", a="b") == {"a": "b", "k8s.pod.ip": "10.9.9.9"}
    assert server.requests == []


async def test_processors_with_the_same_configuration_share_watch_and_index(server: ApiServer) -> None:
    server.put(pod())
    clock = SystemClock()
    async with running({"pod_association": UID}, clock) as one:
        async with running({"pod_association": UID}, clock) as two:
            assert "k8s.pod.name" in await two.attributes(k8s__pod__uid="u1")
            assert server.asked("pods", watch=False) == 1
        assert "k8s.pod.name" in await one.attributes(k8s__pod__uid="u1")
    await until(lambda: server.watching["pods"] == 0)


async def test_waiting_for_metadata_fails_with_the_reason(server: ApiServer) -> None:
    server.refuse("pods", 403, "pods is forbidden")
    made = Running({"wait_for_metadata_timeout": "300ms"})
    async with made.host:
        with pytest.raises(StartError, match=r"not all pods were known .* 403 pods is forbidden"):
            await made.processor.start(made.host)


async def test_a_node_that_the_environment_does_not_name(server: ApiServer) -> None:
    made = Running({"filter": {"node_from_env_var": "NOT_THERE_AT_ALL"}})
    async with made.host:
        with pytest.raises(StartError, match="'NOT_THERE_AT_ALL' is not set"):
            await made.processor.start(made.host)


async def test_a_denied_kind_shows_in_health_and_the_rest_works(server: ApiServer) -> None:
    server.refuse("nodes", 403, "nodes is forbidden")
    server.put(pod())
    extract = {"metadata": ["k8s.pod.name", "k8s.node.uid"]}
    async with running({"pod_association": UID, "extract": extract, "wait_for_metadata": False}) as it:
        await until(lambda: it.host.status is Status.RECOVERABLE_ERROR)
        assert "nodes: GET /api/v1/nodes: 403 nodes is forbidden" in it.host.reports[-1][1]
        await it.until(lambda found: "k8s.pod.name" in found, k8s__pod__uid="u1")
        server.refuse("nodes", 0)
        await until(lambda: it.host.status is Status.OK)


LATE = {"pod_association": UID, "wait_for_pod": {"timeout": "5s", "max_bytes": 1000}}


async def test_records_wait_for_their_pod(server: ApiServer) -> None:
    """The known goes on at once, the unknown when its pod comes; the sender is told when both have ended."""
    server.put(pod())
    fates: list[Fate] = []
    async with running(LATE) as it:
        await it.give(part(k8s__pod__uid="new"), part(k8s__pod__uid="u1"), done=lambda o: fates.append(o.fate))
        assert [of(message)["k8s.pod.uid"] for message in it.sink.messages] == ["u1"]
        ledger = it.settings.telemetry.ledger[Signal.LOGS]
        assert (fates, ledger.waiting) == ([], 1)
        server.put(pod("new", "new"))
        await it.sink.wait_for(2)
        assert of(it.sink.messages[-1])["k8s.pod.name"] == "new"
        assert (fates, ledger.waiting) == ([Fate.DELIVERED], 0)


async def test_a_sender_that_waits_for_its_answer_has_none_before_its_records_went_on(server: ApiServer) -> None:
    """An OTLP request of an unknown pod: while it waits nothing of it is ours, so that a crash loses nothing that was
    acknowledged. It goes on as a whole when the pod is known."""
    server.put(pod())
    async with running(LATE) as it:
        request = [part(k8s__pod__uid="new"), part(k8s__pod__uid="u1")]
        batch = Batch(Signal.LOGS, request, 2, context=Context(transport="grpc"))
        answer = asyncio.ensure_future(it.processor.consume(batch))
        await asyncio.sleep(0)
        ledger = it.settings.telemetry.ledger[Signal.LOGS]
        assert (answer.done(), it.sink.items, ledger.waiting) == (False, 0, 0)
        assert it.processor._waiting.bytes == len(request[0])
        server.put(pod("new", "new"))
        await answer
        assert [of(message)["k8s.pod.uid"] for message in it.sink.messages] == ["new", "u1"]
        assert of(it.sink.messages[0])["k8s.pod.name"] == "new"
        assert it.processor._waiting.bytes == 0


async def test_a_sender_from_elsewhere_waits_once(server: ApiServer) -> None:
    async with running(LATE | {"wait_for_pod": {"timeout": "50ms"}}) as it:
        for outcome in (1, 1):
            batch = Batch(Signal.LOGS, [part(k8s__pod__uid="never")], 1, context=Context(transport="http"))
            await it.processor.consume(batch)
            value = it.settings.telemetry.metrics.value
            labels = {"processor": "k8s_attributes", "outcome": "unknown"}
            assert value("heliograph_k8s_waited_items", labels) == outcome
        assert it.sink.items == 2


async def test_a_pod_that_comes_while_the_rest_is_handed_on(server: ApiServer) -> None:
    """The next component is slow: what is about to wait for the pod does not miss it."""
    server.put(pod())
    async with running(LATE | {"wait_for_pod": {"timeout": "1h"}}) as it:
        index = it.processor._index

        class Slow:
            async def consume(self, batch: Batch) -> None:
                server.put(pod("new", "new"))
                await until(lambda: "new" in index.by_uid)
                await it.sink.consume(batch)

        it.processor._next = Slow()
        await it.give(part(k8s__pod__uid="new"), part(k8s__pod__uid="u1"))
        await it.sink.wait_for(2)
        assert of(it.sink.messages[-1])["k8s.pod.name"] == "new"


async def test_what_waited_in_vain_goes_on_and_is_not_waited_for_again(server: ApiServer) -> None:
    async with running(LATE | {"wait_for_pod": {"timeout": "50ms"}}) as it:
        await it.give(part(k8s__pod__uid="never"))
        assert it.sink.items == 0
        await it.sink.wait_for(1)
        await it.give(part(k8s__pod__uid="never"))
        assert it.sink.items == 2
        value = it.settings.telemetry.metrics.value
        labels = {"processor": "k8s_attributes", "outcome": "unknown"}
        assert value("heliograph_k8s_waited_items", labels) == 1


async def test_no_more_waits_than_there_is_room_for(server: ApiServer) -> None:
    async with running(LATE) as it:
        await it.give(*(part(k8s__pod__uid=f"{number:0300}") for number in range(4)))
        assert it.sink.items == 2
        await it.give(part(a="b"))
        assert it.sink.items == 3, "what names no pod does not wait"
    assert it.sink.items == 5, "at the end everything goes on"
    assert it.settings.telemetry.ledger[Signal.LOGS].waiting == 0


async def test_a_refusal_leaves_the_batch_with_its_sender_and_what_waited_is_tried_again(server: ApiServer) -> None:
    server.put(pod())
    async with running(LATE) as it:
        it.sink.refuse = Overloaded("full")
        with pytest.raises(Overloaded):
            await it.give(part(k8s__pod__uid="new"), part(k8s__pod__uid="u1"))
        assert it.settings.telemetry.ledger[Signal.LOGS].waiting == 0
        await it.give(part(k8s__pod__uid="new"))
        server.put(pod("new", "new"))
        await until(lambda: it.sink.refused >= 2)
        it.sink.refuse = None
        await it.sink.wait_for(1)
        assert of(it.sink.messages[-1])["k8s.pod.name"] == "new"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"extract": {"metadata": ["k8s.pod.nam"]}}, "not a supported metadata field"),
        ({"extract": {"labels": [{"key": "a", "key_regex": "b"}]}}, "not both"),
        ({"extract": {"labels": [{"key_regex": "("}]}}, "invalid regular expression"),
        ({"extract": {"labels": [{"key": "a", "from": "replicaset"}]}}, "replicaset"),
        ({"pod_association": [{"sources": [{"from": "connection"}] * 5}]}, "at most 4"),
        ({"pod_association": [{"sources": [{"from": "resource_attribute"}]}]}, "is needed"),
        ({"pod_association": [{"from": "connection"}]}, "from"),
        ({"auth_type": "tls"}, "tls"),
        ({"filter": {"labels": [{"key": "a", "op": "in"}]}}, "in"),
        ({"filter": {"fields": [{"key": "a", "op": "exists"}]}}, "exists"),
        ({"exclude": {"pods": [{"name": "["}]}}, "invalid regular expression"),
        ({"watch_sync_period": "-1s"}, "must not be negative"),
        ({"kube_api_qps": -1.0}, "must not be negative"),
    ],
)
def test_refused_configuration(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        from_plain(K8sAttributesConfig, config)
