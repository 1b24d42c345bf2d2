"""k8s_objects over the API server of the tests: kinds, pulled and watched, in which form."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph import __version__
from heliograph.component.clock import SystemClock
from heliograph.component.errors import Overloaded, StartError
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.config.problem import InvalidConfig
from heliograph.extensions.file_storage import FACTORY as STORAGE
from heliograph.kubernetes.access import access
from heliograph.kubernetes.changes import Change
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.groups import Kind, preferred
from heliograph.otlp.attributes import from_any_value
from heliograph.receivers.k8s_objects import FACTORY
from heliograph.receivers.k8s_objects.record import record, resource_logs
from heliograph.testing.api_server import ApiServer
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

SCOPE = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/k8sobjectsreceiver"


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ApiServer], None]:
    def write(server: ApiServer) -> None:
        path = tmp_path / "kubeconfig"
        path.write_text(server.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(path))

    return write


Kubeconfig = Callable[[ApiServer], None]


def pod(name: str, namespace: str = "a", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{namespace}-{name}", "labels": {"app": name[0]}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **more}


def node(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": f"uid-{name}"}}


class Record:
    """One log record with what is around it."""

    def __init__(self, message: ResourceLogs, scope: Any, found: Any) -> None:
        self.resource = {pair.key: from_any_value(pair.value) for pair in message.resource.attributes}
        self.scope = (scope.scope.name, scope.scope.version)
        self.attributes = {pair.key: from_any_value(pair.value) for pair in found.attributes}
        self.body: Any = from_any_value(found.body)
        self.times = (found.time_unix_nano, found.observed_time_unix_nano)
        self.severity = (found.severity_number, found.severity_text)

    @property
    def told(self) -> tuple[str, str]:
        """(type, name) of a change."""
        return self.body["type"], self.body["object"]["metadata"]["name"]


def records(sink: SinkConsumer) -> list[Record]:
    return [
        Record(message, scope, found)
        for batch in sink.batches
        for message in batch.messages()
        for scope in message.scope_logs
        for found in scope.log_records
    ]


class Running:
    def __init__(self, sink: SinkConsumer, host: TestHost) -> None:
        self.sink, self.host = sink, host

    @property
    def told(self) -> list[tuple[str, str]]:
        return [found.told for found in records(self.sink)]


@asynccontextmanager
async def running(
    objects: list[dict[str, Any]],
    *,
    sink: SinkConsumer | None = None,
    clock: Any = None,
    extensions: Any = None,
    **more: Any,
) -> Any:
    sink = sink or SinkConsumer()
    made = FACTORY.create(
        settings("receiver", "k8s_objects", outputs={"logs": sink}),
        from_plain(FACTORY.config, {"auth_type": "kubeConfig", "objects": objects, **more}),
    )
    async with TestHost(clock=clock, extensions=extensions) as host:
        await made.start(host)
        try:
            yield Running(sink, host)
        finally:
            await made.shutdown(host.clock.monotonic() + 2)


async def watched(server: ApiServer, plural: str = "pods", number: int = 1) -> None:
    await until(lambda: server.watching.get(plural, 0) == number, f"{number} watches of {plural}")


async def test_a_change_is_told_as_upstream_tells_it(kubeconfig: Kubeconfig) -> None:
    """Body {type, object} with the whole object, attributes, namespace on the resource, scope, observed time alone."""
    async with ApiServer() as server:
        kubeconfig(server)
        server.put(pod("before"))
        async with running([{"name": "pods", "mode": "watch"}]) as run:
            await watched(server)
            whole = pod("web", spec={"n": 1, "f": 1.5, "t": True, "z": None, "l": [1, "a", {}], "e": {}})
            server.put(whole)
            server.put(whole)
            server.delete("Pod", "uid-a-web")
            await until(lambda: len(records(run.sink)) == 3)
            assert run.told == [("ADDED", "web"), ("MODIFIED", "web"), ("DELETED", "web")]
            first = records(run.sink)[0]
            whole["metadata"]["resourceVersion"] = "102"
            assert first.body == {"type": "ADDED", "object": whole}
            assert list(first.attributes.items()) == [
                ("k8s.resource.name", "pods"), ("event.domain", "k8s"), ("event.name", "web"),
            ]  # fmt: skip
            assert first.resource == {"k8s.namespace.name": "a"}
            assert first.scope == (SCOPE, __version__)
            assert first.times[0] == 0
            assert first.times[1] > 1_600_000_000 * 10**9
            assert first.severity == (0, "")


async def test_objects_are_pulled_every_interval(kubeconfig: Kubeconfig) -> None:
    """The object itself is the body; one ResourceLogs for each namespace; at once, and then every interval."""
    async with ApiServer() as server:
        kubeconfig(server)
        clock = ManualClock()
        for name, namespace in (("one", "a"), ("two", "b"), ("three", "a")):
            server.put(pod(name, namespace))
        async with running([{"name": "pods", "interval": "30s"}], clock=clock) as run:
            await until(lambda: len(records(run.sink)) == 3)
            (batch,) = run.sink.batches
            assert [[len(s.log_records) for s in m.scope_logs] for m in batch.messages()] == [[2], [1]]
            first = records(run.sink)[0]
            assert first.body["metadata"]["name"] == "one"
            assert first.attributes == {"k8s.resource.name": "pods"}
            assert (first.resource, first.scope) == ({"k8s.namespace.name": "a"}, (SCOPE, __version__))
            assert first.times == (0, clock.now_ns())
            await clock.advance(29)
            assert len(run.sink.batches) == 1
            await clock.advance(1.5)
            await until(lambda: len(run.sink.batches) == 2)
            server.refuse("pods", 500)
            await clock.advance(30)
            await until(lambda: run.host.status is Status.RECOVERABLE_ERROR)
            server.refuse("pods", 0)
            await clock.advance(30)
            await until(lambda: len(run.sink.batches) == 3)
            assert run.host.status is Status.OK


async def test_pages_and_selectors(kubeconfig: Kubeconfig) -> None:
    """All pages are told, each once, and the selectors and the exact version go along."""
    async with ApiServer() as server:
        kubeconfig(server)
        server.largest_page = 3
        for number in range(8):
            server.put(pod(f"x{number}"))
        server.put(pod("y"))
        one = {"name": "pods", "label_selector": "app=x", "field_selector": "metadata.namespace=a", "namespaces": ["a"]}
        objects = [{**one, "resource_version": "50"}]
        async with running(objects) as run:
            await until(lambda: len(records(run.sink)) == 8)
            assert [found.body["metadata"]["name"] for found in records(run.sink)] == [f"x{n}" for n in range(8)]
        asked = [request for request in server.requests if request.path == "/api/v1/namespaces/a/pods"]
        assert [bool(request.query.get("resourceVersionMatch") == "Exact") for request in asked] == [True, False, False]


async def test_initial_delay(kubeconfig: Kubeconfig) -> None:
    """The first round waits for it."""
    async with ApiServer() as server:
        kubeconfig(server)
        clock = ManualClock()
        server.put(node("n"))
        async with running([{"name": "nodes", "initial_delay": "5s"}], clock=clock) as run:
            await clock.advance(4.9)
            assert server.asked("nodes", watch=False) == 0
            await clock.advance(0.2)
            await until(lambda: len(records(run.sink)) == 1)
            assert records(run.sink)[0].resource == {}


async def test_namespaces_left_out_and_types_left_out(kubeconfig: Kubeconfig) -> None:
    """By name or pattern, also namespaces that come later; types by name."""
    async with ApiServer() as server:
        kubeconfig(server)
        out = [{"regexp": "^kube-"}, {"strict": "b"}]
        objects = [
            {"name": "pods", "mode": "watch", "exclude_namespaces": out, "exclude_watch_type": ["MODIFIED", "BOOKMARK"]}
        ]
        async with running(objects) as run:
            await watched(server)
            for name, namespace in (("one", "a"), ("two", "b"), ("three", "kube-new"), ("four", "bb"), ("one", "a")):
                server.put(pod(name, namespace))
            server.delete("Pod", "uid-a-one")
            await until(lambda: len(run.told) == 3)
            assert run.told == [("ADDED", "one"), ("ADDED", "four"), ("DELETED", "one")]


async def test_the_initial_state_comes_first(kubeconfig: Kubeconfig) -> None:
    """Each object that exists once as ADDED, then changes; not again after the watch was cut."""
    async with ApiServer() as server:
        kubeconfig(server)
        server.largest_page = 2
        for name in "abc":
            server.put(pod(name))
        async with running([{"name": "pods", "mode": "watch"}], include_initial_state=True) as run:
            await watched(server)
            server.put(pod("b"))
            await until(lambda: len(run.told) == 4)
            await server.drop(cut=True)
            await watched(server)
            server.put(pod("d"))
            await until(lambda: len(run.told) == 5)
            assert run.told == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("MODIFIED", "b"), ("ADDED", "d")]


async def test_a_version_to_begin_after(kubeconfig: Kubeconfig) -> None:
    """What changed since is told, without a list."""
    async with ApiServer() as server:
        kubeconfig(server)
        for name in "abc":
            server.put(pod(name))
        async with running([{"name": "pods", "mode": "watch", "resource_version": "101"}]) as run:
            await until(lambda: run.told == [("ADDED", "b"), ("ADDED", "c")])
            assert server.asked("pods", watch=False) == 0


async def test_gone_tells_what_is_newer_and_loses_no_place(kubeconfig: Kubeconfig) -> None:
    """After 410, what exists and is newer is told as ADDED, also what had been there; a full pipeline loses nothing."""
    async with ApiServer() as server:
        kubeconfig(server)
        sink = SinkConsumer(refuse=[Overloaded("full", 0.01)])
        async with running([{"name": "pods", "mode": "watch"}], sink=sink) as run:
            await watched(server)
            server.put(pod("a"))
            server.put(pod("b"))
            await until(lambda: len(run.told) == 2)
            await server.stop()
            server.put(pod("b"))
            server.put(pod("c"))
            server.delete("Pod", "uid-a-a")
            server.compact()
            await server.start()
            await until(lambda: len(run.told) == 4)
            await watched(server)
            assert run.told == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "b"), ("ADDED", "c")]


async def test_the_checkpoint_of_each_object_is_kept(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    """Kinds and namespaces have one each, under upstream's keys; changes of the time between are told."""
    async with ApiServer() as server:
        kubeconfig(server)
        objects = [
            {"name": "pods", "mode": "watch", "namespaces": ["a", "b"]},
            {"name": "nodes", "mode": "watch"},
        ]
        for run_number in range(2):
            storage = STORAGE.create(
                settings("extension", "file_storage"), from_plain(STORAGE.config, {"directory": str(tmp_path)})
            )
            async with TestHost() as host:
                await storage.start(host)
                async with running(objects, storage="file_storage", extensions={"file_storage": storage}) as run:
                    await watched(server, "pods", 2)
                    await watched(server, "nodes")
                    if run_number == 0:
                        server.put(pod("one"))
                        server.put(node("n"))
                        await until(lambda run=run: len(run.told) == 2)
                    else:
                        await until(lambda run=run: len(run.told) == 3)
                        assert sorted(run.told) == [("ADDED", "three"), ("ADDED", "two"), ("MODIFIED", "n")]
                await storage.shutdown(host.clock.monotonic() + 1)
            server.put(pod("two"))
            server.put(pod("three", "b"))
            server.put(node("n"))
        async with TestHost() as host:
            await storage.start(host)
            keys = {key for key, _ in storage.key_value("receiver_k8s_objects").items()}
            await storage.shutdown(host.clock.monotonic() + 1)
        assert keys == {"latestResourceVersion/pods.a", "latestResourceVersion/pods.b", "latestResourceVersion/nodes"}


