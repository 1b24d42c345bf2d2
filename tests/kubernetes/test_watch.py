"""The driver against a small API server: whatever happens to it, listeners end up with what is there."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.clock import SystemClock
from heliograph.component.errors import StartError
from heliograph.kubernetes import watch as watching
from heliograph.kubernetes.access import Access, Token, access
from heliograph.kubernetes.cluster import Cluster, give_back, take
from heliograph.kubernetes.objects import PODS, REPLICA_SETS, Object, Resource, Scope
from heliograph.testing.api_server import ApiServer
from heliograph.testing.clock import ManualClock
from heliograph.testing.wait import until


class Hears:
    """A Listener that keeps what exists."""

    def __init__(self) -> None:
        self.there: dict[str, Any] = {}
        self.lists = 0
        self.problems: list[str] = []

    def applied(self, resource: Resource, found: Object) -> None:
        self.there[found.metadata.uid] = found

    def removed(self, resource: Resource, uid: str, name: str) -> None:
        self.there.pop(uid, None)

    def synced(self, resource: Resource, scope: Scope) -> None:
        self.lists += 1

    def troubled(self, resource: Resource, scope: Scope, problem: str) -> None:
        self.problems.append(problem)

    def names(self) -> list[str]:
        return sorted(self.there)


def pod(uid: str, **spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": uid, "namespace": "ns", "uid": uid}, "spec": spec, "status": {}}


class Quick(SystemClock):
    """Back-off passes at once, almost."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@pytest.fixture
async def cluster(server: ApiServer) -> AsyncIterator[Cluster]:
    cluster = Cluster(Access(server.url, None, Token(), {}), Quick())
    yield cluster
    await cluster.close()


async def test_pages_then_changes(server: ApiServer, cluster: Cluster) -> None:
    server.largest_page = 2
    for number in range(5):
        server.put(pod(f"p{number}"))
    hears = Hears()
    cluster.listen(PODS, Scope(), hears)
    await until(lambda: hears.lists)
    assert hears.names() == ["p0", "p1", "p2", "p3", "p4"]
    assert server.asked("pods", watch=False) == 3
    server.put(pod("new"))
    server.delete("Pod", "p0")
    await until(lambda: hears.names() == ["new", "p1", "p2", "p3", "p4"])
    await cluster.forget(hears)
    await until(lambda: not server.watching["pods"], "the end of the watch")


@pytest.mark.parametrize("cut", [False, True])
async def test_a_watch_that_breaks_goes_on_without_a_gap(server: ApiServer, cluster: Cluster, cut: bool) -> None:
    """Changes of the time without a connection arrive; nothing is listed again."""
    hears = Hears()
    cluster.listen(PODS, Scope(), hears)
    await until(lambda: server.watching.get("pods"))
    for number in range(3):
        server.put(pod(f"p{number}"))
        await server.drop(cut=cut)
        server.put(pod(f"q{number}"))
        await until(lambda number=number: {f"p{number}", f"q{number}"} <= set(hears.names()))  # type: ignore[misc]
    assert server.asked("pods", watch=False) == 1
    assert "cut" not in hears.names()
    await cluster.forget(hears)


async def test_410_lists_again_and_a_bookmark_prevents_it(server: ApiServer, cluster: Cluster) -> None:
    server.put(pod("a"))
    hears = Hears()
    cluster.listen(PODS, Scope(), hears)
    await until(lambda: server.watching.get("pods"))
    server.bookmark("pods")
    asked = server.asked("pods", watch=True)
    await server.stop()
    server.compact()
    await server.start()
    await until(lambda: server.asked("pods", watch=True) > asked and server.watching["pods"])
    assert server.asked("pods", watch=False) == 1, "the bookmark's version was not too old"
    await server.stop()
    server.delete("Pod", "a")
    server.put(pod("b"))
    server.compact()
    await server.start()
    await until(lambda: hears.names() == ["b"])
    assert server.asked("pods", watch=False) == 2
    await cluster.forget(hears)


