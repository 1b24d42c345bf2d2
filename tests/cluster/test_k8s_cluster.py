"""k8s_cluster with a real API server, beside the upstream Collector."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.otlp.attributes import from_any_value
from heliograph.receivers.k8s_cluster import FACTORY
from heliograph.receivers.k8s_cluster.config import ClusterAttributes, K8sClusterConfig
from heliograph.receivers.k8s_cluster.metrics import METRICS
from heliograph.testing import metric_rows
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
CORE, APPS, BATCH = "/api/v1", "/apis/apps/v1", "/apis/batch/v1"
SOON = {"auth_type": "kubeConfig", "collection_interval": "1s"}
EVERYTHING: dict[str, Any] = {
    "metrics": {name: {"enabled": True} for name in METRICS},
    "resource_attributes": {name: {"enabled": True} for name in ClusterAttributes.DEFAULTS},
    "node_conditions_to_report": ["Ready", "MemoryPressure", "PIDPressure", "FrequentKubeletRestart"],
    "allocatable_types_to_report": ["cpu", "memory", "ephemeral-storage", "pods", "hugepages-2Mi", "example.com/FPGAs"],
}
RESOURCES = {
    "requests": {"cpu": "250m", "memory": "64Mi", "ephemeral-storage": "0"},
    "limits": {"cpu": "1.5", "memory": "1e8", "ephemeral-storage": "2Gi"},
}


@pytest.fixture
def objects(kubernetes: Any, namespace: str, node: str) -> Iterator[Any]:
    """One object of each kind at least, with a status."""
    volume = f"{namespace}-volume"
    claim = {"namespace": namespace, "name": "claim"}
    spec = {
        "capacity": {"storage": "1500Mi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/nowhere"},
        "storageClassName": "manual",
        "claimRef": claim,
        "persistentVolumeReclaimPolicy": "Retain",
    }
    body = {"metadata": {"name": volume, "labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": spec}
    kubernetes.call("POST", f"{CORE}/persistentvolumes", body)
    try:
        make(kubernetes, namespace, node)
        yield settle(kubernetes, namespace, node)
    finally:
        kubernetes.call("DELETE", f"{CORE}/persistentvolumes/{volume}", accept=(200, 202, 404))


def make(api: Any, namespace: str, node: str) -> None:
    def put(path: str, name: str, **more: Any) -> None:
        metadata = {"name": name, "labels": {"app": name}, "annotations": {"team": "x"}}
        base, plural = path.rsplit("/", 1)
        api.call("POST", f"{base}/namespaces/{namespace}/{plural}", {"metadata": metadata, **more})

    def pods(name: str, **more: Any) -> dict[str, Any]:
        containers = [{"name": "app", "image": "lab.test/team/app:1.2", "resources": RESOURCES}]
        containers.append({"name": "side", "image": "busybox"})
        chosen = {"kubernetes.io/hostname": node}
        spec = {"nodeSelector": chosen, "containers": containers, "automountServiceAccountToken": False, **more}
        return {"metadata": {"labels": {"kind": name}}, "spec": spec}

    def workload(name: str) -> dict[str, Any]:
        return {"selector": {"matchLabels": {"kind": name}}, "template": pods(name)}

    put(f"{APPS}/deployments", "deployment", spec={"replicas": 2, **workload("deployment")})
    put(f"{APPS}/statefulsets", "statefulset", spec={"replicas": 1, "serviceName": "x", **workload("statefulset")})
    put(f"{APPS}/daemonsets", "daemonset", spec=workload("daemonset"))
    controller = {"replicas": 1, "selector": {"kind": "controller"}, "template": pods("controller")}
    put(f"{CORE}/replicationcontrollers", "controller", spec=controller)
    job = {"completions": 3, "parallelism": 1, "template": pods("job", restartPolicy="Never")}
    put(f"{BATCH}/jobs", "job", spec=job)
    cron = {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}
    put(f"{BATCH}/cronjobs", "cronjob", spec=cron)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "deployment"}
    put("/apis/autoscaling/v2/horizontalpodautoscalers", "hpa", spec={"maxReplicas": 2, "scaleTargetRef": target})
    put(
        f"{CORE}/resourcequotas",
        "quota",
        spec={"hard": {"pods": "30", "count/jobs.batch": "5", "requests.storage": "2G"}},
    )
    hard = {"requests.cpu": "10", "limits.cpu": "20500m", "memory": "4Gi"}
    put(f"{CORE}/resourcequotas", "brief", spec={"hard": hard, "scopes": ["Terminating"]})
    ports = {"ports": [{"port": 80}]}
    put(f"{CORE}/services", "balanced", spec={"type": "LoadBalancer", "selector": {"kind": "deployment"}, **ports})
    put(f"{CORE}/services", "bare", spec={"publishNotReadyAddresses": True, "clusterIP": "None", **ports})
    endpoints = [
        {"addresses": ["10.9.9.1"], "zone": "a", "conditions": {"ready": True}},
        {"addresses": ["10.9.9.2"], "zone": "a", "conditions": {"ready": False, "serving": True, "terminating": True}},
        {"addresses": ["10.9.9.3"], "zone": "b", "conditions": {}},
    ]
    metadata = {"name": "slice", "labels": {"kubernetes.io/service-name": "bare"}}
    body = {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints}
    api.call("POST", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", body)
    asked = {"storageClassName": "manual", "volumeName": f"{namespace}-volume", "accessModes": ["ReadWriteOnce"]}
    claim = {**asked, "resources": {"requests": {"storage": "1G"}}}
    put(f"{CORE}/persistentvolumeclaims", "claim", spec=claim)


def settle(api: Any, namespace: str, node: str) -> list[dict[str, Any]]:
    """Give the pods a status, as the kubelet would. Returns them."""
    path = f"{CORE}/namespaces/{namespace}/pods"
    pods = api.wait(
        path,
        lambda found: [pod for pod in found["items"] if pod["spec"].get("nodeName") == node][5:] and found["items"],
        "a pod of each workload on the node",
        timeout=60,
    )
    for number, pod in enumerate(sorted(pods, key=lambda pod: str(pod["metadata"]["labels"]["kind"]))):
        uid = pod["metadata"]["uid"]
        oom = {"exitCode": 137, "reason": "OOMKilled", "containerID": f"containerd://{uid}-old"}
        states: list[dict[str, Any]] = [
            {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "ready": True, "restartCount": 0},
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": oom}, "restartCount": 7},
            {"state": {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z"}}},
        ]
        statuses = [
            {"name": name, "image": image, "imageID": "", "ready": False, "restartCount": 1,
             "containerID": f"containerd://{uid}-{name}", **states[(number + shift) % 3]}
            for shift, (name, image) in enumerate([("app", "lab.test/team/app:1.2"), ("side", "busybox")])
        ]  # fmt: skip
        status: dict[str, Any] = {"phase": "Running", "podIP": f"10.78.0.{number + 1}", "containerStatuses": statuses}
        if number == 0:
            status = {"phase": "Running", "reason": "NodeLost"}
        api.call("PATCH", f"{path}/{pod['metadata']['name']}/status", {"status": status})
    balanced = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}, {"hostname": "x.test"}]}}}
    api.call("PATCH", f"{CORE}/namespaces/{namespace}/services/balanced/status", balanced)
    api.wait(
        f"{CORE}/namespaces/{namespace}/persistentvolumeclaims/claim",
        lambda found: found["status"].get("phase") == "Bound",
        "the claim's volume",
    )
    found: list[dict[str, Any]] = api.call("GET", path)["items"]
    return found


@asynccontextmanager
async def running(config: dict[str, Any], **sinks: SinkConsumer) -> AsyncIterator[TestHost]:
    made = settings("receiver", "k8s_cluster", outputs=dict(sinks))
    receiver = FACTORY.create(made, from_plain(K8sClusterConfig, config))
    async with TestHost() as host:
        await receiver.start(host)
        try:
            yield host
        finally:
            await receiver.shutdown(host.clock.monotonic() + 1)
        assert host.crashes == []


def ours(sink: SinkConsumer, wanted: Callable[[metric_rows.Key], bool]) -> dict[metric_rows.Key, Any]:
    """The last report."""
    found = metric_rows.ours(sink.batches[-1].parts) if sink.batches else {}
    return {key: (*row.shape(), row.value, row.start > 0) for key, row in found.items() if wanted(key)}


def theirs(path: Path, wanted: Callable[[metric_rows.Key], bool]) -> dict[metric_rows.Key, Any]:
    """The last report of the upstream Collector, without the attributes that it sets to nothing."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    last = path.with_suffix(".last")
    last.write_text(lines[-1] + "\n" if lines else "")
    rows = {}
    for (metric, attributes, resource), row in metric_rows.upstream(last).items():
        key = metric, attributes, tuple(pair for pair in resource if pair[1] != "")
        rows[key] = (*row.shape(), row.value, row.start > 0)
    return {key: row for key, row in rows.items() if wanted(key)}