async def kinds(environ: Mapping[str, str]) -> list[Kind]:
    client = ApiClient(access("kubeConfig", "", environ), SystemClock())
    client.open()
    try:
        return await preferred(client)
    finally:
        await client.close()


@pytest.mark.parametrize("aggregated", [True, False])
async def test_discovery(aggregated: bool, kubeconfig: Kubeconfig) -> None:
    """The preferred version of each kind, or the one that has it; the core first; no subresources; old servers too."""
    async with ApiServer() as server:
        kubeconfig(server)
        server.aggregated = aggregated
        found = await kinds(os.environ)
        assert found[:4] == [Kind("", "v1", plural) for plural in ("events", "namespaces", "nodes", "pods")]
        assert [kind for kind in found if kind.group == "autoscaling"] == [
            Kind("autoscaling", "v2", "horizontalpodautoscalers"), Kind("autoscaling", "v1", "old"),
        ]  # fmt: skip
        assert Kind("events.k8s.io", "v1", "events") in found


async def test_the_group_chooses(kubeconfig: Kubeconfig) -> None:
    """Without one, the core's kind; with one, that group's; with one that has no such kind, the first."""
    async with ApiServer() as server:
        kubeconfig(server)
        groups = ["", "events.k8s.io", "apps"]
        async with running([{"name": "events", "group": group, "mode": "watch"} for group in groups]):
            await watched(server, "events", 3)
        paths = sorted(request.path for request in server.requests if "watch" in request.query)
        assert paths == ["/api/v1/events", "/api/v1/events", "/apis/events.k8s.io/v1/events"]


