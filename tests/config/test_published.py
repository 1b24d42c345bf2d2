"""Configurations that Elastic publishes are valid here as they are."""

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


@pytest.mark.parametrize("name", FILES)
def test_a_published_file_is_valid(lab: Path, name: str) -> None:
    """Nothing in it is refused, and every component takes its part."""
    path = lab.parent / "published" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    assert [str(problem) for problem in mistakes(path)] == []


def mistakes(path: Path) -> tuple[Problem, ...]:
    """What is wrong with a file."""
    try:
        load([str(path)], [], ENVIRON)
    except InvalidConfig as error:
        return error.problems
    return ()