def upstream(config: dict[str, Any], signal: str, output: Path) -> str:
    pipelines = {signal: {"receivers": ["k8s_cluster"], "exporters": ["file"]}}
    service = {"telemetry": {"metrics": {"level": "none"}}, "pipelines": pipelines}
    receivers = {"k8s_cluster": config}
    return json.dumps({"receivers": receivers, "exporters": {"file": {"path": str(output)}}, "service": service})


@pytest.mark.peer
@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("narrow", [False, True], ids=["cluster", "namespace"])
async def test_the_same_metrics(
    kubeconfig: None,
    objects: Any,
    namespace: str,
    node: str,
    upstream_collector: Callable[[str], Any],
    tmp_path: Path,
    more: dict[str, Any],
    narrow: bool,
) -> None:
    """Same resources, metrics, attributes, values, units, kinds, scopes, and start times where upstream has them."""

    def wanted(key: metric_rows.Key) -> bool:
        _, _, resource = key
        names = {value for _, value in resource}
        return bool(names & {namespace, node, f"{namespace}-volume"})

    config = {**SOON, **more, **({"namespaces": [namespace]} if narrow else {})}
    sink, output = SinkConsumer(), tmp_path / "metrics.json"
    await asyncio.to_thread(upstream_collector, upstream(config, "metrics", output))
    async with running(config, metrics=sink) as host:

        def differences() -> dict[Any, Any]:
            mine, other = ours(sink, wanted), theirs(output, wanted)
            keys = mine.keys() | other.keys() or {"nothing"}
            return {
                key: (mine.get(key), other.get(key)) for key in keys if key not in mine or mine[key] != other.get(key)
            }

        try:
            await until(lambda: not differences(), "the same metrics", timeout=40)
        except AssertionError:
            assert differences() == {}
        assert host.status is Status.OK
    reported = {metric for metric, _, _ in ours(sink, wanted)}
    kinds = {"k8s.pod.phase", "k8s.container.cpu_limit", "k8s.container.ready", "k8s.deployment.available"}
    kinds |= {"k8s.statefulset.ready_pods", "k8s.job.active_pods", "k8s.cronjob.active_jobs", "k8s.hpa.max_replicas"}
    kinds |= {"k8s.replicaset.desired", "k8s.replication_controller.desired", "k8s.resource_quota.used"}
    kinds |= {"k8s.daemonset.ready_nodes"}
    if more:
        kinds |= {"k8s.service.endpoint.count", "k8s.service.load_balancer.ingress.count", "k8s.pod.status_reason"}
        kinds |= {"k8s.container.status.state", "k8s.container.status.reason"}
        kinds |= {f"k8s.persistentvolumeclaim.{name}" for name in ("status.phase", "storage.request")}
    if not narrow:
        kinds |= {"k8s.namespace.phase", "k8s.node.condition_ready"}
    if more and not narrow:
        kinds |= {"k8s.node.condition", "k8s.node.allocatable_cpu", "k8s.persistentvolume.status.phase"}
    assert kinds <= reported


