"""What the OpenTelemetry operator and the chart kube-stack make of Elastic's published values, with our image:
workloads, services, rights and environment as there, the configurations byte for byte.

Three things are the lab's: the node's name does not resolve there, so the daemon has it as a host alias; the
checkpoints lie in a folder of the test; an authority of the test's own, which the gateway is told as the system's.
"""

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml

from deployment import Node, real_node, shop
from kubernetes_lab import Api

STACK = "opentelemetry-kube-stack"
CORE = [
    *("namespaces", "nodes", "nodes/proxy", "nodes/metrics", "nodes/stats", "services", "endpoints", "pods", "events"),
    *("replicationcontrollers", "resourcequotas", "configmaps"),
]
RIGHTS = {
    "": CORE,
    "apps": ["daemonsets", "deployments", "replicasets", "statefulsets"],
    "batch": ["jobs", "cronjobs"],
    "autoscaling": ["horizontalpodautoscalers"],
}
"""What the chart's cluster role gives to every collector, of the kinds that are used."""
KINDS = {"daemon": "DaemonSet", "cluster-stats": "Deployment", "gateway": "Deployment"}
VARIABLES = {
    "OTEL_K8S_NODE_NAME": "spec.nodeName",
    "OTEL_K8S_NODE_IP": "status.hostIP",
    "OTEL_K8S_NAMESPACE": "metadata.namespace",
    "OTEL_K8S_POD_NAME": "metadata.name",
    "OTEL_K8S_POD_IP": "status.podIP",
    "POD_NAME": "metadata.name",
}
FOLDERS = {"/var/log/pods": "/var/log/pods", "/hostfs": "/"}


@dataclass
class KubeStack:
    """The collectors of one of the published values. configs: role -> configuration."""

    api: Api
    namespace: str
    shop: str
    configs: Mapping[str, str]

    def kubectl(self, *arguments: str, timeout: float = 150) -> str:
        """kubectl in the namespace of the collectors."""
        return self.api.run("kubectl", "-n", self.namespace, *arguments, timeout=timeout)

    def configure(self, configs: Mapping[str, str]) -> None:
        """Other configurations: all pods are started anew."""
        for role, text in configs.items():
            data = json.dumps({"data": {"collector.yaml": text}})
            self.kubectl("patch", "configmap", f"{STACK}-{role}-collector", "--type=merge", "-p", data)
            self.kubectl("rollout", "restart", f"{KINDS[role].lower()}/{STACK}-{role}-collector")
        self.ready()

    def ready(self) -> None:
        """Wait until all pods are ready and no old one is left."""
        for role in self.configs:
            self.kubectl("rollout", "status", f"{KINDS[role].lower()}/{STACK}-{role}-collector", "--timeout=120s")
        end = time.monotonic() + 90
        while len(self.pods()) > len(self.configs):
            assert time.monotonic() < end, self.told()
            time.sleep(0.5)

    def pods(self) -> list[dict[str, Any]]:
        """All pods of the collectors."""
        return list(json.loads(self.kubectl("get", "pods", "-o", "json"))["items"])

    def complaints(self) -> dict[str, str]:
        """What components say on the health check's port: component -> message. Every process answers there and none
        was started twice."""
        found: dict[str, str] = {}
        for pod in self.pods():
            page = json.load(urlopen(f"http://{pod['status']['podIP']}:13133/", timeout=10))
            assert page["status"] == "Server available", page
            found |= {name: said["message"] for name, said in page.get("components", {}).items()}
            assert sum(status["restartCount"] for status in pod["status"]["containerStatuses"]) == 0
        return found

    def told(self) -> str:
        """What the roles say, for a failure's message."""
        parts = [self.kubectl("get", "pods", "-o", "wide")]
        for role in self.configs:
            parts.append(self.kubectl("logs", "-l", f"app.kubernetes.io/name={STACK}-{role}-collector", "--tail=15"))
        return "\n".join(parts)