async def test_a_kind_that_is_not_there(kubeconfig: Kubeconfig) -> None:
    """An error by default, with names that are near; ignored if wanted; and an error when nothing is left."""
    async with ApiServer() as server:
        kubeconfig(server)
        objects = [{"name": "pod"}, {"name": "nodes", "mode": "watch"}]
        with pytest.raises(StartError, match="receiver k8s_objects: the API has no kind 'pod'; it has pods"):
            async with running(objects):
                pass
        for mode in ("ignore", "silent"):
            async with running(objects, error_mode=mode):
                await watched(server, "nodes")
            with pytest.raises(StartError, match="none of"):
                async with running(objects[:1], error_mode=mode):
                    pass


async def test_a_server_that_comes_later(kubeconfig: Kubeconfig) -> None:
    """The start does not fail; health says what is missing until it is there."""
    async with ApiServer() as server:
        kubeconfig(server)
        await server.stop()
        async with running([{"name": "pods", "mode": "watch"}]) as run:
            assert run.host.status is Status.RECOVERABLE_ERROR
            await server.start()
            await watched(server)
            await until(lambda: run.host.status is Status.OK)


async def test_one_kind_without_rights(kubeconfig: Kubeconfig) -> None:
    """It is named with the rule of RBAC; the others go on."""
    async with ApiServer() as server:
        kubeconfig(server)
        server.refuse("pods", 403, "pods is forbidden")
        async with running([{"name": "pods"}, {"name": "nodes", "mode": "watch"}]) as run:
            await watched(server, "nodes")
            server.put(node("n"))
            await until(lambda: run.told == [("ADDED", "n")])
            await until(lambda: run.host.status is Status.RECOVERABLE_ERROR)
            wanted = 'add to a ClusterRole: apiGroups: [""], resources: ["pods"], verbs: ["list"]'
            assert wanted in run.host.reports[-1][1]
            assert "nodes" not in run.host.reports[-1][1]


