"""Who asks the API server and the kubelet: tokens that end, a kind that may not be read, the kubelet's certificate."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from api_outage import Line
from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.otlp.attributes import encode_attributes, from_any_value
from heliograph.processors.k8s_attributes import FACTORY as ATTRIBUTES
from heliograph.receivers.k8s_cluster import FACTORY as CLUSTER
from heliograph.receivers.k8s_events import FACTORY as EVENTS
from heliograph.receivers.kubelet_stats import FACTORY as KUBELET
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until
from kubernetes_lab import Api

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
READ = ["get", "list", "watch"]
RULES = [
    {"apiGroups": [""], "resources": ["pods", "events", "resourcequotas", "replicationcontrollers"], "verbs": READ},
    {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": READ},
    {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": READ},
    {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": READ},
]
"""All that is read in a namespace, but replica sets."""
REPLICA_SETS = {"apiGroups": ["apps"], "resources": ["replicasets"], "verbs": READ}
RECOVERY = 45.0


class Account:
    """A ServiceAccount with a Role in its namespace, and a kubeconfig with its token in a file."""

    def __init__(self, api: Api, namespace: str, server: str, folder: Path, rules: list[dict[str, Any]]) -> None:
        self._api = api
        self._base = f"/api/v1/namespaces/{namespace}"
        self._role = f"{RBAC}/namespaces/{namespace}/roles"
        api.call("POST", f"{self._base}/serviceaccounts", {"metadata": {"name": "reader"}})
        api.call("POST", self._role, {"metadata": {"name": "reader"}, "rules": rules})
        binding = {
            "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
        }
        api.call("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", binding)
        self.token = folder / "token"
        self.kubeconfig = folder / "kubeconfig-of-reader"
        found = yaml.safe_load(api.kubeconfig.read_text())
        found["clusters"][0]["cluster"]["server"] = server
        found["users"][0]["user"] = {"tokenFile": str(self.token)}
        self.kubeconfig.write_text(yaml.safe_dump(found))

    def allow(self, rules: list[dict[str, Any]]) -> None:
        """Other rules."""
        self._api.call("PATCH", f"{self._role}/reader", {"rules": rules})

    def renew(self, secret: str) -> None:
        """A token in the file that holds as long as a new Secret of this name."""
        uid = self._api.call("POST", f"{self._base}/secrets", {"metadata": {"name": secret}})["metadata"]["uid"]
        bound = {"kind": "Secret", "apiVersion": "v1", "name": secret, "uid": uid}
        spec = {"expirationSeconds": 600, "boundObjectRef": bound}
        made = self._api.call("POST", f"{self._base}/serviceaccounts/reader/token", {"spec": spec})
        self.token.write_text(made["status"]["token"])

    def end(self, secret: str) -> None:
        """Its tokens hold no longer: after ten seconds at the latest, the server remembers for so long."""
        self._api.call("DELETE", f"{self._base}/secrets/{secret}")

    def review(self) -> bool:
        """Whether the server believes the token of the file."""
        body = {"spec": {"token": self.token.read_text()}}
        answer = self._api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)
        return bool(answer["status"].get("authenticated"))


@asynccontextmanager
async def running(
    factory: Any, kind: str, signal: str, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, **config: Any
) -> AsyncIterator[tuple[Any, SinkConsumer, TestHost]]:
    """A component that asks the API as this kubeconfig says."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    sink = SinkConsumer()
    made = settings(kind, factory.type, signal, outputs={signal: sink})
    component = factory.create(made, from_plain(factory.config, config))
    async with TestHost() as host:
        await component.start(host)
        try:
            yield component, sink, host
        finally:
            await component.shutdown(host.clock.monotonic() + 2)


def bodies(sink: SinkConsumer) -> list[str]:
    return [
        str(from_any_value(record.body))
        for message in sink.messages
        for scope in message.scope_logs
        for record in scope.log_records
    ]