async def test_a_server_that_is_away_is_named_and_found_again(server: ApiServer, cluster: Cluster) -> None:
    await server.stop()
    hears = Hears()
    cluster.listen(PODS, Scope(), hears)
    await until(lambda: hears.problems)
    assert f"127.0.0.1:{server.port}" in hears.problems[0]
    server.put(pod("a"))
    await server.start()
    await until(lambda: hears.names() == ["a"])
    assert hears.problems[-1] == ""
    await cluster.forget(hears)


async def test_one_kind_that_is_denied_leaves_the_others_alone(server: ApiServer, cluster: Cluster) -> None:
    server.refuse("replicasets", 403, 'replicasets.apps is forbidden: User "x" cannot list')
    server.put(pod("a"))
    pods, sets = Hears(), Hears()
    cluster.listen(REPLICA_SETS, Scope(), sets)
    cluster.listen(PODS, Scope(), pods)
    await until(lambda: pods.lists and sets.problems)
    assert pods.problems == []
    assert "403 replicasets.apps is forbidden" in sets.problems[0]
    needed = 'add to a ClusterRole: apiGroups: ["apps"], resources: ["replicasets"], verbs: ["get", "list", "watch"]'
    assert sets.problems[0].endswith(needed)
    server.refuse("replicasets", 0)
    await until(lambda: sets.lists)
    for hears in (pods, sets):
        await cluster.forget(hears)


async def test_two_listeners_share_a_watch_and_the_late_one_hears_everything(
    server: ApiServer, cluster: Cluster
) -> None:
    server.put(pod("a"))
    first, late = Hears(), Hears()
    cluster.listen(PODS, Scope(), first)
    await until(lambda: server.watching.get("pods"))
    cluster.listen(PODS, Scope(), late)
    await until(lambda: late.names() == ["a"] and server.watching["pods"] == 1)
    server.put(pod("b"))
    await until(lambda: first.names() == late.names() == ["a", "b"])
    await cluster.forget(first)
    server.delete("Pod", "a")
    await until(lambda: late.names() == ["b"])
    assert first.names() == ["a", "b"]
    await cluster.forget(late)
    await until(lambda: server.watching["pods"] == 0)


async def test_scopes_are_watches_of_their_own(server: ApiServer, cluster: Cluster) -> None:
    server.put(pod("here", nodeName="n1"))
    server.put(pod("there", nodeName="n2"))
    one, everything = Hears(), Hears()
    cluster.listen(PODS, Scope(fields="spec.nodeName=n1"), one)
    cluster.listen(PODS, Scope(), everything)
    await until(lambda: one.lists and everything.lists)
    assert one.names() == ["here"]
    assert everything.names() == ["here", "there"]
    for hears in (one, everything):
        await cluster.forget(hears)


async def test_a_rotated_token_is_read_again(server: ApiServer, tmp_path: Path) -> None:
    """The file's new token is used as soon as the old one is refused."""
    file = tmp_path / "token"
    file.write_text("old\n")
    server.tokens = {"old"}
    cluster = Cluster(Access(server.url, None, Token(file=file), {}), Quick())
    hears = Hears()
    cluster.listen(PODS, Scope(), hears)
    await until(lambda: server.watching.get("pods"))
    server.tokens = {"new"}
    await server.drop()
    await until(lambda: hears.problems)
    assert "401" in hears.problems[-1]
    file.write_text("new\n")
    server.put(pod("a"))
    await until(lambda: hears.names() == ["a"])
    await cluster.forget(hears)
    await cluster.close()