@pytest.mark.parametrize("found", ["[1]", '"x"', "1", '{"a":' * 2000 + "1" + "}" * 2000])
def test_odd_objects_do_no_harm(found: str) -> None:
    """Whatever JSON comes, there is a record or one of the errors that the receiver counts."""
    try:
        made = record(Change("ADDED", found.encode(), "", "", "1"), "pods", 1, True)
    except RecursionError:
        return
    message = ResourceLogs.FromString(resource_logs("", [made]))
    assert from_any_value(message.scope_logs[0].log_records[0].body)["object"] == json.loads(found)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"objects": [{"name": "pods", "exclude_watch_type": ["ADDED"]}]}, "exclude_watch_type"),
        ({"objects": [{"name": "pods", "mode": "watch", "initial_delay": "1s"}]}, "initial_delay"),
        ({"objects": [{"name": "pods", "initial_delay": "2s", "interval": "2s"}]}, "initial_delay"),
        ({"objects": [{"name": "pods", "initial_delay": "2s"}], "interval": "1s"}, "initial_delay"),
        ({"objects": [{"name": "pods", "namespaces": ["a"], "exclude_namespaces": [{"strict": "b"}]}]}, "exclude_name"),
        ({"objects": [{"name": "pods", "exclude_namespaces": [{"strict": "b", "regexp": "c"}]}]}, "either"),
        ({"objects": [{"name": "pods", "exclude_namespaces": [{"regexp": "("}]}]}, "regular expression"),
        ({"objects": [{"name": "pods", "mode": "push"}]}, "mode"),
        ({"objects": [{"name": "pods", "persist_resource_version": True}]}, "storage"),
        ({"objects": [{"name": "pods"}], "include_initial_state": True}, "include_initial_state"),
        (
            {"objects": [{"name": "pods", "mode": "watch", "resource_version": "1"}], "storage": "file_storage"},
            "storage",
        ),
        ({"objects": [{}]}, "name"),
        ({"objects": [], "error_mode": "shout"}, "error_mode"),
    ],
)
def test_what_does_not_go_together_is_refused(config: dict[str, Any], problem: str) -> None:
    """Upstream's rules."""
    with pytest.raises(InvalidConfig, match=problem):
        from_plain(FACTORY.config, config)
