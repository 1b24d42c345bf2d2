"""Each hop of the installed chart replaced by the upstream Collector, one at a time, with the same configuration file:
the data still arrives at the endpoint, and it is the same."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kubernetes_lab import Api
from serverless import Deployment, Document, serverless
from swapped_hops import swapped, upstream_image

pytestmark = [pytest.mark.cluster, pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(400)]

Kind = tuple[str, str, str, str, str]
"""Signal, scope, name, keys of attributes, and what it is about: what documents of one kind share."""
Kinds = dict[Kind, dict[str, str]]
"""The resource of each kind."""


@pytest.fixture(scope="module")
def deployed(
    kubernetes: Api, images: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The chart for Serverless with one gateway and one cluster collector, and the shop."""
    folder = tmp_path_factory.mktemp("endpoint")
    upstream_image(kubernetes, folder)
    one = {
        "gateway": {"autoscaling": {"enabled": False}, "replicas": 1, "preStopSeconds": 1},
        "cluster": {"interval": "5s", "replicas": 1},
    }
    with serverless(kubernetes, images, folder, one) as made:
        yield made


@pytest.fixture(scope="module")
def ours(deployed: Deployment) -> Kinds:
    """What arrives again and again when every hop is ours."""
    deployed.wait(lambda item: item.get("metric") == "k8s.pod.cpu.node.utilization", "the second scrape of the kubelet")
    deployed.wait(lambda item: item.get("metric") == "shop.orders", "a measurement of the shop")
    time.sleep(5)
    rounds = []
    for _ in range(2):
        first = len(deployed.documents)
        time.sleep(8)
        rounds.append(kinds(deployed, first))
    return {kind: resource for kind, resource in rounds[1].items() if kind in rounds[0]}


def kinds(deployed: Deployment, first: int) -> Kinds:
    """Of the node and of the pods of the shop that live on. first: the document to begin with."""
    return {kind(item): item["resource"] for item in deployed.documents[first:] if concerns(item, deployed)}


def concerns(document: Document, deployed: Deployment) -> bool:
    """Whether it is about something that comes all the time, of the node or of the two services of the shop. The
    kubelet measures a pod's volumes once a minute only, and the frontend writes a line only when something fails."""
    resource = document["resource"]
    if document.get("metric", "").startswith("k8s.volume."):
        return False
    if resource.get("k8s.namespace.name") == deployed.shop:
        if document["signal"] == "logs":
            return "log.iostream" in document["attributes"] and resource["k8s.container.name"] == "checkout"
        named = resource.get("k8s.pod.name", resource.get("k8s.deployment.name", ""))
        return bool(named.startswith(("checkout", "frontend")))
    return "k8s.namespace.name" not in resource and "k8s.node.name" in resource


def kind(document: Document) -> Kind:
    """See Kind. log.record.uid, which is ours, is no part of it."""
    name, resource = str(document.get("metric", document.get("name", ""))), document["resource"]
    about = [resource.get(f"k8s.{key}.name") for key in ("pod", "container", "volume")]
    about = about if about[0] else [resource.get(f"k8s.{key}.name") for key in ("deployment", "replicaset", "node")]
    keys = " ".join(sorted(document["attributes"].keys() - {"log.record.uid"}))
    return document["signal"], document["scope"], name, keys, " ".join(filter(None, about))


def arrived(deployed: Deployment, expected: Kinds, seconds: float = 40) -> Kinds:
    """What arrives from now on, as soon as all of the expected does or the time is over."""
    first, end = len(deployed.documents), time.monotonic() + seconds
    while not expected.keys() <= (found := kinds(deployed, first)).keys() and time.monotonic() < end:
        time.sleep(0.5)
    return found


def differences(ours: Kinds, theirs: Kinds) -> list[str]:
    """Kinds that only one of them has, and attributes of resources that differ. Upstream's k8s_cluster has attributes
    without a value, which are left out here."""
    rows = [f"missing {kind}" for kind in sorted(ours.keys() - theirs.keys())]
    rows += [f"more {kind}" for kind in sorted(theirs.keys() - ours.keys())]
    for kind in sorted(ours.keys() & theirs.keys()):
        here, there = ours[kind], theirs[kind]
        for key in sorted(here.keys() | there.keys()):
            if here.get(key) != (there.get(key) or None):
                rows.append(f"{kind[:3]} {kind[4]}: {key}: {here.get(key)!r}, upstream {there.get(key)!r}")
    return rows


@pytest.mark.parametrize("roles", [("gateway",), ("daemon",), ("cluster",), ("daemon", "cluster")], ids="-".join)
def test_the_same_arrives_through_upstream_hops(roles: tuple[str, ...], deployed: Deployment, ours: Kinds) -> None:
    """The kinds of all signals, with the same attributes of their resources to the letter; with one hop that is
    upstream's, and with our gateway among upstream ones."""
    with ExitStack() as stack:
        for role in roles:
            stack.enter_context(swapped(deployed.release, role))
        theirs = arrived(deployed, ours)
    assert {kind[0] for kind in ours} == {"logs", "metrics", "traces"}
    assert differences(ours, theirs) == []


def test_back_to_ours(deployed: Deployment, ours: Kinds) -> None:
    """Everything arrives as before, and each line of the whole time is there once under an identity: what was written
    while another daemon was there, too, for ours goes on where it was."""
    begun = time.time_ns()
    assert differences(ours, arrived(deployed, ours)) == []
    deployed.wait(lambda item: is_order(item, deployed) and item["time"] > begun, "a line of now")
    end = time.monotonic() + 30
    while True:
        lines = [item for item in deployed.documents if is_order(item, deployed)]
        numbers = sorted(json.loads(item["body"])["number"] for item in lines if "log.record.uid" in item["attributes"])
        if numbers == list(range(numbers[0], numbers[-1] + 1)) or time.monotonic() > end:
            break
        time.sleep(1)
    print(len(numbers), "lines with an identity,", len(lines) - len(numbers), "of the upstream daemon without")
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


def is_order(document: Document, deployed: Deployment) -> bool:
    """Whether it is one of the numbered lines of checkout."""
    return bool(
        document["signal"] == "logs"
        and document["resource"].get("k8s.namespace.name") == deployed.shop
        and document["resource"].get("k8s.container.name") == "checkout"
        and document["body"].startswith("{")
    )
