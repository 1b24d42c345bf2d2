"""Configurations that Elastic publishes are read; what is unknown is said by name, and nothing else is wrong."""

import re
from pathlib import Path

import pytest

from heliograph.config.load import load
from heliograph.config.problem import InvalidConfig, Problem

ENVIRON = {
    "OTEL_K8S_NODE_NAME": "node-1",
    "OTEL_K8S_POD_IP": "10.0.0.1",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=collector",
    "ELASTIC_ENDPOINT": "https://elasticsearch:9200",
    "ELASTIC_OTLP_ENDPOINT": "https://ingest:443",
    "ELASTIC_API_KEY": "key",
    "STORAGE_DIR": "/var/lib/otelcol",
}
FILES = (
    *(f"linux/{name}.yml" for name in ("platformlogs", "platformlogs_hostmetrics", "logs_metrics_traces", "gateway")),
    *(f"linux/managed_otlp/{n}.yml" for n in ("platformlogs", "platformlogs_hostmetrics", "logs_metrics_traces")),
    *(f"kube-stack/rendered/elasticsearch.{role}.yaml" for role in ("daemon", "gateway", "cluster-stats")),
    *(f"kube-stack/rendered/managed-otlp.{role}.yaml" for role in ("daemon", "gateway", "cluster-stats")),
    *(f"kube-stack/rendered/managed-otlp-logs.{role}.yaml" for role in ("daemon", "gateway")),
)
VALID = (
    "linux/gateway.yml",
    "linux/logs_metrics_traces.yml",
    "linux/platformlogs.yml",
    "linux/platformlogs_hostmetrics.yml",
    "kube-stack/rendered/elasticsearch.cluster-stats.yaml",
    "kube-stack/rendered/elasticsearch.gateway.yaml",
    "kube-stack/rendered/managed-otlp.cluster-stats.yaml",
)
"""Those in which nothing is refused any more."""
BY_NAME = re.compile(
    r"unknown (receiver|processor|exporter|connector|extension) type|unknown detector|not supported here"
)


@pytest.mark.parametrize("name", FILES)
def test_a_published_file_is_read(lab: Path, name: str) -> None:
    """It loads, or each mistake names a component type, detector or key that is not done here."""
    path = lab.parent / "published" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    assert [str(problem) for problem in mistakes(path) if not BY_NAME.search(str(problem))] == []


@pytest.mark.parametrize("name", VALID)
def test_a_published_file_is_valid(lab: Path, name: str) -> None:
    """It runs unchanged."""
    path = lab.parent / "published" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    assert [str(problem) for problem in mistakes(path)] == []


@pytest.mark.parametrize("name", FILES)
def test_every_detector_and_its_extension_are_known(lab: Path, name: str) -> None:
    """No mistake is in a resource_detection processor or in cgroup_runtime."""
    path = lab.parent / "published" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    wanted = re.compile(r"resource_?detection|detector|cgroup_runtime")
    assert [str(problem) for problem in mistakes(path) if wanted.search(str(problem))] == []


def mistakes(path: Path) -> tuple[Problem, ...]:
    """What is wrong with a file."""
    try:
        load([str(path)], [], ENVIRON)
    except InvalidConfig as error:
        return error.problems
    return ()
