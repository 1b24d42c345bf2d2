"""Elastic's published values for the chart kube-stack, each role's configuration unchanged on our image as the operator
hands it to a container: the shop's data, its node and the cluster arrive."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deployment import real_node
from kube_stack import KubeStack, kube_stack
from kubernetes_lab import Api, missing
from relay import Relay
from searched import NAMESPACE, SERVICE, first
from serverless import KEY, Arrived, Document, managed_endpoint

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]

OLDER = {
    "file_log": "filelog",
    "host_metrics": "hostmetrics",
    "kubelet_stats": "kubeletstats",
    "k8s_attributes": "k8sattributes",
    "resource_detection": "resourcedetection",
    "otlp_grpc": "otlp",
}
"""The names that components had before."""


def published(lab: Path, values: str) -> dict[str, str]:
    """The configurations of one of the published values: role -> text."""
    folder = lab.parent / "published" / "kube-stack" / "rendered"
    found = {path.name.split(".")[1]: path.read_text() for path in sorted(folder.glob(f"{values}.*.yaml"))}
    if not found:
        missing(f"{folder} is not here")
    return found


@pytest.mark.elasticsearch
def test_the_values_for_elasticsearch(
    kubernetes: Api, images: tuple[str, str], lab: Path, elasticsearch_url: str, tmp_path: Path
) -> None:
    """Direct: documents of the daemon, the cluster collector and of what the gateway aggregates are found in
    Elasticsearch, under the data streams that Elastic's screens read, with the metadata of their pods."""
    port = int(elasticsearch_url.rpartition(":")[2].strip("/"))
    address = real_node(kubernetes).address
    with Relay(address, "127.0.0.1", port) as relay:
        backend = {"ELASTIC_ENDPOINT": f"http://{address}:{relay.port}", "ELASTIC_API_KEY": "none"}
        with kube_stack(kubernetes, images, tmp_path, published(lab, "elasticsearch"), backend) as stack:
            check_elasticsearch(elasticsearch_url, stack)
            assert stack.complaints() == {}


def check_elasticsearch(url: str, stack: KubeStack) -> None:
    """Everything that Elastic's Kubernetes screens ask for."""
    checkout = {NAMESPACE: stack.shop, "resource.attributes.k8s.deployment.name": "checkout"}

    def of(stream: str, seconds: float = 90, **terms: str) -> dict[str, Any]:
        return first(url, f"{stream}.otel-default", seconds, stack.told, **(terms or checkout))

    documents = {
        "line": of("logs-generic"),
        "span": of("traces-generic", **checkout, kind="Server"),
        "orders": of("metrics-generic"),
        "pod": of("metrics-kubeletstatsreceiver"),
    }
    for what, document in documents.items():
        attributes = document["resource"]["attributes"]
        assert attributes["k8s.pod.name"].startswith("checkout-"), what
        assert attributes["k8s.node.name"] == attributes["host.name"], what
    for what in ("line", "pod"):  # not what applications send: the published pipelines detect nothing there
        assert documents[what]["resource"]["attributes"]["k8s.cluster.name"] == "lab"
    assert "placed" in documents["line"]["body"]["text"]
    assert documents["span"]["attributes"]["processor.event"] == "transaction"
    state = of("metrics-k8sclusterreceiver")
    event = of("logs-k8seventsreceiver", **{"attributes.k8s.namespace.name": stack.shop})
    node = of("metrics-hostmetricsreceiver", **{"resource.attributes.k8s.node.name": "lab"})
    summary = of(
        "metrics-service_summary.1m",
        150,
        **{SERVICE: "checkout", "resource.attributes.agent.name": "opentelemetry/python"},
    )
    for document in (state, node, event):
        assert document["resource"]["attributes"]["k8s.cluster.name"] == "lab"
    assert event["attributes"]["k8s.event.reason"]
    assert summary["metrics"]["service_summary"] > 0