@pytest.mark.peer
async def test_the_same_entities(
    kubernetes: Any,
    kubeconfig: None,
    objects: list[dict[str, Any]],
    namespace: str,
    node: str,
    upstream_collector: Callable[[str], Any],
    tmp_path: Path,
) -> None:
    """Type, id, attributes and interval of every entity; and that a pod and its containers are gone.

    Upstream names one service of a pod, in no order, and takes a service without a selector for one of every pod; it
    drops the revisions of stateful sets, and sets attributes without a value.
    """
    sink, output = SinkConsumer(), tmp_path / "logs.json"
    config = {**SOON, "metadata_collection_interval": "7s"}
    await asyncio.to_thread(upstream_collector, upstream(config, "logs", output))
    async with running(config, logs=sink):

        def differences() -> dict[Any, Any]:
            mine = compared(events(sink), namespace, node)
            other = compared(upstream_events(output), namespace, node)
            keys = mine.keys() | other.keys() or {"nothing"}
            return {
                key: (mine.get(key), other.get(key)) for key in keys if key not in mine or mine[key] != other.get(key)
            }

        async def same() -> None:
            try:
                await until(lambda: not differences(), "the same entities", timeout=40)
            except AssertionError:
                assert differences() == {}

        await same()
        found = events(sink)
        kinds = {type_ for type_, _ in compared(found, namespace, node)}
        assert kinds >= {"k8s.pod", "container", "k8s.node", "k8s.namespace", "k8s.deployment", "k8s.replicaset"}
        assert kinds >= {"k8s.statefulset", "k8s.daemonset", "k8s.job", "k8s.cronjob", "k8s.hpa", "k8s.service"}
        assert kinds >= {"k8s.replicationcontroller", "k8s.persistentvolume", "k8s.persistentvolumeclaim"}
        of_deployment = [pod for pod in objects if pod["metadata"]["labels"]["kind"] == "deployment"]
        uid = of_deployment[1]["metadata"]["uid"]
        attributes = found["k8s.pod", uid]["otel.entity.attributes"]
        assert attributes["k8s.deployment.name"] == attributes["k8s.workload.name"] == "deployment"
        assert attributes["k8s.service.balanced"] == ""
        path = f"{CORE}/namespaces/{namespace}/pods/{of_deployment[1]['metadata']['name']}?gracePeriodSeconds=0"
        await asyncio.to_thread(kubernetes.call, "DELETE", path)
        await until(lambda: events(sink)["k8s.pod", uid]["otel.entity.event.type"] == "entity_delete", "its end")
        gone = {key for key, event in events(sink).items() if event["otel.entity.event.type"] == "entity_delete"}
        assert gone >= {("k8s.pod", uid), ("container", f"{uid}-app"), ("container", f"{uid}-side")}
        await same()
        told = len(sink.batches)
        await until(lambda: len(sink.batches) > told + 1, "everything told again", timeout=20)


