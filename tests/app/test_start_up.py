"""What a daemon loads when it starts, and what it does not: it runs on every node."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "aiohttp",
    "cramjam",
    "difflib",
    "email",
    "google",
    "http.client",
    "multiprocessing",
    "opentelemetry",
    "psutil",
    "rich",
    "ua_parser",
    "urllib.request",
    "xml",
    "zstandard",
    "heliograph.store.server",
    "heliograph.testing",
    "heliograph.app.up",
    "heliograph.exporters.elasticsearch",
    "heliograph.connectors",
    "heliograph.processors.attributes",
    "heliograph.otlp.json",
)
_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$")


def loaded(config: Path, **environ: str) -> set[str]:
    """The modules that a process with this configuration has imported when it is ready, as Python itself tells."""
    modules: set[str] = set()
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "heliograph", f"--config={config}"],
        env={**os.environ, **environ},
        cwd=config.parent,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            found = _IMPORTED.match(line)
            if found:
                modules.add(found[1])
                continue
            said.append(line)
            if "everything is ready" in line:
                process.terminate()
                process.stderr.read()
                break
    assert process.returncode == 0, "".join(said)
    return modules


def heavy(modules: set[str]) -> list[str]:
    """Those of HEAVY that are there; a package counts with any module of it."""
    parts = [module.split(".") for module in modules]
    return [name for name in HEAVY if any(part[: name.count(".") + 1] == name.split(".") for part in parts)]


@pytest.fixture
def kubernetes_daemon(tmp_path: Path, free_port: Callable[[], int]) -> Path:
    """The preset of a Kubernetes node, with everything that can be had without a cluster."""
    preset = (ROOT / "src/heliograph/presets/kubernetes-daemon.yaml").read_text()
    for old, new in (
        ("/var/log/pods", str(tmp_path / "pods")),
        ("/var/lib/heliograph", str(tmp_path / "state")),
        ("/hostfs", "/"),
        (":4317", f":{free_port()}"),
        (":4318", f":{free_port()}"),
        (":13133", f":{free_port()}"),
        ("port: 8888", f"port: {free_port()}"),
        (":10250", f":{free_port()}"),
        ("auth_type: serviceAccount", "auth_type: kubeConfig"),
        ("  k8s_attributes:\n", "  k8s_attributes:\n    auth_type: kubeConfig\n"),
        ("    k8s_api:\n", "    k8s_api:\n      auth_type: kubeConfig\n"),
    ):
        assert old in preset
        preset = preset.replace(old, new, 1 if old.endswith("\n") else -1)
    preset = preset.replace("[env, k8s_api, system, ec2, eks, gcp, aks, azure]", "[env, k8s_api, system]")
    path = tmp_path / "daemon.yaml"
    path.write_text(preset)
    server = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "kubeconfig").write_text(
        json.dumps(
            {
                "current-context": "x",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    return path


def test_a_daemon_loads_nothing_that_it_does_not_use(
    tmp_path: Path, kubernetes_daemon: Path, free_port: Callable[[], int]
) -> None:
    """Each of these costs between a quarter of a megabyte and 15 MB of memory on every node."""
    modules = loaded(
        kubernetes_daemon,
        KUBECONFIG=str(tmp_path / "kubeconfig"),
        OTEL_K8S_POD_IP="127.0.0.1",
        OTEL_K8S_NODE_IP="127.0.0.1",
        OTEL_K8S_NODE_NAME="n1",
        HELIOGRAPH_GATEWAY=f"127.0.0.1:{free_port()}",
    )
    assert {"heliograph.receivers.file_log.receiver", "heliograph.net.http.server", "httptools"} <= modules
    assert heavy(modules) == []


def test_what_is_looked_for_would_be_found(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """The same question to a process that uses such a thing."""
    config = tmp_path / "gateway.yaml"
    config.write_text(
        f"""
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{free_port()}"}}}}}}}}
exporters: {{elasticsearch: {{endpoint: "http://127.0.0.1:{free_port()}"}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{logs: {{receivers: [otlp], exporters: [elasticsearch]}}}}
"""
    )
    modules = loaded(config)
    assert "heliograph.exporters.elasticsearch" in heavy(modules)
    assert "aiohttp" not in modules
