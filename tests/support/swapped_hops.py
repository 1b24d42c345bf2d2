"""A role of the installed chart run by the upstream Collector of the lab, with the configuration file that the chart
made for ours; only what that Collector does not know is taken out of it."""

import contextlib
import json
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deployment import Installed
from kubernetes_lab import Api

UPSTREAM = "lab.test/otelcol:0.156"
KINDS = {"gateway": "deployment", "daemon": "daemonset", "cluster": "deployment"}
MISSING = {
    # The lab's Collector is built without these components of contrib.
    "gateway": ("extensions.cgroup_runtime",),
    "daemon": (
        "extensions.cgroup_runtime",
        # Keys that are ours, see docs/swap-a-hop.md.
        "receivers.file_log/containers.record_uid",
        "processors.k8s_attributes.wait_for_pod",
    ),
    "cluster": ("extensions.cgroup_runtime", "receivers.k8s_events"),
}
"""What is taken out of a role's file."""


def upstream_image(kubernetes: Api, folder: Path) -> None:
    """The upstream Collector as an image in the cluster, from which it takes os.description."""
    start = kubernetes.kube.parent.parent / "collector" / "collector"
    program = subprocess.run([start], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    os_release = folder / "os-release"
    os_release.write_text('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')  # as in our image, for os.description
    archive = str(folder / "otelcol.tar")
    kubernetes.run(
        "mkimage", UPSTREAM, '["/otelcol"]', f"{program}:/otelcol:755", f"{os_release}:/etc/os-release", "-o", archive
    )
    kubernetes.run("image", archive)


def without(config: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """A configuration without these keys; a component is taken out of the service, too, with pipelines that have no
    receiver then. Each path must be there."""
    left: dict[str, Any] = json.loads(json.dumps(config))
    for path in paths:
        *parents, last = path.split(".")
        place = left
        for key in parents:
            place = place[key]
        del place[last]
        if parents == ["extensions"]:
            left["service"]["extensions"].remove(last)
        elif parents == ["receivers"]:
            for name, pipeline in list(left["service"]["pipelines"].items()):
                pipeline["receivers"] = [one for one in pipeline["receivers"] if one != last]
                if not pipeline["receivers"]:
                    del left["service"]["pipelines"][name]
    return left


@contextlib.contextmanager
def swapped(release: Installed, role: str) -> Iterator[None]:
    """The upstream Collector in the place of a role: none of ours is left there until the end, when all are."""
    what = f"{KINDS[role]}/heliograph-{role}"
    given = json.loads(release.kubectl("get", "configmap", f"heliograph-{role}", "-o", "json"))
    files = {**given["data"], "collector.yaml": without_in_text(given["data"]["collector.yaml"], MISSING[role])}
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"upstream-{role}"}, "data": files}
    release.kubectl("apply", "-f", "-", stdin=json.dumps(other))
    workload = json.loads(release.kubectl("get", what, "-o", "json"))
    image = workload["spec"]["template"]["spec"]["containers"][0]["image"]
    replace(release, what, role, UPSTREAM, f"upstream-{role}")
    try:
        yield
    finally:
        replace(release, what, role, image, f"heliograph-{role}")


def without_in_text(text: str, paths: Iterable[str]) -> str:
    """The same for a file's text."""
    return yaml.safe_dump(without(yaml.safe_load(text), paths))


def replace(release: Installed, what: str, role: str, image: str, config: str) -> None:
    """Another image and configuration; returns when only they run."""
    pod = {
        "containers": [{"name": "heliograph", "image": image}],
        "volumes": [{"name": "config", "configMap": {"name": config}}],
    }
    release.kubectl("patch", what, "--type=strategic", "-p", json.dumps({"spec": {"template": {"spec": pod}}}))
    release.kubectl("rollout", "status", what, "--timeout=90s")
    end = time.monotonic() + 60
    while {pod["spec"]["containers"][0]["image"] for pod in release.pods(role)} != {image}:
        assert time.monotonic() < end, release.told()
        time.sleep(0.5)
