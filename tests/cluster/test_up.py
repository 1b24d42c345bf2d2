"""`heliograph up --kubeconfig`: the cluster collector beside the others."""

import subprocess
import sys
from pathlib import Path

import pytest

import tiers
from heliograph.store.client import store_file
from heliograph.store.documents import Documents
from kubernetes_lab import Api

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


def up(directory: Path, kubeconfig: Path) -> "subprocess.CompletedProcess[str]":
    """For ten seconds, with ports of its own."""
    found = tiers.arguments(directory)
    ports = [f"--{name.replace('_', '-')}={port}" for name, port in vars(found).items() if name.endswith("_port")]
    command = [sys.executable, "-m", "heliograph", "up", f"--directory={directory}", "--for=10s", *ports]
    return subprocess.run([*command, f"--kubeconfig={kubeconfig}"], capture_output=True, text=True, check=False)


def test_the_cluster_is_in_the_store(kubernetes: Api, tmp_path: Path) -> None:
    """Metrics of the cluster's objects arrive by way of the gateway and the backend, and the ledgers close."""
    done = up(tmp_path, kubernetes.kubeconfig)
    assert done.returncode == 0, done.stdout + done.stderr
    documents = Documents(store_file(tmp_path))
    streams = {stream.name: stream.documents for stream in documents.streams()}
    documents.close()
    assert streams["metrics-k8sclusterreceiver.otel-default"] > 0
    differences = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("difference")]
    assert len(differences) == 4
    assert all(set(numbers) == {"0"} for numbers in differences), done.stdout


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = up(tmp_path, Path("/nowhere/config"))
    assert done.returncode == 1
    assert "--kubeconfig /nowhere/config: there is no such file" in done.stderr
