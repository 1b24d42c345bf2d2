"""The receiver asks as it is told to: endpoint, credentials, certificates, pods, claims and the node's capacity."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.errors import ConfigError, Overloaded, StartError
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.receivers.kubelet_stats.config import KubeletStatsConfig
from heliograph.receivers.kubelet_stats.receiver import KubeletStatsReceiver
from heliograph.testing import metric_rows
from heliograph.testing.api_server import ApiServer
from heliograph.testing.host import TestHost
from heliograph.testing.kubelet import KubeletServer
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

DATA = Path(__file__).parent / "data"
SUMMARY, PODS = (DATA / "made_summary.json").read_bytes(), (DATA / "made_pods.json").read_bytes()
SOON = {"collection_interval": "50ms", "initial_delay": "0s"}


@asynccontextmanager
async def running(
    config: dict[str, Any], sink: SinkConsumer, account: Path = Path("/nowhere")
) -> AsyncIterator[tuple[TestHost, Any]]:
    made = settings("receiver", "kubelet_stats", outputs={Signal.METRICS: sink})
    receiver = KubeletStatsReceiver(made, from_plain(KubeletStatsConfig, {**SOON, **config}), account)
    async with TestHost() as host:
        await receiver.start(host)
        try:
            yield host, made
        finally:
            deadline = asyncio.get_running_loop().time() + 1
            await receiver.shutdown(deadline)
            await receiver.shutdown(deadline)
        assert host.crashes == []


def server_tls(certificates: Any, *, client_ca: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server_cert, certificates.server_key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def service_account(folder: Path, ca: str, token: str) -> Path:
    (folder / "ca.crt").write_text(Path(ca).read_text())
    (folder / "token").write_text(token + "\n")
    return folder


async def test_rounds_and_refusals() -> None:
    """Without extra labels only the summary is asked for; a round that the pipeline refuses is offered again."""
    sink = SinkConsumer(refuse=[Overloaded("full", after=0.001)])
    config: dict[str, Any] = {"auth_type": "none"}
    async with KubeletServer(SUMMARY) as kubelet:
        config["endpoint"] = f"127.0.0.1:{kubelet.port}"
        async with running(config, sink) as (host, made):
            await until(lambda: len(sink.batches) >= 3, "three rounds")
            assert host.status is Status.OK
    assert {request.path for request in kubelet.requests} == {"/stats/summary"}
    assert sink.refused == 1
    labels = {"receiver": "kubelet_stats", "scraper": "kubelet_stats"}
    assert made.telemetry.metrics.value("otelcol_scraper_scraped_metric_points", labels) >= sink.items


async def test_service_account(certificates: Any, tmp_path: Path) -> None:
    """The kubelet is verified by the account's ca.crt; a token that was replaced and is refused is read again."""
    account = service_account(tmp_path, certificates.ca, "old")
    sink = SinkConsumer()
    async with KubeletServer(SUMMARY, tls=server_tls(certificates)) as kubelet:
        kubelet.tokens = {"old"}
        config = {"auth_type": "serviceAccount", "endpoint": f"localhost:{kubelet.port}"}
        async with running(config, sink, account) as (host, _):
            await until(lambda: sink.batches, "a round")
            (account / "token").write_text("new")
            kubelet.tokens = {"new"}
            seen = len(sink.batches)
            await until(lambda: len(sink.batches) >= seen + 2, "rounds with the new token")
            assert all(status is Status.OK for status, _ in host.reports)
            kubelet.tokens = {"another"}
            await until(lambda: host.status is Status.RECOVERABLE_ERROR, "the status")
            assert "401" in host.reports[-1][1]


async def test_a_certificate_that_is_not_trusted(certificates: Any, tmp_path: Path) -> None:
    """It is named in the health; insecure_skip_verify takes it."""
    account = service_account(tmp_path, certificates.stranger_ca, "t")
    async with KubeletServer(SUMMARY, tls=server_tls(certificates)) as kubelet:
        config = {"auth_type": "serviceAccount", "endpoint": f"127.0.0.1:{kubelet.port}"}
        sink = SinkConsumer()
        async with running(config, sink, account) as (host, _):
            await until(lambda: host.status is Status.RECOVERABLE_ERROR, "the status")
            assert "certificate" in host.reports[-1][1]
        assert sink.batches == []
        async with running({**config, "insecure_skip_verify": True}, sink, account):
            await until(lambda: sink.batches, "a round")


async def test_client_certificate(certificates: Any) -> None:
    """auth_type tls shows its certificate to a kubelet that asks for one."""
    sink = SinkConsumer()
    tls = server_tls(certificates, client_ca=certificates.ca)
    async with KubeletServer(SUMMARY, tls=tls) as kubelet:
        config = {
            "endpoint": kubelet.url,
            "ca_file": certificates.ca,
            "cert_file": certificates.client_cert,
            "key_file": certificates.client_key,
        }
        async with running(config, sink):
            await until(lambda: sink.batches, "a round")