def test_a_token_is_read_again_when_it_is_a_minute_old(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    token = Token(file=file)
    assert token.value(1000.0) == "one"
    file.write_text("two")
    assert token.value(1059.0) == "one"
    assert token.value(1060.0) == "two"
    file.unlink()
    assert token.value(2000.0) == "two", "a file that is away for a moment does no harm"


def test_pauses_grow_to_half_a_minute_with_chance_in_them() -> None:
    for failures in range(1, 40):
        longest = min(watching.LONGEST_PAUSE, watching.FIRST_PAUSE * 2 ** (failures - 1))
        pauses = {watching.back_off(failures) for _ in range(20)}
        assert all(longest / 2 <= pause <= longest for pause in pauses)
        assert len(pauses) > 1


async def test_requests_keep_the_pace(server: ApiServer) -> None:
    """With 2 requests a second and a burst of 3, the fourth waits half a second."""
    clock = ManualClock()
    cluster = Cluster(Access(server.url, None, Token(), {}), clock, qps=2, burst=3)
    clock_started = clock.monotonic()
    for _ in range(3):
        await cluster.client.body("/api/v1/pods", {}, "application/json")
    fourth = asyncio.ensure_future(cluster.client.body("/api/v1/pods", {}, "application/json"))
    await until(lambda: clock.sleeping)
    assert clock.monotonic() == clock_started
    await clock.advance(0.5)
    await fourth
    await cluster.close()


async def test_the_same_key_is_the_same_value_until_the_last_has_gone() -> None:
    first, second = take("k", object), take("k", object)
    assert first is second
    assert not give_back("k")
    assert give_back("k")
    assert take("k", object) is not first
    assert give_back("k")


def test_in_cluster(tmp_path: Path, certificates: Any) -> None:
    (tmp_path / "ca.crt").write_text(Path(certificates.ca).read_text())
    (tmp_path / "token").write_text("secret")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = access("serviceAccount", "", environ, tmp_path)
    assert (found.server, found.token.value(0.0)) == ("https://[fd00::1]:443", "secret")
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED
    nobody = access("none", "", environ, tmp_path)
    assert (nobody.token.value(0.0), nobody.tls and nobody.tls.verify_mode) == ("", ssl.CERT_NONE)
    (tmp_path / "token").unlink()
    with pytest.raises(StartError, match=r"token .* cannot be read"):
        access("serviceAccount", "", environ, tmp_path)
    with pytest.raises(StartError, match="KUBERNETES_SERVICE_HOST"):
        access("serviceAccount", "", {}, tmp_path)


def test_kubeconfig(tmp_path: Path, certificates: Any) -> None:
    """Files of KUBECONFIG are joined, the first of a name wins, paths are relative to their file."""
    (tmp_path / "ca.pem").write_text(Path(certificates.ca).read_text())
    (tmp_path / "pair.pem").write_text(Path(certificates.client_cert).read_text())
    (tmp_path / "key.pem").write_text(Path(certificates.client_key).read_text())
    (tmp_path / "one").write_text(
        "current-context: a\n"
        "contexts: [{name: a, context: {cluster: c, user: u}}, {name: b, context: {cluster: c, user: exec}}]\n"
        "users: [{name: u, user: {client-certificate: pair.pem, client-key: key.pem}}, {name: exec, user: {exec: {}}},"
        " {name: exec, user: {exec: {command: x}}}]\n"
    )
    (tmp_path / "two").write_text(
        "current-context: z\n"
        "clusters: [{name: c, cluster: {server: 'https://k:6443/', certificate-authority: ca.pem,"
        " tls-server-name: n}}]\n"
    )
    environ = {"KUBECONFIG": f"{tmp_path}/one:{tmp_path}/two:{tmp_path}/missing"}
    found = access("kubeConfig", "", environ)
    assert (found.server, found.server_name) == ("https://k:6443", "n")
    assert found.tls is not None
    for context, problem in [("z", "no context 'z'")]:
        with pytest.raises(StartError, match=problem):
            access("kubeConfig", context, environ)
    with pytest.raises(StartError, match="cannot be read"):
        access("kubeConfig", "", {"KUBECONFIG": f"{tmp_path}/missing"})
    (tmp_path / "three").write_text((tmp_path / "one").read_text().replace("{exec: {}}", "{exec: {command: x}}"))
    with pytest.raises(StartError, match="`exec`, which is not supported"):
        access("kubeConfig", "b", {"KUBECONFIG": f"{tmp_path}/three:{tmp_path}/two"})
