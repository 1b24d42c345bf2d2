"""k8s_attributes with a real API server, beside the upstream Collector."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.otlp.attributes import encode_attributes, from_any_value
from heliograph.otlp.request import request
from heliograph.processors.k8s_attributes import FACTORY
from heliograph.processors.k8s_attributes.config import METADATA, K8sAttributesConfig
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
LABELS = {"app": "web", "app.kubernetes.io/name": "shop-web", "app.kubernetes.io/version": "9"}
RULES = [
    {"sources": [{"from": "resource_attribute", "name": "k8s.pod.uid"}]},
    {"sources": [{"from": "resource_attribute", "name": "k8s.pod.ip"}]},
    {"sources": [{"from": "resource_attribute", "name": name} for name in ("k8s.namespace.name", "k8s.pod.name")]},
    {"sources": [{"from": "resource_attribute", "name": "container.id"}]},
]
ORIGINS = ("pod", "namespace", "node", "deployment", "statefulset", "daemonset", "job")
EXTRACT = {
    "metadata": list(METADATA),
    "labels": [{"key_regex": ".*", "from": origin} for origin in ORIGINS] + [{"key": "app", "from": o} for o in ORIGINS]
    + [{"key_regex": "a(p)p", "tag_name": "by-group-$1"}, {"key": "app", "tag_name": "by-key"}],
    "annotations": [{"key": "owner", "from": origin} for origin in ORIGINS] + [{"key_regex": "own.*"}],
    "otel_annotations": True,
}  # fmt: skip
NAMES_ALONE = {
    "metadata": [name for name in METADATA if name.startswith("service.") or name.endswith(".name")],
    "labels": [{"key": "kind"}],
}


def part(**attributes: Any) -> bytes:
    message = ResourceLogs()
    message.resource.MergeFromString(encode_attributes(attributes))
    message.scope_logs.add().log_records.add().body.string_value = "x"
    return bytes(message.SerializeToString())


def of(message: ResourceLogs) -> dict[str, Any]:
    return {pair.key: from_any_value(pair.value) for pair in message.resource.attributes}


def template(labels: dict[str, str], node: str) -> dict[str, Any]:
    containers = [
        {"name": "app", "image": "lab.test/team/app:1.2@sha256:" + "a" * 64},
        {"name": "side", "image": "busybox"},
    ]
    annotations = {"owner": "me", "resource.opentelemetry.io/service.namespace": "told"}
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {
            "automountServiceAccountToken": False,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": containers,
        },
    }


def workloads(api: Any, namespace: str, node: str) -> dict[str, Any]:
    """One pod of each kind of owner, running as far as the API knows. By kind."""
    for number, (kind, path, more) in enumerate(
        [
            ("Deployment", "apps/v1", {"replicas": 1}),
            ("StatefulSet", "apps/v1", {"replicas": 1, "serviceName": "x"}),
            ("DaemonSet", "apps/v1", {}),
            ("Job", "batch/v1", {}),
        ]
    ):
        labels = {**LABELS, "kind": kind} if number in (1, 2) else {"kind": kind, "app": "web"}
        name = f"nightly-{int(time.time()) // 60}" if kind == "Job" else kind.lower()
        made = template(labels, node)
        selector = {"matchLabels": {"kind": kind}}
        if kind == "Job":
            made["spec"]["restartPolicy"] = "Never"
            selector = {}
        spec = {**more, "template": made} | ({"selector": selector} if selector else {})
        owners = []
        if kind == "Job":
            cron = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": made}}}
            body = {"metadata": {"name": "nightly"}, "spec": cron}
            uid = api.call("POST", f"/apis/batch/v1/namespaces/{namespace}/cronjobs", body)["metadata"]["uid"]
            owners = [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": uid, "controller": True}]
        body = {
            "metadata": {
                "name": name,
                "ownerReferences": owners,
                "labels": {"app": "web"},
                "annotations": {"owner": "me"},
            },
            "spec": spec,
        }
        api.call("POST", f"/apis/{path}/namespaces/{namespace}/{kind.lower()}s", body)
    bare = template({"kind": "Pod"}, node)
    bare["metadata"]["name"] = "bare"
    bare["spec"]["containers"] = bare["spec"]["containers"][:1]
    api.call("POST", f"/api/v1/namespaces/{namespace}/pods", bare)
    path = f"/api/v1/namespaces/{namespace}/pods"
    pods = api.wait(
        path,
        lambda found: [pod for pod in found["items"] if pod["spec"].get("nodeName") == node][4:] and found["items"],
        "a pod of each workload on the node",
        timeout=60,
    )
    for number, pod in enumerate(pods):
        statuses = [
            {"name": container["name"], "image": container["image"], "ready": True, "restartCount": run,
             "imageID": f"lab.test/app@sha256:{run}{'b' * 63}", "state": {"running": {}},
             "containerID": f"containerd://{pod['metadata']['uid']}-{run}"}
            for run, container in enumerate(pod["spec"]["containers"])
        ]  # fmt: skip
        address = f"10.77.{time.time_ns() // 1000 % 250}.{number + 1}"
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                  "startTime": "2026-01-01T00:00:00Z", "containerStatuses": statuses}  # fmt: skip
        api.call("PATCH", f"{path}/{pod['metadata']['name']}/status", {"status": status})
    found = api.call("GET", path)["items"]
    return {pod["metadata"]["labels"]["kind"]: pod for pod in found}


def cases(pods: dict[str, Any], namespace: str, node: str) -> list[dict[str, Any]]:
    """Attributes of the resources that come in."""
    found: list[dict[str, Any]] = []
    for kind, pod in pods.items():
        uid, address = pod["metadata"]["uid"], pod["status"]["podIP"]
        found += [
            {"k8s.pod.uid": uid},
            {"k8s.pod.ip": address, "k8s.container.name": "app"},
            {"k8s.namespace.name": namespace, "k8s.pod.name": pod["metadata"]["name"], "k8s.container.name": "side"},
            {"k8s.pod.uid": uid, "k8s.container.name": "app", "k8s.container.restart_count": "0", "service.name": kind},
            {"k8s.pod.uid": uid, "k8s.container.name": "app", "k8s.container.restart_count": 3},
            {"container.id": f"{uid}-0", "k8s.node.name": ""},
            {"k8s.pod.uid": uid, "k8s.container.name": "other", "k8s.pod.name": 5},
        ]
    found += [{}, {"k8s.pod.uid": "unknown"}, {"k8s.namespace.name": namespace}, {"k8s.node.name": node}]
    return [{"case": number} | attributes for number, attributes in enumerate(found)]


async def ours(config: dict[str, Any], *parts: bytes) -> list[dict[str, Any]]:
    sink = SinkConsumer()
    made = settings("processor", "k8s_attributes", "logs", outputs={Signal.LOGS: sink})
    processor = FACTORY.create(made, from_plain(K8sAttributesConfig, config))
    async with TestHost() as host:
        await processor.start(host)
        await processor.consume(Batch(Signal.LOGS, parts, len(parts)))  # type: ignore[attr-defined]
        await processor.shutdown(host.clock.monotonic() + 1)
        assert host.status is Status.OK
        assert host.crashes == []
    return [of(message) for message in sink.messages]


@pytest.mark.peer
@pytest.mark.parametrize("extract", [EXTRACT, EXTRACT | {"deployment_name_from_replicaset": False}, NAMES_ALONE])
async def test_the_same_as_upstream(
    kubernetes: Any,
    kubeconfig: None,
    namespace: str,
    node: str,
    upstream_collector: Callable[[str], Any],
    free_port: Callable[[], int],
    tmp_path: Path,
    extract: dict[str, Any],
) -> None:
    """Pods of every owner, found by every rule: the same attributes, but for what the decisions list.

    Upstream sets attributes without a value (k8s.pod.hostname: ""), which are left out here, and container.image.tags
    only with a feature gate.
    """
    pods = await asyncio.to_thread(workloads, kubernetes, namespace, node)
    sent = cases(pods, namespace, node)
    config = {
        "auth_type": "kubeConfig",
        "wait_for_metadata": True,
        "extract": extract,
        "pod_association": RULES,
    }
    parts = [part(**attributes) for attributes in sent]
    mine = {found["case"]: found for found in await ours(config, *parts)}
    port, output = free_port(), tmp_path / "logs.json"
    text = json.dumps(
        {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
            "processors": {"k8s_attributes": config},
            "exporters": {"file": {"path": str(output)}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"logs": {"receivers": ["otlp"], "processors": ["k8s_attributes"], "exporters": ["file"]}},
            },
        }
    )
    collector = upstream_collector(text.replace("$1", "$$1"))
    await asyncio.to_thread(_send, port, request(parts), output)
    collector.stop()
    theirs = {}
    for found in json.loads(output.read_text())["resourceLogs"]:
        attributes = {pair["key"]: _plain(pair["value"]) for pair in found["resource"]["attributes"]}
        theirs[attributes["case"]] = attributes
    for number, attributes in enumerate(sent):
        mine[number].pop("container.image.tags", None)
        kept = {name: value for name, value in theirs[number].items() if value != "" or name in attributes}
        assert mine[number] == kept, f"case {attributes}"
    assert any(found.get("k8s.deployment.name") == "deployment" for found in mine.values())
    assert any(found.get("k8s.cronjob.name") == "nightly" for found in mine.values())
    assert extract is NAMES_ALONE or any("k8s.deployment.label.app" in found for found in mine.values())


async def test_a_pod_that_lives_three_seconds(kubernetes: Any, kubeconfig: None, namespace: str, node: str) -> None:
    """Its records, there before the API tells of it and after it is gone, carry its name."""
    sink = SinkConsumer()
    made = settings("processor", "k8s_attributes", "logs", outputs={Signal.LOGS: sink})
    config = {
        "auth_type": "kubeConfig",
        "wait_for_metadata": True,
        "filter": {"node": node},
        "pod_association": RULES[2:3],
        "wait_for_pod": {"timeout": "20s"},
    }
    processor: Any = FACTORY.create(made, from_plain(K8sAttributesConfig, config))
    named = {"k8s.namespace.name": namespace, "k8s.pod.name": "brief"}
    async with TestHost() as host:
        await processor.start(host)
        await processor.consume(Batch(Signal.LOGS, [part(**named)], 1))
        assert sink.items == 0
        body = template({}, node)
        body["metadata"]["name"] = "brief"
        body["spec"]["nodeName"] = node
        path = f"/api/v1/namespaces/{namespace}/pods"
        uid = (await asyncio.to_thread(kubernetes.call, "POST", path, body))["metadata"]["uid"]
        await sink.wait_for(1)
        await asyncio.to_thread(kubernetes.call, "DELETE", f"{path}/brief?gracePeriodSeconds=0")
        index = processor._index
        await until(lambda: index.by_uid[uid].deleted, "the news of its end")
        await processor.consume(Batch(Signal.LOGS, [part(**named, late="yes")], 1))
        await sink.wait_for(2)
        await processor.shutdown(host.clock.monotonic() + 1)
    assert [of(message)["k8s.pod.uid"] for message in sink.messages] == [uid, uid]


def _send(port: int, body: bytes, output: Path) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    posted = urllib.request.Request(f"http://127.0.0.1:{port}/v1/logs", body, headers, method="POST")
    urllib.request.urlopen(posted).close()
    end = time.monotonic() + 20
    while not output.exists() or not output.read_text().endswith("\n"):
        assert time.monotonic() < end
        time.sleep(0.02)


def _plain(value: dict[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    if kind == "arrayValue":
        return [_plain(item) for item in inner["values"]]
    return int(inner) if kind == "intValue" else inner
