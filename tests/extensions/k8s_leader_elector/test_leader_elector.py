"""k8s_leader_elector: replicas with clocks and connections of their own over one API server of the tests."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.clock import SystemClock
from heliograph.component.leadership import LeaderElector
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.config.problem import InvalidConfig
from heliograph.extensions.k8s_leader_elector import FACTORY
from heliograph.extensions.k8s_leader_elector.config import K8sLeaderElectorConfig
from heliograph.extensions.k8s_leader_elector.extension import K8sLeaderElector
from heliograph.testing.api_server import ApiServer
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.wait import until

PLAIN = {"auth_type": "kubeConfig", "lease_name": "heliograph", "lease_namespace": "observability"}
NEVER = 3600.0


class Work:
    """A follower that notes what it is told, and when by the replica's clock. slow: its stop waits for `may_end`."""

    def __init__(self, clock: Any, *, slow: bool = False) -> None:
        self.clock = clock
        self.calls: list[tuple[str, float]] = []
        self.may_end = asyncio.Event()
        if not slow:
            self.may_end.set()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    async def started(self) -> None:
        self.calls.append(("started", self.clock.monotonic()))

    async def stopped(self) -> None:
        await self.may_end.wait()
        self.calls.append(("stopped", self.clock.monotonic()))


class Replica:
    """One process: an elector with a follower and a clock."""

    def __init__(self, name: str, clock: Any = None, **more: Any) -> None:
        self.clock = clock or ManualClock()
        self.config = from_plain(K8sLeaderElectorConfig, {**PLAIN, **more})
        self.elector = K8sLeaderElector(settings("extension", "k8s_leader_elector"), self.config, identity=name)
        self.host = TestHost(clock=self.clock)
        self.work = Work(self.clock)

    async def start(self) -> "Replica":
        await self.elector.start(self.host)
        await self.elector.subscribe(self.work)
        return self

    async def advance(self, seconds: float, step: float = 0.5) -> None:
        """Move its clock on, with real turns of the loop for the requests between."""
        for _ in range(round(seconds / step)):
            await self.clock.advance(step)
            await settled()

    async def stop(self) -> None:
        await self.elector.shutdown(self.clock.monotonic() + NEVER)
        await self.host.close()

    async def kill(self) -> None:
        """End without a word."""
        await self.host.close()

    @property
    def status(self) -> tuple[Status, str]:
        return self.host.reports[-1]


async def settled() -> None:
    """Let requests on loopback come and go."""
    for _ in range(4):
        await asyncio.sleep(0.002)


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ApiServer], None]:
    def write(server: ApiServer) -> None:
        path = tmp_path / "kubeconfig"
        path.write_text(server.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(path))

    return write


def spec(server: ApiServer) -> dict[str, Any]:
    lease = server.get("leases", "heliograph")
    assert lease is not None
    found: dict[str, Any] = lease["spec"]
    return found


Kubeconfig = Callable[[ApiServer], None]


async def test_the_lease_is_made_as_client_go_makes_it(kubeconfig: Kubeconfig) -> None:
    """Its fields, and their times as MicroTime of the wall clock."""
    async with ApiServer() as server:
        kubeconfig(server)
        one = await Replica("one").start()
        await until(lambda: one.work.names == ["started"])
        assert isinstance(one.elector, LeaderElector)
        assert one.elector.leading
        assert spec(server) == {
            "holderIdentity": "one",
            "leaseDurationSeconds": 15,
            "acquireTime": "2023-11-14T22:13:20.000000Z",
            "renewTime": "2023-11-14T22:13:20.000000Z",
            "leaseTransitions": 0,
        }
        lease = server.get("leases", "heliograph")
        assert lease is not None
        assert (lease["apiVersion"], lease["metadata"]["namespace"]) == ("coordination.k8s.io/v1", "observability")
        await one.advance(2.5)
        await until(lambda: spec(server)["renewTime"] == "2023-11-14T22:13:22.000000Z")
        assert spec(server)["acquireTime"] == "2023-11-14T22:13:20.000000Z"
        assert one.status == (Status.OK, "leading as one")
        await one.stop()


async def test_who_subscribes_while_leading_is_started_at_once(kubeconfig: Kubeconfig) -> None:
    """And another one that unsubscribed is told nothing more; one that raises harms nobody."""

    class Broken(Work):
        async def started(self) -> None:
            raise ValueError("broken")

    async with ApiServer() as server:
        kubeconfig(server)
        one = await Replica("one").start()
        await until(lambda: one.elector.leading)
        late, gone, broken = Work(one.clock), Work(one.clock), Broken(one.clock)
        for follower in (broken, late, gone):
            await one.elector.subscribe(follower)
        assert (late.names, gone.names) == (["started"], ["started"])
        await one.elector.unsubscribe(gone)
        await one.elector.unsubscribe(gone)
        await one.stop()
        assert late.names == ["started", "stopped"]
        assert broken.names == ["stopped"]
        assert gone.names == ["started"]


