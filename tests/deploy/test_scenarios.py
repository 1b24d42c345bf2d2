"""The scenarios that end in Elasticsearch, each by `helm install` alone: ECK with the backend in the cluster, a backend
as a service of a host (self-managed, ECE), and direct. The Elasticsearch is the lab's; what is found there is read."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from deployment import ROOT, Installed, installed, real_node
from kubernetes_lab import Api
from relay import Relay
from searched import NAMESPACE, SERVICE, first

pytestmark = [pytest.mark.cluster, pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(400)]


def found(url: str, stream: str, release: Installed, seconds: float = 90, **terms: str) -> dict[str, Any]:
    """The first document of the shop, as soon as there is one. terms: what it has; by default the shop's namespace."""
    wanted = terms if SERVICE in terms else {NAMESPACE: release.shop, **terms}
    return first(url, stream, seconds, release.told, **wanted)


def check_the_shop(url: str, release: Installed) -> None:
    """Lines, spans, measurements, the cluster's metrics and its events are there, with the metadata of their pods, and
    as Elastic's screens ask for."""
    checkout = {"resource.attributes.k8s.deployment.name": "checkout"}
    line = found(url, "logs-generic.otel-default", release, **checkout, **{"attributes.log.iostream": "stdout"})
    span = found(url, "traces-generic.otel-default", release, **checkout, kind="Server")
    orders = found(url, "metrics-generic.otel-default", release, **checkout, **{"attributes.outcome": "placed"})
    pod = found(url, "metrics-kubeletstatsreceiver.otel-default", release, **checkout)
    state = found(url, "metrics-k8sclusterreceiver.otel-default", release, **checkout)
    names = {document["resource"]["attributes"]["k8s.pod.name"] for document in (line, span, orders, pod)}
    assert len(names) == 1
    for document in (line, span, orders, pod):
        attributes = document["resource"]["attributes"]
        assert attributes["k8s.app.part-of"] == "shop"
        assert attributes["k8s.cluster.name"] == "lab"
        assert attributes["k8s.node.name"] == attributes["host.name"]
    assert "placed" in line["body"]["text"]
    assert line["attributes"]["log.record.uid"]
    assert state["resource"]["attributes"]["k8s.deployment.name"] == "checkout"
    assert span["resource"]["attributes"]["agent.name"] == "opentelemetry/python"
    assert span["attributes"]["processor.event"] == "transaction"
    assert span["attributes"]["transaction.type"] == "request"


@pytest.fixture(scope="module")
def elasticsearch(kubernetes: Api, elasticsearch_url: str) -> Iterator[tuple[str, str]]:
    """The URL for us and the one for pods: the lab's Elasticsearch listens on the loopback interface alone."""
    parts = urlsplit(elasticsearch_url)
    assert parts.port is not None
    address = real_node(kubernetes).address
    with Relay(address, parts.hostname or "127.0.0.1", parts.port) as relay:
        yield elasticsearch_url, f"http://{address}:{relay.port}"


@pytest.mark.parametrize("scenario", ["eck", "direct"])
def test_what_the_chart_alone_brings_to_elasticsearch(
    scenario: str, kubernetes: Api, images: tuple[str, str], elasticsearch: tuple[str, str], tmp_path: Path
) -> None:
    here, there = elasticsearch
    values = {"scenario": scenario, "secret": {"endpoint": there, "apiKey": "none"}}
    with installed(kubernetes, images, tmp_path, values) as release:
        assert bool(release.pods("backend")) == (scenario == "eck")
        check_the_shop(here, release)
        writer = "backend" if scenario == "eck" else "gateway"
        assert sum(release.metric(writer, "otelcol_exporter_send_failed_log_records").values()) == 0
        if scenario == "eck":
            service = {SERVICE: "checkout", "resource.attributes.agent.name": "opentelemetry/python"}
            found(here, "metrics-service_summary.1m.otel-default", release, 120, **service)


@contextmanager
def backend_on_the_host(folder: Path, address: str, port: int, elasticsearch: str, token: str) -> Iterator[str]:
    """The two files of deploy/systemd as a process: the CA of its certificate."""
    authority = trustme.CA()
    authority.issue_cert(address).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    log = folder / "backend.log"
    variables = {
        "ELASTIC_ENDPOINT": elasticsearch,
        "HELIOGRAPH_TOKEN": token,
        "HELIOGRAPH_CERTIFICATE": str(folder / "server.pem"),
        "HELIOGRAPH_PRIVATE_KEY": str(folder / "server.pem"),
    }
    changed = {
        "receivers.otlp.protocols.grpc.endpoint": f"{address}:{port}",
        "receivers.otlp.protocols.http.endpoint": f"{address}:0",
        "extensions.health_check.endpoint": "127.0.0.1:0",
        "extensions.file_storage.directory": str(folder / "queue"),
        "connectors.elasticapm.aggregation.directory": str(folder / "aggregates"),
        "exporters.elasticsearch.dead_letters.directory": str(folder / "dead-letters"),
        "service.telemetry.metrics.level": "none",
    }
    command = [sys.executable, "-m", "heliograph"]
    command += [f"--config={ROOT / 'deploy' / 'systemd' / name}" for name in ("backend.yaml", "secured.yaml")]
    command += [f"--set={key}={value}" for key, value in changed.items()]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **variables})
    try:
        end = time.monotonic() + 30
        while "everything is ready" not in (text := log.read_text()):
            assert process.poll() is None, text
            assert time.monotonic() < end, text
            time.sleep(0.1)
        yield authority.cert_pem.bytes().decode()
    finally:
        process.terminate()
        process.wait(40)


def test_a_backend_on_a_host_takes_only_who_knows_the_key(
    kubernetes: Api,
    images: tuple[str, str],
    elasticsearch: tuple[str, str],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """Self-managed: TLS with a CA of one's own and a key between the cluster and the backend."""
    token, address = secrets.token_hex(8), real_node(kubernetes).address
    with ExitStack() as stack:
        port = free_port()
        authority = stack.enter_context(backend_on_the_host(tmp_path, address, port, elasticsearch[0], token))
        secret = {"endpoint": f"{address}:{port}", "apiKey": token, "ca": authority}
        values = {"scenario": "self-managed", "secret": secret}
        release = stack.enter_context(installed(kubernetes, images, tmp_path, values))
        check_the_shop(elasticsearch[0], release)
        release.upgrade("secret.apiKey=wrong")
        end = time.monotonic() + 60
        while "UNAUTHENTICATED" not in (log := release.kubectl("logs", "-l", "app.kubernetes.io/component=gateway")):
            assert time.monotonic() < end, log
            time.sleep(1)
