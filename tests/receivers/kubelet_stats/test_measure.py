"""Answers of a kubelet become metrics; what is odd in them does not end a round."""

import json
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.scrape import Scrape
from heliograph.config.decode import from_plain
from heliograph.kubernetes.errors import BadAnswer
from heliograph.receivers.kubelet_stats.answers import pods, summary
from heliograph.receivers.kubelet_stats.config import KubeletStatsConfig
from heliograph.receivers.kubelet_stats.measure import SCRAPER, Capacity, Known, Measuring
from heliograph.receivers.kubelet_stats.metadata import PodMetadata
from heliograph.receivers.kubelet_stats.metrics import METRICS
from heliograph.testing import metric_rows

DATA = Path(__file__).parent / "data"
NOW = 1_767_225_700_000_000_000
POD = {"podRef": {"name": "p", "namespace": "n", "uid": "u"}, "startTime": "2026-01-01T00:00:00Z"}


def measure(answer: dict[str, Any], config: dict[str, Any], known: Known | None = None) -> Scrape:
    measuring = Measuring(from_plain(KubeletStatsConfig, {"auth_type": "none", **config}), NOW - 5)
    return measuring.run(summary(json.dumps(answer).encode()), known or Known(), NOW)


def named(scrape: Scrape) -> dict[str, Any]:
    return {key[0]: row for key, row in metric_rows.ours(scrape.parts).items()}


def test_groups_choose_what_is_reported() -> None:
    answer = json.loads((DATA / "made_summary.json").read_text())
    prefixes = {"node": ("k8s.node.",), "pod": ("k8s.pod.",), "container": ("container.",), "volume": ("k8s.volume.",)}
    for group, wanted in prefixes.items():
        scrape = measure(answer, {"metric_groups": [group]})
        rows = metric_rows.ours(scrape.parts)
        assert rows
        assert all(key[0].startswith(wanted) for key in rows), group
        assert scrape.points == {SCRAPER: len(rows)}


def test_nothing_that_is_off_is_reported() -> None:
    """Metrics and resource attributes; a resource whose metrics are all off is not sent."""
    off = {name: {"enabled": False} for name in METRICS if name.startswith("k8s.pod.")}
    answer = {"node": {}, "pods": [{**POD, "memory": {"usageBytes": 1}, "containers": []}]}
    assert measure(answer, {"metrics": off}).parts == []
    rows = metric_rows.ours(measure(answer, {"resource_attributes": {"k8s.pod.uid": {"enabled": False}}}).parts)
    assert [key[2] for key in rows] == [(("k8s.namespace.name", "n"), ("k8s.pod.name", "p"))]


def test_shares_of_limits_requests_and_the_node() -> None:
    """A pod's share needs the limit of every container; memory counts usage, not the working set."""
    container = {
        "name": "a",
        "cpu": {"usageNanoCores": 250_000_000},
        "memory": {"usageBytes": 512, "workingSetBytes": 1},
    }
    answer = {
        "node": {},
        "pods": [{**POD, "cpu": container["cpu"], "memory": container["memory"], "containers": [container]}],
    }
    spec = [
        {"name": "a", "resources": {"limits": {"cpu": "500m", "memory": "1Ki"}, "requests": {"cpu": "1"}}},
        {"name": "b", "resources": {"limits": {"cpu": "2"}}},
    ]
    listed = PodMetadata(
        pods(json.dumps({"items": [{"metadata": {"uid": "u"}, "spec": {"containers": spec}}]}).encode())
    )
    known = Known(pods=listed, capacity=Capacity(4.0, 2048.0))
    rows = named(measure(answer, {"metrics": {name: {"enabled": True} for name in METRICS}, "node": "x"}, known))
    shares = {name: row.value for name, row in rows.items() if "utilization" in name}
    assert shares == {
        "k8s.container.cpu_limit_utilization": 0.5,
        "k8s.container.cpu_request_utilization": 0.25,
        "k8s.container.memory_limit_utilization": 0.5,
        "k8s.container.cpu.node.utilization": 0.0625,
        "k8s.container.memory.node.utilization": 0.25,
        "k8s.pod.cpu_limit_utilization": 0.1,
        "k8s.pod.cpu.node.utilization": 0.0625,
        "k8s.pod.memory.node.utilization": 0.25,
    }


def test_a_container_without_id_is_left_out_and_named() -> None:
    answer = {"node": {}, "pods": [{**POD, "containers": [{"name": "a", "memory": {"rssBytes": 1}}]}]}
    listed = PodMetadata(pods(b'{"items": []}'))
    scrape = measure(answer, {"extra_metadata_labels": ["container.id"]}, Known(pods=listed))
    assert scrape.parts == []
    assert scrape.errors == {SCRAPER: "left out: container a of n/p is not in /pods"}


@pytest.mark.parametrize(
    "start", ["yesterday", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "2" * 100_000]
)
def test_numbers_beyond_64_bits_and_bad_dates(start: str) -> None:
    """They wrap as upstream's do, or are no start time; nothing is raised."""
    huge = {"usageBytes": 2**64 - 1, "rssBytes": 2**63, "pageFaults": 10**400, "availableBytes": -(2**63) - 1}
    cpu = {"usageNanoCores": 10**400, "usageCoreNanoSeconds": -1}
    answer = {"node": {"startTime": start, "memory": huge, "cpu": cpu, "network": {"name": "é", "rxBytes": 2**64}}}
    rows = named(measure(answer, {"metrics": {name: {"enabled": True} for name in METRICS}, "node": "x"}))
    assert rows["k8s.node.memory.usage"].value == -1
    assert rows["k8s.node.memory.rss"].value == -(2**63)
    assert rows["k8s.node.network.io"].value == 0
    assert {row.start for row in rows.values()} == {0}
    assert "k8s.node.uptime" not in rows


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"pods":[]}',
        b'{"node":{"cpu":{"usageNanoCores":1.5}}}',
        b'{"node":' + b"[" * 100_000,
        b"\xff",
        b'{"node":{"nodeName":"\\ud800"}}',
    ],
)
def test_an_answer_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="/stats/summary"):
        summary(body)