async def test_a_second_one_stands_by_until_the_first_lets_go(kubeconfig: Kubeconfig) -> None:
    """It is released at shutdown: the second one leads with its next try, and counts the transition."""
    async with ApiServer() as server:
        kubeconfig(server)
        one = await Replica("one").start()
        await until(lambda: one.elector.leading)
        two = await Replica("two").start()
        await until(lambda: two.host.status is not None and "one leads" in two.status[1])
        await one.stop()
        assert one.work.names == ["started", "stopped"]
        assert (spec(server)["holderIdentity"], spec(server)["leaseDurationSeconds"]) == ("", 1)
        await two.advance(5)
        assert two.work.names == ["started"]
        assert (spec(server)["holderIdentity"], spec(server)["leaseTransitions"]) == ("two", 1)
        await two.stop()


async def test_a_killed_leader_is_followed_after_the_lease(kubeconfig: Kubeconfig) -> None:
    """Not before lease_duration after its last sign, and with the next try after it."""
    async with ApiServer() as server:
        kubeconfig(server)
        clock = ManualClock()
        one = await Replica("one", clock).start()
        await until(lambda: one.elector.leading)
        two = await Replica("two", clock).start()
        await two.advance(6)
        renewed = clock.monotonic()
        await one.kill()
        await two.advance(30)
        (name, when), *_ = two.work.calls
        assert name == "started"
        assert 15 - 2 <= when - renewed <= 15 + 2 * (2 * 2.2) + 1, "seen late by a try, taken late by another"
        await one.stop()
        assert spec(server)["holderIdentity"] == "two", "what was once ours is not released"
        await two.stop()


@pytest.mark.parametrize("hours", [-5, 5])
async def test_wall_clocks_may_differ(kubeconfig: Kubeconfig, hours: int) -> None:
    """A Lease that was written hours ago or in the future is alive while it changes, and not longer."""
    async with ApiServer() as server:
        kubeconfig(server)
        one = await Replica("one", ManualClock()).start()
        await until(lambda: one.elector.leading)
        two = await Replica("two", ManualClock(1_700_000_000_000_000_000 + hours * 3600 * 10**9)).start()
        for _ in range(40):
            await one.advance(0.5)
            await two.advance(0.5)
        assert two.work.calls == []
        await one.kill()
        for _ in range(60):  # it sees the last sign up to 4.4 s late, and tries up to 4.4 s after the Lease's end
            await two.advance(0.5)
        await until(lambda: two.work.names == ["started"])
        await one.stop()
        await two.stop()


async def test_an_outage_of_the_api_stops_the_leader_in_time(kubeconfig: Kubeconfig) -> None:
    """Within renew_deadline of the last renewal, and it leads again when the API is back; health says both."""
    async with ApiServer() as server:
        kubeconfig(server)
        one = await Replica("one").start()
        await until(lambda: one.elector.leading)
        await one.advance(4)
        server.refuse("leases", 503, "etcd is away")
        await one.advance(1.5)
        assert one.elector.leading, "it goes on while there is time"
        await one.advance(10)
        assert one.work.names == ["started", "stopped"]
        renewed = 4.0
        assert one.work.calls[1][1] - renewed <= 10.0
        assert any("could not be renewed for 10 s" in message for _, message in one.host.reports)
        assert one.status[0] is Status.RECOVERABLE_ERROR
        server.refuse("leases", 0)
        await one.advance(6)
        assert one.work.names == ["started", "stopped", "started"]
        assert one.status == (Status.OK, "leading as one")
        await one.stop()


async def test_a_short_outage_is_not_noticed(kubeconfig: Kubeconfig) -> None:
    """Half of renew_deadline without the API: nobody is stopped."""
    async with ApiServer() as server:
        kubeconfig(server)
        one = await Replica("one").start()
        await until(lambda: one.elector.leading)
        server.refuse("leases", 500)
        await one.advance(5)
        server.refuse("leases", 0)
        await one.advance(20)
        assert one.work.names == ["started"]
        await one.stop()


async def test_a_server_that_does_not_answer_stops_the_leader_in_time(kubeconfig: Kubeconfig) -> None:
    """Requests that hang end; real time."""
    async with ApiServer() as server:
        kubeconfig(server)
        short = {"lease_duration": "2s", "renew_deadline": "800ms", "retry_period": "200ms"}
        one = await Replica("one", SystemClock(), **short).start()
        await until(lambda: one.elector.leading)
        server.answering.clear()
        began = one.clock.monotonic()
        await until(lambda: one.work.names == ["started", "stopped"])
        assert one.clock.monotonic() - began < 0.8 + 0.4
        server.answering.set()
        await until(lambda: one.elector.leading)
        await one.stop()