async def test_a_token_that_ends_and_the_next_one(
    kubernetes: Api, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound token loses its Secret and the connection is lost: health says 401. With the next token in the file it
    goes on, and what happened meanwhile is told, once."""

    def say(message: str) -> None:
        body = {"metadata": {"name": message}, "involvedObject": {"namespace": namespace, "kind": "Pod"},
                "type": "Normal", "message": message, "lastTimestamp": "2100-01-01T00:00:00Z"}  # fmt: skip
        kubernetes.call("POST", f"/api/v1/namespaces/{namespace}/events", body)

    async with Line(kubernetes, tmp_path) as line:
        account = Account(kubernetes, namespace, line.url, tmp_path, RULES)
        account.renew("first")
        asked = {"auth_type": "kubeConfig", "namespaces": [namespace]}
        async with running(EVENTS, "receiver", "logs", account.kubeconfig, monkeypatch, **asked) as (_, sink, host):
            for number in range(20):
                await asyncio.to_thread(say, f"probe-{number}")
                try:
                    await until(lambda: sink.items, timeout=1)
                    break
                except AssertionError:
                    continue
            account.end("first")
            await until(lambda: not account.review(), "the end of the token", timeout=30)
            line.drop()
            await until(lambda: "401" in host.reports[-1][1], "bad health", timeout=30)
            assert host.reports[-1][0] is Status.RECOVERABLE_ERROR
            await asyncio.to_thread(say, "while-refused")
            account.renew("second")
            await until(lambda: "while-refused" in bodies(sink), "what happened meanwhile", timeout=RECOVERY)
            assert host.reports[-1][0] is Status.OK
        assert len(set(bodies(sink))) == len(bodies(sink))


async def test_one_kind_that_may_not_be_read(
    kubernetes: Api,
    namespace: str,
    node: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without the right to read replica sets: health and log name them, all else is reported and enriched; with the
    right they come too."""
    caplog.set_level(logging.WARNING)
    account = Account(kubernetes, namespace, kubernetes.server, tmp_path, RULES)
    account.renew("token")
    labels = {"app": "web"}
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "automountServiceAccountToken": False,
            "containers": [{"name": "app", "image": "lab.test/app:1"}],
        },
    }
    body = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    kubernetes.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
    path = f"/api/v1/namespaces/{namespace}/pods"
    pod = kubernetes.wait(path, lambda found: found["items"], "the pod")[0]["metadata"]["name"]

    def kinds(sink: SinkConsumer) -> set[str]:
        if not sink.batches:
            return set()
        return {
            pair.key
            for message in sink.batches[-1].messages()
            for pair in message.resource.attributes
            if pair.key.startswith("k8s.") and pair.key.endswith(".uid")
        }

    plain = {"auth_type": "kubeConfig", "collection_interval": "500ms", "namespaces": [namespace]}
    async with running(CLUSTER, "receiver", "metrics", account.kubeconfig, monkeypatch, **plain) as (_, sink, host):
        wanted = {"k8s.pod.uid", "k8s.deployment.uid"}
        await until(lambda: kinds(sink) >= wanted, "a report", timeout=30)
        assert "k8s.replicaset.uid" not in kinds(sink)
        status, told = host.reports[-1]
        assert status is Status.RECOVERABLE_ERROR
        assert "replicasets" in told
        assert "forbidden" in told
        assert any("replicasets" in record.getMessage() for record in caplog.records)

        rules = [{"sources": [{"from": "resource_attribute", "name": "k8s.pod.name"}]}]
        chosen = {"auth_type": "kubeConfig", "filter": {"namespace": namespace}, "pod_association": rules}
        chosen["extract"] = {"metadata": ["k8s.pod.uid", "k8s.deployment.uid"]}
        async with running(
            ATTRIBUTES, "processor", "logs", account.kubeconfig, monkeypatch, **chosen
        ) as (processor, enriched, second):  # fmt: skip
            message = ResourceLogs()
            message.resource.MergeFromString(encode_attributes({"k8s.pod.name": pod}))
            message.scope_logs.add().log_records.add().body.string_value = "x"
            part = message.SerializeToString()

            async def attributes() -> set[str]:
                await processor.consume(Batch(Signal.LOGS, [part], 1))
                return {pair.key for pair in enriched.messages[-1].resource.attributes}

            async def become(wanted: Callable[[set[str]], bool]) -> None:
                end = second.clock.monotonic() + RECOVERY
                while not wanted(await attributes()):
                    assert second.clock.monotonic() < end
                    await asyncio.sleep(0.1)

            await become(lambda found: "k8s.pod.uid" in found)
            await until(lambda: second.reports[-1][0] is Status.RECOVERABLE_ERROR)
            assert "replicasets" in second.reports[-1][1]
            assert "k8s.deployment.uid" not in await attributes()
            account.allow([*RULES, REPLICA_SETS])
            await until(lambda: "k8s.replicaset.uid" in kinds(sink), "replica sets", timeout=RECOVERY)
            await until(lambda: host.reports[-1] == (Status.OK, ""), "good health", timeout=RECOVERY)
            await become(lambda found: "k8s.deployment.uid" in found)
            await until(lambda: second.reports[-1] == (Status.OK, ""), "good health", timeout=RECOVERY)


async def test_the_kubelets_certificate(
    kubernetes: Api,
    certificates: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Signed by somebody else than ca_file says: refused, and said what to do; taken with the right one, or unseen with
    insecure_skip_verify."""
    caplog.set_level(logging.WARNING)
    nodes = kubernetes.call("GET", "/api/v1/nodes")["items"]
    node = next(item for item in nodes if "lab" in item["metadata"]["name"] and item["status"].get("daemonEndpoints"))
    address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
    pki = kubernetes.kubeconfig.parent / "pki"
    plain = {
        "auth_type": "tls",
        "endpoint": f"https://{address}:10250",
        "cert_file": str(pki / "admin.crt"),
        "key_file": str(pki / "admin.key"),
        "collection_interval": "500ms",
        "initial_delay": "0s",
    }

    async def first(**more: Any) -> tuple[int, Status, str]:
        config = {**plain, **more}
        async with running(KUBELET, "receiver", "metrics", kubernetes.kubeconfig, monkeypatch, **config) as (
            _,
            sink,
            host,
        ):
            bad = Status.RECOVERABLE_ERROR
            await until(lambda: sink.batches or (host.reports and host.reports[-1][0] is bad), timeout=20)
            return sink.items, *host.reports[-1]

    items, status, told = await first(ca_file=certificates.ca)
    assert (items, status) == (0, Status.RECOVERABLE_ERROR)
    assert "certificate" in told
    assert "ca_file" in told
    assert "insecure_skip_verify" in told
    assert any("ca_file" in record.getMessage() for record in caplog.records)
    for more in ({"ca_file": str(pki / "ca.crt")}, {"ca_file": certificates.ca, "insecure_skip_verify": True}):
        items, status, told = await first(**more)
        assert items > 10, told
        assert status is Status.OK