async def test_through_the_api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubeConfig asks the API server's proxy for the node that is named as the endpoint."""
    sink = SinkConsumer()
    async with KubeletServer(SUMMARY, PODS) as kubelet:
        kubelet.tokens = {"secret"}
        user = {"name": "u", "user": {"token": "secret"}}
        kubeconfig = {"current-context": "x", "clusters": [{"name": "c", "cluster": {"server": kubelet.url}}]}
        kubeconfig |= {"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "users": [user]}
        (tmp_path / "config").write_text(json.dumps(kubeconfig))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        config = {"auth_type": "kubeConfig", "endpoint": "n1", "extra_metadata_labels": ["container.id"]}
        async with running(config, sink):
            await until(lambda: sink.batches, "a round")
    paths = {request.path for request in kubelet.requests}
    assert paths == {"/api/v1/nodes/n1/proxy/stats/summary", "/api/v1/nodes/n1/proxy/pods"}


async def test_volumes_behind_claims_and_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server is asked once for a claim's volume; the node's capacity comes by a watch and follows changes."""
    sink = SinkConsumer()
    async with ApiServer() as api, KubeletServer(SUMMARY, PODS) as kubelet, KubeletServer(b"{}") as claims:
        node = {
            "kind": "Node",
            "metadata": {"name": "n1", "uid": "n"},
            "status": {"capacity": {"cpu": "2", "memory": "4k"}},
        }
        api.put(node)
        (tmp_path / "config").write_text(api.kubeconfig())
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        config = {
            "auth_type": "none",
            "endpoint": kubelet.url,
            "node": "n1",
            "k8s_api_config": {"auth_type": "kubeConfig"},
            "metrics": {"k8s.pod.cpu.node.utilization": {"enabled": True}},
        }

        def share() -> set[float]:
            rows = metric_rows.ours(sink.parts)
            return {row.value for key, row in rows.items() if key[0] == "k8s.pod.cpu.node.utilization"}

        async with running(config, sink):
            await until(lambda: share() == {0.25}, "the share of the node")
            api.put({**node, "status": {"capacity": {"cpu": "4"}}})
            await until(lambda: share() == {0.125}, "the share of the larger node")

        claims.others = {
            "/api/v1/namespaces/ns/persistentvolumeclaims/pvc1": {"spec": {"volumeName": "pv1"}},
            "/api/v1/persistentvolumes/pv1": {"spec": {"awsElasticBlockStore": {"volumeID": "vol-9", "fsType": "xfs"}}},
        }
        text = api.kubeconfig().replace(api.url, claims.url)
        (tmp_path / "config").write_text(text)
        sink = SinkConsumer()
        config |= {
            "metric_groups": ["volume"],
            "extra_metadata_labels": ["k8s.volume.type"],
            "resource_attributes": {"aws.volume.id": {"enabled": True}},
        }
        del config["metrics"]
        async with running(config, sink):
            await until(lambda: len(sink.batches) >= 3, "three rounds")
        resources = [dict(key[2]) for key in metric_rows.ours(sink.parts)]
        (found,) = {tuple(sorted(r.items())) for r in resources if r["k8s.volume.name"] == "claim"}
        assert dict(found)["k8s.volume.type"] == "awsElasticBlockStore"
        assert dict(found)["aws.volume.id"] == "vol-9"
        assert dict(found)["k8s.persistentvolumeclaim.name"] == "pvc1"
        assert len(claims.requests) == 2


async def test_a_kubelet_that_fails_and_recovers() -> None:
    """Wrong answers show in the health with their reason; later rounds work again."""
    sink = SinkConsumer()
    async with KubeletServer(SUMMARY) as kubelet:
        kubelet.status = 503
        async with running({"auth_type": "none", "endpoint": kubelet.url}, sink) as (host, _):
            await until(lambda: host.status is Status.RECOVERABLE_ERROR, "the status")
            assert "503" in host.reports[-1][1]
            kubelet.status, kubelet.summary = 200, b"<html>"
            await until(
                lambda: "/stats/summary" in host.reports[-1][1] and "503" not in host.reports[-1][1], "the reason"
            )
            kubelet.summary = SUMMARY
            await until(lambda: sink.batches and host.status is Status.OK, "a round")


async def test_files_that_are_not_there_are_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"kubelet_stats.*token"):
        async with running({"auth_type": "serviceAccount"}, SinkConsumer(), tmp_path):
            pass
    missing = {name: str(tmp_path / name) for name in ("ca_file", "cert_file", "key_file")}
    with pytest.raises(StartError, match="ca_file"):
        async with running(missing, SinkConsumer()):
            pass


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "cert_file"),
        ({"auth_type": "basic"}, "auth_type"),
        ({"auth_type": "none", "metric_groups": ["cluster"]}, "metric_groups"),
        ({"auth_type": "none", "extra_metadata_labels": ["container.id", "container.id"]}, "twice"),
        ({"auth_type": "none", "extra_metadata_labels": ["k8s.pod.ip"]}, "extra_metadata_labels"),
        ({"auth_type": "none", "metrics": {"k8s.pod.cpu.node.utilization": {"enabled": True}}}, "node"),
        ({"auth_type": "none", "collection_interval": "0s"}, "positive"),
        ({"auth_type": "none", "k8s_api_config": {}}, "auth_type"),
        ({"auth_type": "kubeConfig"}, "endpoint"),
        ({"auth_type": "none", "tls": {}}, "tls"),
        ({"auth_type": "none", "metrics": {"k8s.pod.cpu.utilization": {"enabled": True}}}, "k8s.pod.cpu.utilization"),
    ],
)
def test_configurations_that_are_refused(config: dict[str, Any], problem: str) -> None:
    """What upstream refuses at its start is refused here when the file is read."""
    with pytest.raises(ConfigError, match=problem):
        from_plain(KubeletStatsConfig, config)