async def test_another_holder_is_obeyed_at_once(kubeconfig: Kubeconfig) -> None:
    """When the Lease names somebody else, the followers stop with the next renewal, not at its deadline."""
    async with ApiServer() as server:
        kubeconfig(server)
        one = await Replica("one").start()
        await until(lambda: one.elector.leading)
        lease = server.get("leases", "heliograph")
        assert lease is not None
        taken = json.loads(json.dumps(lease))
        taken["spec"]["holderIdentity"] = "two"
        server.put(taken)
        await one.advance(2.5)
        assert one.work.names == ["started", "stopped"]
        assert ("two holds the Lease") in "".join(message for _, message in one.host.reports)
        await one.stop()
        assert spec(server)["holderIdentity"] == "two", "what is not ours is not released"


async def test_a_change_by_somebody_else_is_no_loss(kubeconfig: Kubeconfig) -> None:
    """A label on the Lease makes the renewal fail with 409; it is read again, and the label stays."""
    async with ApiServer() as server:
        kubeconfig(server)
        one = await Replica("one").start()
        await until(lambda: one.elector.leading)
        lease = json.loads(json.dumps(server.get("leases", "heliograph")))
        lease["metadata"]["labels"] = {"team": "a"}
        server.put(lease)
        await one.advance(6)
        found = server.get("leases", "heliograph")
        assert found is not None
        assert found["metadata"]["labels"] == {"team": "a"}
        assert found["spec"]["renewTime"] == "2023-11-14T22:13:26.000000Z"
        assert one.work.names == ["started"]
        await one.stop()


async def test_of_two_who_try_at_once_one_leads(kubeconfig: Kubeconfig) -> None:
    """Ten replicas begin together with one clock: never two lead."""
    async with ApiServer() as server:
        kubeconfig(server)
        clock = ManualClock()
        replicas = [Replica(f"replica-{number}", clock) for number in range(10)]
        await asyncio.gather(*(replica.start() for replica in replicas))
        await until(lambda: any(replica.elector.leading for replica in replicas))
        await replicas[0].advance(20)
        assert sum(replica.elector.leading for replica in replicas) == 1
        assert sum(len(replica.work.calls) for replica in replicas) == 1
        await asyncio.gather(*(replica.stop() for replica in replicas))


async def test_missing_rights_are_named_with_the_rule(kubeconfig: Kubeconfig) -> None:
    """403 shows in health with what to add to which Role; when it is there, the replica leads."""
    async with ApiServer() as server:
        kubeconfig(server)
        server.refuse("leases", 403, 'leases is forbidden: User "x" cannot get resource')
        one = await Replica("one").start()
        await until(lambda: one.host.status is Status.RECOVERABLE_ERROR)
        message = one.status[1]
        assert (
            'apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"]' in message
        )
        assert "'observability'" in message
        server.refuse("leases", 0)
        await one.advance(5)
        assert one.work.names == ["started"]
        await one.stop()


async def test_a_follower_that_does_not_stop_is_named_and_waited_for(
    kubeconfig: Kubeconfig, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged when the lease could be another's; the others have stopped meanwhile; it is never started twice."""
    async with ApiServer() as server:
        kubeconfig(server)
        short = {"lease_duration": "1s", "renew_deadline": "500ms", "retry_period": "100ms"}
        one = await Replica("one", SystemClock(), **short).start()
        slow = Work(one.clock, slow=True)
        await one.elector.subscribe(slow)
        await until(lambda: one.elector.leading)
        server.refuse("leases", 500)
        await until(lambda: one.work.names == ["started", "stopped"])
        server.refuse("leases", 0)
        await until(lambda: "Work does not stop" in caplog.text)
        assert slow.names == ["started"]
        slow.may_end.set()
        await until(lambda: slow.names == ["started", "stopped", "started"])
        await one.stop()


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"lease_name": ""}, "lease_name"),
        ({"retry_period": "0s"}, "retry_period"),
        ({"renew_deadline": "2400ms"}, "renew_deadline"),
        ({"lease_duration": "10.9s"}, "lease_duration"),
        ({"lease_duration": "500ms", "renew_deadline": "100ms", "retry_period": "10ms"}, "lease_duration"),
    ],
)
def test_what_cannot_work_is_refused(changed: dict[str, Any], path: str) -> None:
    """The rules of client-go, and whole seconds."""
    with pytest.raises(InvalidConfig, match=path):
        from_plain(K8sLeaderElectorConfig, {**PLAIN, **changed})


def test_the_factory_is_declared() -> None:
    """Defaults are upstream's."""
    config = from_plain(FACTORY.config, {"lease_name": "a", "lease_namespace": "b"})
    assert (config.auth_type, config.lease_duration, config.renew_deadline, config.retry_period) == (
        "serviceAccount", 15, 10, 2,
    )  # fmt: skip