@contextmanager
def ending_in_the_endpoint(
    kubernetes: Api, images: tuple[str, str], folder: Path, configs: Mapping[str, str]
) -> Iterator[tuple[KubeStack, Arrived]]:
    """A stack whose gateway sends to the stand-in of the Managed OTLP Endpoint, whose authority the system knows."""
    with managed_endpoint(real_node(kubernetes).address, folder) as (url, authority, arrived):
        backend = {"ELASTIC_OTLP_ENDPOINT": url, "ELASTIC_API_KEY": KEY}
        with kube_stack(kubernetes, images, folder, configs, backend, authority) as stack:
            yield stack, arrived


def test_the_values_for_the_managed_endpoint(
    kubernetes: Api, images: tuple[str, str], lab: Path, tmp_path: Path
) -> None:
    """Unchanged, and again with the names that the components had before: the same arrives."""
    configs = published(lab, "managed-otlp")
    with ending_in_the_endpoint(kubernetes, images, tmp_path, configs) as (stack, arrived):
        check_endpoint(stack, arrived, 0)
        assert stack.complaints() == {}
        older = {role: with_older_names(text) for role, text in configs.items()}
        assert all(older[role] != configs[role] for role in configs if role != "gateway")
        stack.configure(older)
        check_endpoint(stack, arrived, len(arrived.documents))
        assert stack.complaints() == {}


def with_older_names(text: str) -> str:
    """A configuration with the names that components had before."""
    for name, before in OLDER.items():
        text = re.sub(rf"\b{name}(?=[/:\n])", before, text)
    return text


def check_endpoint(stack: KubeStack, arrived: Arrived, begin: int) -> None:
    """What applications send, container lines, host, kubelet and cluster metrics and events, with their metadata.
    begin: the document to begin with."""

    def of(signal: str, scope: str, **terms: str) -> Document:
        def wanted(document: Document) -> bool:
            known = {**document["resource"], **document["attributes"]}
            named = {key.replace("_", "."): value for key, value in terms.items()}
            return document["signal"] == signal and scope in document["scope"] and named.items() <= known.items()

        return arrived.wait(wanted, f"{signal} of {scope} with {terms}", stack.told, 90, begin)

    of_checkout = {"k8s_namespace_name": stack.shop, "k8s_deployment_name": "checkout"}
    line = of("logs", "", **of_checkout, log_iostream="stdout")
    documents = [
        line,
        of("traces", "shop", **of_checkout),
        of("metrics", "shop", **of_checkout),
        of("metrics", "kubeletstatsreceiver", **of_checkout, k8s_container_name="checkout"),
        of("metrics", "k8sclusterreceiver", **of_checkout, k8s_container_name="checkout"),
    ]
    for document in documents:
        resource = document["resource"]
        assert resource["k8s.pod.name"].startswith("checkout-")
        assert resource["k8s.pod.uid"]
        assert resource["k8s.node.name"] == resource["host.name"]
    assert "placed" in line["body"]
    node = of("metrics", "hostmetricsreceiver", k8s_node_name="lab")
    event = of("logs", "k8seventsreceiver", k8s_namespace_name=stack.shop) if begin == 0 else node
    for document in (documents[0], documents[3], documents[4], node, event):
        assert document["resource"]["k8s.cluster.name"] == "lab"


def test_the_values_for_logs_alone(kubernetes: Api, images: tuple[str, str], lab: Path, tmp_path: Path) -> None:
    """Container lines of the shop, with their metadata, and nothing else."""
    configs = published(lab, "managed-otlp-logs")
    with ending_in_the_endpoint(kubernetes, images, tmp_path, configs) as (stack, arrived):

        def wanted(document: Document) -> bool:
            return bool(document["resource"].get("k8s.namespace.name") == stack.shop and "placed" in document["body"])

        line = arrived.wait(wanted, "a line of checkout", stack.told)
        expected = {
            "k8s.deployment.name": "checkout",
            "host.name": "lab",
            "k8s.cluster.name": "lab",
            "os.type": "linux",
        }
        assert expected.items() <= line["resource"].items()
        assert {document["signal"] for document in arrived.documents} == {"logs"}
        # Without kubelet_stats the operator does not set the variable. Upstream's collector would not start.
        (said,) = stack.complaints().values()
        assert "K8S_NODE_NAME is not set; set it from spec.nodeName" in said
