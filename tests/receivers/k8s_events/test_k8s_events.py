"""k8s_events over the API server of the tests: which events, in which form, through whatever happens to the watch."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph import __version__
from heliograph.component.errors import Overloaded, Permanent
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.config.problem import InvalidConfig
from heliograph.extensions.file_storage import FACTORY as STORAGE
from heliograph.kubernetes.changes import Change
from heliograph.otlp.attributes import from_any_value
from heliograph.receivers.k8s_events import FACTORY
from heliograph.receivers.k8s_events.choice import Choice
from heliograph.receivers.k8s_events.record import Event, Metadata, decode, resource_logs, time_ns
from heliograph.testing.api_server import ApiServer
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

FUTURE = "2100-01-01T00:00:00Z"
FULL = {
    "kind": "Event",
    "apiVersion": "v1",
    "metadata": {
        "name": "web.17a", "namespace": "shop", "uid": "u-1", "creationTimestamp": "2024-02-29T23:59:58Z",
        "managedFields": [{"manager": "kubelet"}],
    },
    "involvedObject": {
        "kind": "Pod", "namespace": "shop", "name": "web", "uid": "p-1", "apiVersion": "v1", "resourceVersion": "7",
        "fieldPath": "spec.containers{app}",
    },
    "reason": "BackOff",
    "message": "Back-off pulling image ü",
    "source": {"component": "kubelet", "host": "node-1"},
    "firstTimestamp": "2024-02-29T23:59:58Z",
    "lastTimestamp": "2024-03-01T00:00:05Z",
    "count": 3,
    "type": "Warning",
    "eventTime": None,
    "action": "Pull",
    "reportingComponent": "kubelet",
    "reportingInstance": "node-1",
}  # fmt: skip


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def write(server: ApiServer, token: str = "") -> None:
        path = tmp_path / "kubeconfig"
        path.write_text(server.kubeconfig(token))
        monkeypatch.setenv("KUBECONFIG", str(path))

    return write


Kubeconfig = Callable[..., None]


def event(name: str, *, namespace: str = "a", at: str = FUTURE, uid: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "creationTimestamp": at}
    return {"kind": "Event", "metadata": metadata, "lastTimestamp": at, "message": name, "type": "Normal", **more}


def bodies(sink: SinkConsumer) -> list[str]:
    return [
        record.body.string_value
        for batch in sink.batches
        for message in batch.messages()
        for scope in message.scope_logs
        for record in scope.log_records
    ]


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: from_any_value(pair.value) for pair in pairs}


class Running:
    def __init__(self, sink: SinkConsumer, host: TestHost, receiver: Any) -> None:
        self.sink, self.host, self.receiver = sink, host, receiver


@asynccontextmanager
async def running(server: ApiServer, *, sink: SinkConsumer | None = None, extensions: Any = None, **config: Any) -> Any:
    sink = sink or SinkConsumer()
    made = FACTORY.create(
        settings("receiver", "k8s_events", outputs={"logs": sink}),
        from_plain(FACTORY.config, {"auth_type": "kubeConfig", **config}),
    )
    async with TestHost(extensions=extensions) as host:
        await made.start(host)
        try:
            yield Running(sink, host, made)
        finally:
            await made.shutdown(host.clock.monotonic() + 2)


async def watched(server: ApiServer, number: int = 1) -> None:
    await until(lambda: server.watching.get("events", 0) == number, f"{number} watches")


def test_a_record_is_as_upstream_makes_it() -> None:
    """Every field of one event."""

    found = ResourceLogs.FromString(resource_logs(decode(json.dumps(FULL))))
    assert list(attributes(found.resource.attributes).items()) == [
        ("k8s.node.name", "node-1"),
        ("k8s.object.kind", "Pod"),
        ("k8s.object.name", "web"),
        ("k8s.object.uid", "p-1"),
        ("k8s.object.fieldpath", "spec.containers{app}"),
        ("k8s.object.api_version", "v1"),
        ("k8s.object.resource_version", "7"),
    ]
    (scope,) = found.scope_logs
    name = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/k8seventsreceiver"
    assert (scope.scope.name, scope.scope.version) == (name, __version__)
    (record,) = scope.log_records
    assert record.body.string_value == "Back-off pulling image ü"
    assert (record.severity_number, record.severity_text) == (13, "Warning")
    assert (record.time_unix_nano, record.observed_time_unix_nano) == (1_709_251_205 * 10**9, 0)
    assert list(attributes(record.attributes).items()) == [
        ("k8s.event.reason", "BackOff"),
        ("k8s.event.action", "Pull"),
        ("k8s.event.start_time", "2024-02-29 23:59:58 +0000 UTC"),
        ("k8s.event.name", "web.17a"),
        ("k8s.event.uid", "u-1"),
        ("k8s.namespace.name", "shop"),
        ("k8s.event.reporting_controller", "kubelet"),
        ("k8s.event.reporting_instance", "node-1"),
        ("k8s.event.count", 3),
    ]


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ({"event_time": "2024-01-01T00:00:00.123456Z", "last_timestamp": FUTURE}, 1_704_067_200.123456),
        ({"last_timestamp": "2024-01-01T01:00:00+01:00", "first_timestamp": FUTURE}, 1_704_067_200),
        ({"first_timestamp": "2024-01-01T00:00:00Z"}, 1_704_067_200),
        ({"event_time": "yesterday"}, 0),
        ({}, 0),
    ],
)
def test_which_time_counts(times: dict[str, str], seconds: float) -> None:
    """eventTime, then lastTimestamp, then firstTimestamp."""
    assert time_ns(Event(Metadata(), **times)) == round(seconds * 1e6) * 1000


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [("Normal", 9, "Normal"), ("error", 17, "error"), ("CRITICAL", 21, "CRITICAL"), ("Odd", 0, ""), ("", 0, "")],
)
def test_severity_of_a_type(kind: str, number: int, text: str) -> None:
    """Known types in any case; others have none, as upstream."""

    (scope,) = ResourceLogs.FromString(resource_logs(Event(Metadata(), type=kind))).scope_logs
    assert (scope.log_records[0].severity_number, scope.log_records[0].severity_text) == (number, text)


def test_dedup_interval() -> None:
    """0: each change; negative: the first alone; else no more often than that, by uid; memory is bounded by it."""

    def wants(choice: Choice, kind: str, now: float, uid: str = "u") -> bool:
        return choice.wants(Change(kind, b"", "n", "", "1"), Event(Metadata(uid=uid)), 5, now, False)

    always, first, seldom = Choice(0, 0), Choice(0, -1), Choice(0, 10)
    assert [wants(always, "ADDED", 0), wants(always, "MODIFIED", 0), wants(always, "DELETED", 0)] == [True, True, False]
    assert [wants(first, "ADDED", 0), wants(first, "MODIFIED", 99)] == [True, False]
    assert [wants(seldom, kind, now) for kind, now in (("ADDED", 0), ("MODIFIED", 9.9), ("MODIFIED", 10.1))] == [
        True, False, True,
    ]  # fmt: skip
    assert wants(seldom, "MODIFIED", 11, "other")
    assert not wants(seldom, "MODIFIED", 15)
    assert wants(seldom, "MODIFIED", 40, "third")
    assert list(seldom._told) == ["third"]


async def test_only_what_happens_from_now_on_is_told(kubeconfig: Kubeconfig) -> None:
    """Not what exists, not an old one that is changed, and nothing when one is deleted; each change of others is."""
    async with ApiServer() as server:
        kubeconfig(server)
        server.put(event("before"))
        async with running(server) as run:
            await watched(server)
            server.put(event("old", at="2020-01-01T00:00:00Z"))
            server.put(event("new"))
            server.put(event("new", count=2))
            server.delete("Event", "uid-new")
            server.put(event("last", namespace="b"))
            await until(lambda: "last" in bodies(run.sink))
            assert bodies(run.sink) == ["new", "new", "last"]
            assert run.host.status is Status.OK


async def test_namespaces(kubeconfig: Kubeconfig) -> None:
    """Those alone are asked for, each by a watch of its own."""
    async with ApiServer() as server:
        kubeconfig(server)
        async with running(server, namespaces=["a", "b"]) as run:
            await watched(server, 2)
            for namespace in ("a", "c", "b"):
                server.put(event(f"in-{namespace}", namespace=namespace))
            await until(lambda: len(bodies(run.sink)) == 2)
            assert sorted(bodies(run.sink)) == ["in-a", "in-b"]
        assert all("/namespaces/" in request.path for request in server.requests)


async def test_nothing_is_lost_or_doubled_through_cuts_outages_and_410(kubeconfig: Kubeconfig) -> None:
    """A watch cut in the middle of an object, a server that is away, and a version that is gone."""
    async with ApiServer() as server:
        kubeconfig(server)
        told = [f"e{number}" for number in range(8)]
        async with running(server) as run:
            await watched(server)
            server.put(event("e0"))
            await until(lambda: len(bodies(run.sink)) == 1)
            await server.drop(cut=True)
            server.put(event("e1"))
            await watched(server)
            server.put(event("e2"))
            await until(lambda: len(bodies(run.sink)) == 3)
            await server.stop()
            server.put(event("e3"))
            server.put(event("e4"))
            await until(lambda: run.host.status is Status.RECOVERABLE_ERROR)
            await server.start()
            await until(lambda: len(bodies(run.sink)) == 5)
            await watched(server)
            assert run.host.status is Status.OK
            await server.stop()
            server.put(event("e5"))
            server.put(event("e6"))
            server.compact()
            await server.start()
            await until(lambda: len(bodies(run.sink)) == 7)
            await watched(server)
            server.put(event("e7"))
            await until(lambda: len(bodies(run.sink)) == 8)
            assert bodies(run.sink) == told


async def test_a_token_that_is_refused_for_a_while(kubeconfig: Kubeconfig) -> None:
    """401 is a pause, not an end."""
    async with ApiServer() as server:
        kubeconfig(server, "one")
        server.tokens = {"one"}
        async with running(server) as run:
            await watched(server)
            server.tokens = {"two"}
            await server.drop()
            server.put(event("meanwhile"))
            await until(lambda: run.host.status is Status.RECOVERABLE_ERROR)
            server.tokens = {"one"}
            await until(lambda: bodies(run.sink) == ["meanwhile"])


async def test_missing_rights_are_named_with_the_rule(kubeconfig: Kubeconfig) -> None:
    """403 in health; it goes on when the right is given."""
    async with ApiServer() as server:
        kubeconfig(server)
        server.refuse("events", 403, "events is forbidden")
        async with running(server, namespaces=["a"]) as run:
            await until(lambda: run.host.status is Status.RECOVERABLE_ERROR)
            wanted = (
                'add to a Role in the namespace \'a\': apiGroups: [""], resources: ["events"], verbs: ["list", "watch"]'
            )
            assert wanted in run.host.reports[-1][1]
            server.refuse("events", 0)
            await watched(server)
            await until(lambda: run.host.status is Status.OK)


async def test_a_full_pipeline_is_offered_it_again(kubeconfig: Kubeconfig) -> None:
    """Nothing is lost while it refuses; what it will never take is logged, and the next ones come."""
    async with ApiServer() as server:
        kubeconfig(server)
        sink = SinkConsumer(refuse=[Overloaded("full", 0.01), Overloaded("full", 0.01)])
        async with running(server, sink=sink) as run:
            await watched(server)
            server.put(event("one"))
            await until(lambda: bodies(sink) == ["one"])
            sink.refuse = [Permanent("never")]
            server.put(event("two"))
            await until(lambda: sink.refused == 3)
            server.put(event("three"))
            await until(lambda: bodies(sink) == ["one", "three"])
            assert run.host.crashes == []


async def test_an_unreadable_event_costs_itself_only(kubeconfig: Kubeconfig) -> None:
    """One with a number for its message."""
    async with ApiServer() as server:
        kubeconfig(server)
        async with running(server) as run:
            await watched(server)
            server.put({**event("odd"), "message": 5})
            server.put(event("good"))
            await until(lambda: bodies(run.sink) == ["good"])


@asynccontextmanager
async def storage(folder: Path) -> AsyncIterator[dict[str, Any]]:
    made = STORAGE.create(settings("extension", "file_storage"), from_plain(STORAGE.config, {"directory": str(folder)}))
    async with TestHost() as host:
        await made.start(host)
        yield {"file_storage": made}
        await made.shutdown(host.clock.monotonic() + 1)


async def test_the_checkpoint_goes_on_where_delivery_ended(kubeconfig: Kubeconfig, tmp_path: Path) -> None:
    """What happened while nobody ran is told, though older than the start; what was not delivered is told again."""
    async with ApiServer() as server:
        kubeconfig(server)
        async with (
            storage(tmp_path) as extensions,
            running(server, storage="file_storage", extensions=extensions) as run,
        ):
            await watched(server)
            server.put(event("one"))
            await until(lambda: bodies(run.sink) == ["one"])
            run.sink.hold = True
            server.put(event("two"))
            await until(lambda: bodies(run.sink) == ["one", "two"])
            server.put(event("three", at="2020-01-01T00:00:00Z"))
        async with (
            storage(tmp_path) as extensions,
            running(server, storage="file_storage", extensions=extensions) as run,
        ):
            await until(lambda: len(bodies(run.sink)) == 2)
            assert bodies(run.sink) == ["two", "three"]
        server.put(event("four"))
        server.compact()
        async with (
            storage(tmp_path) as extensions,
            running(server, storage="file_storage", extensions=extensions) as run,
        ):
            await watched(server)
            assert bodies(run.sink) == ["four"]


class Elector:
    """A LeaderElector that a test moves."""

    def __init__(self) -> None:
        self.leading = False
        self.followers: list[Any] = []

    async def subscribe(self, follower: Any) -> None:
        self.followers.append(follower)

    async def unsubscribe(self, follower: Any) -> None:
        self.followers.remove(follower)


async def test_it_works_while_it_leads(kubeconfig: Kubeconfig) -> None:
    """Nothing is asked before; nothing is told after."""
    async with ApiServer() as server:
        kubeconfig(server)
        elector = Elector()
        async with running(
            server, k8s_leader_elector="k8s_leader_elector", extensions={"k8s_leader_elector": elector}
        ) as run:
            await asyncio.sleep(0)
            assert server.requests == []
            for name in ("one", "two"):
                await elector.followers[0].started()
                await watched(server)
                server.put(event(name))
                await until(lambda name=name: bodies(run.sink)[-1:] == [name])
                await elector.followers[0].stopped()
                await watched(server, 0)
                server.put(event(f"after {name}"))
            assert bodies(run.sink) == ["one", "two"]
        assert elector.followers == []


@pytest.mark.parametrize("bad", [{"namespaces": ["a", "a"]}, {"kube_api_qps": -1}, {"auth_type": "x"}])
def test_what_is_wrong_is_refused(bad: dict[str, Any]) -> None:
    """By name."""
    with pytest.raises(InvalidConfig, match=next(iter(bad))):
        from_plain(FACTORY.config, bad)
