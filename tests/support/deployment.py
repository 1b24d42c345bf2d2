"""The chart installed on the cluster of the lab, with the shop beside it, for tests of the whole deployment."""

import contextlib
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from kubernetes_lab import Api

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "heliograph"
SHOP = ROOT / "deploy" / "demo" / "shop.yaml"


@dataclass(frozen=True)
class Node:
    """The node that runs pods; a cluster of the lab may have nodes that are only objects."""

    name: str
    address: str

    @property
    def selector(self) -> dict[str, str]:
        """For pods that must be there."""
        return {"kubernetes.io/hostname": self.name}


def real_node(kubernetes: Api) -> Node:
    """The node of the lab."""
    for item in kubernetes.call("GET", "/api/v1/nodes")["items"]:
        if not item["spec"].get("taints"):
            (address,) = [entry["address"] for entry in item["status"]["addresses"] if entry["type"] == "InternalIP"]
            return Node(item["metadata"]["name"], address)
    pytest.fail("there is no node")


@dataclass
class Installed:
    """A release of the chart. namespace, shop: where it and the shop are."""

    api: Api
    namespace: str
    shop: str

    def kubectl(self, *arguments: str, timeout: float = 150, stdin: str | None = None) -> str:
        """kubectl in the namespace of the chart."""
        return self.api.run("kubectl", "-n", self.namespace, *arguments, timeout=timeout, stdin=stdin)

    def upgrade(self, *values: str) -> None:
        """Change values of the release, and wait until all pods have them."""
        self.api.run(
            *("helm", "upgrade", "heliograph", str(CHART), f"--namespace={self.namespace}", "--reuse-values"),
            *(*(f"--set={value}" for value in values), "--wait", "--timeout=90s"),
            timeout=120,
        )

    def pods(self, role: str) -> list[dict[str, Any]]:
        """The pods of a role."""
        found = json.loads(self.kubectl("get", "pods", "-l", f"app.kubernetes.io/component={role}", "-o", "json"))
        return list(found["items"])

    def metric(self, role: str, name: str) -> dict[str, float]:
        """The sum of an own metric for each pod of a role that is ready."""
        found: dict[str, float] = {}
        for pod in self.pods(role):
            if all(status["ready"] for status in pod["status"].get("containerStatuses", [{"ready": False}])):
                text = urlopen(f"http://{pod['status']['podIP']}:8888/metrics", timeout=10).read().decode()
                rows = [row for row in text.splitlines() if row.startswith(name + "{")]
                found[pod["metadata"]["name"]] = sum(float(row.rpartition(" ")[2]) for row in rows)
        return found

    def told(self) -> str:
        """What the roles say, for a failure's message."""
        parts = [self.kubectl("get", "pods", "-o", "wide")]
        for role in ("daemon", "cluster", "gateway", "backend"):
            parts.append(self.kubectl("logs", "-l", f"app.kubernetes.io/component={role}", "--tail=8"))
        return "\n".join(parts)


@contextlib.contextmanager
def installed(kubernetes: Api, images: tuple[str, str], folder: Path, values: Mapping[str, Any]) -> Iterator[Installed]:
    """The chart, installed by `helm install` alone with these values, and the shop. folder: for files."""
    node, name = real_node(kubernetes), uuid.uuid4().hex[:6]
    made = Installed(kubernetes, f"observe-{name}", f"shop-{name}")
    repository, _, tag = images[0].rpartition(":")
    complete: dict[str, Any] = {
        "clusterName": "lab",
        "image": {"repository": repository, "tag": tag},
        "daemon": {"interval": "5s", "hostPath": f"{folder}/state"},
        "cluster": {"interval": "10s"},
        "gateway": {},
        "backend": {"storage": {"size": ""}},
    }
    for key, value in values.items():
        complete[key] = {**complete[key], **value} if isinstance(complete.get(key), dict) else value
    if len(kubernetes.call("GET", "/api/v1/nodes")["items"]) > 1:
        # Somebody has filled the cluster with nodes and pods that are only objects: they are not to be reported.
        only = {"namespaces": [made.namespace, made.shop]}
        complete["cluster"]["config"] = {"receivers": {"k8s_cluster": only, "k8s_events": only}}
    for role in ("daemon", "cluster", "gateway", "backend"):
        complete[role]["nodeSelector"] = node.selector
    (folder / "values.yaml").write_text(json.dumps(complete))
    run = kubernetes.run
    with contextlib.ExitStack() as stack:
        for namespace in (made.namespace, made.shop):
            stack.callback(run, "kubectl", "delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
        gone = ("--ignore-not-found", "--wait", "--timeout=90s")
        stack.callback(run, "helm", "uninstall", "heliograph", f"--namespace={made.namespace}", *gone)
        run(
            *("helm", "install", "heliograph", str(CHART), f"--namespace={made.namespace}", "--create-namespace"),
            *("--values", str(folder / "values.yaml"), "--wait", "--timeout=120s"),
            timeout=150,
        )
        run("kubectl", "create", "namespace", made.shop)
        run("kubectl", "apply", "-n", made.shop, "-f", "-", stdin=shop(images[1], node))
        yield made


def shop(image: str, node: Node) -> str:
    """The shop's objects, with this image and on this node."""
    objects = list(yaml.safe_load_all(SHOP.read_text()))
    for item in objects:
        if "template" in item["spec"]:
            pod = item["spec"]["template"]["spec"]
            pod["nodeSelector"] = node.selector
            pod["containers"][0]["image"] = image
    return yaml.safe_dump_all(objects)
