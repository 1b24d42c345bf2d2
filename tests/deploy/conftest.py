"""What tests of the deployment share: the chart as helm renders it, and the images in the cluster of the lab."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes_lab import Api, kubernetes

__all__ = ["kubernetes"]

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "deploy" / "helm" / "heliograph"

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def helm(lab: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs helm."""
    kube = lab / "kubernetes" / "kube"

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([kube, "helm", *arguments], capture_output=True, text=True, check=False, timeout=120)

    run("version")  # fetched when it is used for the first time
    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., "subprocess.CompletedProcess[str]"]) -> Render:
    """A function that renders the chart with values given as `a.b=c`; the objects, in the order of their names."""

    def objects(*values: str, version: str = "1.36.0") -> list[dict[str, Any]]:
        given = [
            f"--set={value}" for value in ("secret.endpoint=https://endpoint.test:443", "secret.apiKey=k", *values)
        ]
        done = helm("template", "release", str(CHART), "--namespace=observe", f"--kube-version={version}", *given)
        assert done.returncode == 0, done.stderr
        found = [item for item in yaml.safe_load_all(done.stdout) if item]
        return sorted(found, key=lambda item: (item["kind"], item["metadata"]["name"]))

    return objects


@pytest.fixture(scope="session")
def images(kubernetes: Api) -> tuple[str, str]:
    """The images of this source, heliograph and its demo, in the cluster: their names.

    Plain Python, since compiling takes minutes and changes no behaviour.
    """
    work = ROOT / "build" / "image"
    names = ("lab.test/heliograph:test", "lab.test/heliograph-demo:test")
    for command, name in (("build", names[0]), ("demo", names[1])):
        archive = work / f"test-{command}.tar"
        arguments = ["--name", name, "-o", str(archive), *(["--pure"] if command == "build" else [])]
        work.mkdir(parents=True, exist_ok=True)
        builder = [sys.executable, str(ROOT / "deploy" / "image"), command, *arguments]
        done = subprocess.run(builder, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        kubernetes.run("image", str(archive))
    return names
