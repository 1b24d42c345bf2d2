"""The role that writes to Elasticsearch, with its queue on volumes, is updated under load: once while Elasticsearch
takes everything, once while it is away for longer than a pod's drain."""

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from deployment import Installed, installed, real_node
from kubernetes_lab import Api
from numbered_load import spans_to, write_lines, written
from relay import Relay
from searched import NAMESPACE, SERVICE

pytestmark = [pytest.mark.cluster, pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(400)]
USER = 10001
"""Whom the image runs as; a folder of the host is not given to a pod's group."""


@contextmanager
def volumes(kubernetes: Api, folder: Path, name: str, count: int) -> Iterator[None]:
    """Folders of the node as volumes of a storage class, since the lab makes none itself."""
    objects = []
    for number in range(count):
        path = folder / f"volume-{number}"
        path.mkdir()
        os.chown(path, USER, USER)
        spec = {
            "storageClassName": name,
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": str(path)},
        }
        metadata = {"name": f"{name}-{number}"}
        objects.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec})
    kubernetes.run(
        "kubectl", "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    try:
        yield
    finally:
        names = [f"persistentvolume/{name}-{number}" for number in range(count)]
        kubernetes.run("kubectl", "delete", *names, "--wait=false")


def rolled(release: Installed, what: str) -> None:
    release.kubectl("rollout", "restart", what)
    release.kubectl("rollout", "status", what, "--timeout=150s")


def ask(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A search's answer."""
    request = Request(f"{url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as response:
        return dict(json.load(response))


def spans(url: str, since: float) -> dict[str, int]:
    """How many documents there are of each span of the load. since: Unix time."""
    found: dict[str, int] = {}
    composite: dict[str, Any] = {"size": 10_000, "sources": [{"span": {"terms": {"field": "span_id"}}}]}
    times = {"range": {"@timestamp": {"gte": int(since * 1000), "format": "epoch_millis"}}}
    query = {"bool": {"filter": [{"term": {SERVICE: "sender"}}, times]}}
    while True:
        body = {"size": 0, "query": query, "aggs": {"spans": {"composite": composite}}}
        answer = ask(url, "traces-generic.otel-default/_search", body)["aggregations"]["spans"]
        found |= {bucket["key"]["span"]: bucket["doc_count"] for bucket in answer["buckets"]}
        if "after_key" not in answer:
            return found
        composite["after"] = answer["after_key"]


def lines(url: str, release: Installed) -> list[int]:
    """The numbers of the lines of the load, in order."""
    terms = {NAMESPACE: release.shop, "resource.attributes.k8s.pod.name": "writer"}
    query = {"bool": {"filter": [{"term": {key: value}} for key, value in terms.items()]}}
    body = {"size": 10_000, "query": query, "_source": ["body.text"]}
    hits = ask(url, "logs-generic.otel-default/_search", body)["hits"]["hits"]
    return sorted(int(hit["_source"]["body"]["text"].split()[-1]) for hit in hits)


@pytest.mark.parametrize(("scenario", "role"), [("eck", "backend"), ("direct", "gateway")])
def test_nothing_is_lost_with_a_pod_whose_queue_is_on_a_volume(
    scenario: str, role: str, kubernetes: Api, images: tuple[str, str], elasticsearch_url: str, tmp_path: Path
) -> None:
    """Each span and each line is found once; without Elasticsearch spans whose requests were put together in another
    way afterwards may be there again, for their ids are made of these."""
    parts, address = urlsplit(elasticsearch_url), real_node(kubernetes).address
    assert parts.port is not None
    target = parts.hostname or "127.0.0.1", parts.port
    name = f"lab-{uuid.uuid4().hex[:6]}"
    queue = {"storage": {"size": "1Gi", "class": name}, "drainSeconds": 5, "preStopSeconds": 1, "replicas": 2}
    with volumes(kubernetes, tmp_path, name, 2), ExitStack() as stack:
        relay = stack.enter_context(Relay(address, *target))
        values: dict[str, Any] = {
            "scenario": scenario,
            "secret": {"endpoint": f"http://{address}:{relay.port}", "apiKey": "none"},
            "gateway": {"autoscaling": {"enabled": False}},
        }
        values[role] = {**values.get(role, {}), **queue}
        release = stack.enter_context(installed(kubernetes, images, tmp_path, values))
        what = f"statefulset/heliograph-{role}"
        write_lines(release, images[1])
        begun = time.time()
        with spans_to(address, pause=0.5) as sender:
            time.sleep(5)
            rolled(release, what)
            assert all_found(elasticsearch_url, release, begun, sender.acknowledged) == 0
            relay.close()
            time.sleep(10)
            rolled(release, what)
            time.sleep(2)
            assert sum(release.metric(role, "otelcol_exporter_queue_size").values()) > 0, release.told()
            stack.enter_context(Relay(address, *target, relay.port))
        print("spans again:", all_found(elasticsearch_url, release, begun, sender.acknowledged))


def all_found(url: str, release: Installed, begun: float, acknowledged: int) -> int:
    """Wait for all spans and for all lines up to now; each line is there once. How many spans are there again."""
    count, end = written(release), time.monotonic() + 90
    while True:
        found, read = spans(url, begun), lines(url, release)
        lost = acknowledged - len(found), sorted(set(range(count)) - set(read))
        if lost[0] <= 0 and not lost[1]:
            break
        assert time.monotonic() < end, f"lost: {lost}; {release.told()}"
        time.sleep(1)
    print(acknowledged, "spans", count, "lines")
    assert len(read) == len(set(read))
    return sum(times - 1 for times in found.values())