Event = dict[str, Any]


def events(sink: SinkConsumer) -> dict[tuple[str, str], Event]:
    """The last event of each entity, by type and id."""
    found: dict[tuple[str, str], Event] = {}
    for message in sink.messages:
        for scope in message.scope_logs:
            assert [pair.key for pair in scope.scope.attributes] == ["otel.entity.event_as_log"]
            for record in scope.log_records:
                assert record.time_unix_nano > 0
                event = {pair.key: from_any_value(pair.value) for pair in record.attributes}
                _keep(found, event)
    return found


def upstream_events(path: Path) -> dict[tuple[str, str], Event]:
    found: dict[tuple[str, str], Event] = {}
    for line in path.read_text().split("\n")[:-1] if path.exists() else ():
        for logs in json.loads(line)["resourceLogs"]:
            for record in logs["scopeLogs"][0]["logRecords"]:
                _keep(found, {pair["key"]: _plain(pair["value"]) for pair in record["attributes"]})
    return found


def _keep(found: dict[tuple[str, str], Event], event: Event) -> None:
    (identity,) = event["otel.entity.id"].values()
    found[event["otel.entity.type"], identity] = event


def compared(found: dict[tuple[str, str], Event], namespace: str, node: str) -> dict[tuple[str, str], Event]:
    """Entities of this test, without what differs on purpose."""
    kept: dict[tuple[str, str], Event] = {}
    for key, event in found.items():
        attributes = event.get("otel.entity.attributes", {})
        if not ({namespace, node, f"{namespace}-volume"} & set(attributes.values())) or not key[1]:
            continue
        kept[key] = {**event, "otel.entity.attributes": dict(attributes)}
        for name, value in attributes.items():
            service = key[0] == "k8s.pod" and name.startswith("k8s.service.")
            if value == "" or service or name in ("current_revision", "update_revision"):
                del kept[key]["otel.entity.attributes"][name]
    return kept


def _plain(value: dict[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    if kind == "kvlistValue":
        return {pair["key"]: _plain(pair["value"]) for pair in inner.get("values", [])}
    return int(inner) if kind == "intValue" else inner