@contextlib.contextmanager
def kube_stack(
    kubernetes: Api,
    images: tuple[str, str],
    folder: Path,
    configs: Mapping[str, str],
    environment: Mapping[str, str],
    authority: str = "",
) -> Iterator[KubeStack]:
    """The collectors and the shop. configs: role -> text; environment: of the gateway, from the chart's secret;
    authority: PEM of one that everybody trusts."""
    node, name = real_node(kubernetes), uuid.uuid4().hex[:6]
    made = KubeStack(kubernetes, f"operator-{name}", f"shop-{name}", configs)
    objects = rights(made)
    trust = {"SSL_CERT_FILE": "/conf/ca.crt"} if authority else {}
    for role, text in configs.items():
        extra = {**environment, **trust} if role == "gateway" else {}
        files = {"collector.yaml": text, "ca.crt": authority}
        objects += collector(made, role, files, images[0], node, folder, extra)
    run = kubernetes.run
    with contextlib.ExitStack() as stack:
        gone = ("--ignore-not-found", "--wait=false")
        stack.callback(run, "kubectl", "delete", f"clusterrole/{made.namespace}", *gone)
        stack.callback(run, "kubectl", "delete", f"clusterrolebinding/{made.namespace}", *gone)
        for namespace in (made.namespace, made.shop):
            stack.callback(run, "kubectl", "delete", "namespace", namespace, *gone)
            run("kubectl", "create", "namespace", namespace)
        run("kubectl", "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        made.ready()
        run("kubectl", "apply", "-n", made.shop, "-f", "-", stdin=instrumented(shop(images[1], node), made.shop))
        yield made


def instrumented(objects: str, namespace: str) -> str:
    """Applications told of their pod as the operator's instrumentation tells them. The published pipelines have `batch`
    before `k8s_attributes`, and a joined batch has no sender's address to go by, here as upstream."""
    found = list(yaml.safe_load_all(objects))
    for item in found:
        if "template" in item["spec"]:
            (container,) = item["spec"]["template"]["spec"]["containers"]
            told = {"k8s.namespace.name": namespace, "k8s.container.name": container["name"]}
            for key, path in (("POD_NAME", "metadata.name"), ("NODE_NAME", "spec.nodeName")):
                name = f"OTEL_RESOURCE_ATTRIBUTES_{key}"
                container["env"].append({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
                told[f"k8s.{key.lower().replace('_', '.')}"] = f"$({name})"
            text = ",".join(f"{key}={value}" for key, value in told.items())
            container["env"].append({"name": "OTEL_RESOURCE_ATTRIBUTES", "value": text})
    return yaml.safe_dump_all(found)


def rights(made: KubeStack) -> list[dict[str, Any]]:
    """The chart's cluster role, for the service account of every collector."""
    verbs = ["get", "list", "watch"]
    rules = [{"apiGroups": [group], "resources": kinds, "verbs": verbs} for group, kinds in RIGHTS.items()]
    accounts = [
        {"kind": "ServiceAccount", "name": f"{STACK}-{role}-collector", "namespace": made.namespace}
        for role in made.configs
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": made.namespace}
    version = "rbac.authorization.k8s.io/v1"
    return [
        {"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": made.namespace}, "rules": rules},
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": made.namespace},
            "roleRef": role,
            "subjects": accounts,
        },
    ]


def collector(
    made: KubeStack,
    role: str,
    files: Mapping[str, str],
    image: str,
    node: Node,
    folder: Path,
    environment: Mapping[str, str],
) -> list[dict[str, Any]]:
    """What the operator makes of a resource OpenTelemetryCollector."""
    name = f"{STACK}-{role}-collector"
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/component": "opentelemetry-collector"}
    meta = {"name": name, "namespace": made.namespace, "labels": labels}
    folders = {**FOLDERS, "/var/lib/otelcol": f"{folder}/otelcol"} if role == "daemon" else {}
    variables: list[dict[str, Any]] = [
        {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in VARIABLES.items()
    ]
    if "kubelet_stats" in files["collector.yaml"]:  # the operator adds a variable where that receiver is
        variables.append({"name": "K8S_NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
    fixed = {"OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=lab", "ELASTIC_AGENT_OTEL": "true", "GOMEMLIMIT": "1025MiB"}
    variables += [{"name": key, "value": value} for key, value in {**fixed, **environment}.items()]
    ports = {"otlp-grpc": 4317, "otlp-http": 4318, "metrics": 8888} if role != "cluster-stats" else {"metrics": 8888}
    container = {
        "name": "otc-container",
        "image": image,
        "args": ["--config=/conf/collector.yaml"],
        "env": variables,
        "ports": [{"name": key, "containerPort": port} for key, port in ports.items()],
        "livenessProbe": {"httpGet": {"path": "/", "port": 13133}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 13133}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "otc-internal", "mountPath": "/conf"},
            *(
                {"name": f"host-{place}", "mountPath": inside, "readOnly": inside != "/var/lib/otelcol"}
                for place, inside in enumerate(folders)
            ),
        ],
    }
    pod: dict[str, Any] = {
        "serviceAccountName": name,
        "nodeSelector": node.selector,
        "containers": [container],
        "terminationGracePeriodSeconds": 30,
        "volumes": [
            {"name": "otc-internal", "configMap": {"name": name}},
            *(
                {"name": f"host-{place}", "hostPath": {"path": outside, "type": "DirectoryOrCreate"}}
                for place, outside in enumerate(folders.values())
            ),
        ],
    }
    if role == "daemon":
        container["securityContext"] = {"runAsUser": 0, "runAsGroup": 0}
        pod |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
        pod["hostAliases"] = [{"ip": node.address, "hostnames": [node.name]}]
    workload = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**meta, "name": name + suffix},
            "spec": {
                **extra,
                "selector": labels,
                "ports": [{"name": key, "port": port} for key, port in ports.items()],
            },
        }
        for suffix, extra in (("", {}), ("-headless", {"clusterIP": "None"}))
    ]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": files},
        {"apiVersion": "apps/v1", "kind": KINDS[role], "metadata": meta, "spec": workload},
        *services,
    ]
