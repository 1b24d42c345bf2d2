"""The same answers of a kubelet through us and through the upstream Collector."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.receivers.kubelet_stats.config import KubeletAttributes, KubeletStatsConfig
from heliograph.receivers.kubelet_stats.metrics import METRICS
from heliograph.receivers.kubelet_stats.receiver import KubeletStatsReceiver
from heliograph.testing import metric_rows
from heliograph.testing.host import TestHost
from heliograph.testing.kubelet import KubeletServer
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

DATA = Path(__file__).parent / "data"
RECORDINGS = sorted(path.name.removesuffix("_summary.json") for path in DATA.glob("*_summary.json"))
NO_START = 2**63  # upstream's start time where none is known lies beyond this
FULL: dict[str, Any] = {
    "metrics": {name: {"enabled": ".node.utilization" not in name} for name in METRICS},
    "resource_attributes": {name: {"enabled": True} for name in KubeletAttributes.DEFAULTS},
    "metric_groups": ["node", "pod", "container", "volume"],
    "extra_metadata_labels": ["container.id", "k8s.volume.type"],
    "collect_all_network_interfaces": {"node": True, "pod": True},
}


@pytest.mark.peer
@pytest.mark.parametrize("recording", RECORDINGS)
@pytest.mark.parametrize("more", [{}, FULL], ids=["defaults", "everything"])
async def test_the_same_metrics(
    recording: str, more: dict[str, Any], upstream_collector: Callable[[str], Any], tmp_path: Path
) -> None:
    """Same resources, metrics, attributes, values, units, kinds, scopes and start times."""
    summary, pods = ((DATA / f"{recording}_{name}.json").read_bytes() for name in ("summary", "pods"))
    output = tmp_path / "metrics.json"
    sink = SinkConsumer()
    async with KubeletServer(summary, pods) as kubelet, TestHost() as host:
        config = {"auth_type": "none", "endpoint": kubelet.url, "initial_delay": "0s", **more}
        made = settings("receiver", "kubelet_stats", outputs={Signal.METRICS: sink})
        receiver = KubeletStatsReceiver(made, from_plain(KubeletStatsConfig, config))
        pipeline = {"receivers": ["kubelet_stats"], "exporters": ["file"]}
        collector = await asyncio.to_thread(
            upstream_collector,
            json.dumps(
                {
                    "receivers": {"kubelet_stats": config},
                    "exporters": {"file": {"path": str(output)}},
                    "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": {"metrics": pipeline}},
                }
            ),
        )
        await receiver.start(host)
        await until(lambda: output.exists() and "\n" in output.read_text(), "metrics of the upstream Collector")
        await until(lambda: sink.batches, "our metrics")
        await receiver.shutdown(0)
        await collector.stopped()
    rows, expected = metric_rows.ours(sink.parts), metric_rows.upstream(output)
    assert rows.keys() == expected.keys()
    assert len(rows) > 20
    for key, row in rows.items():
        other = expected[key]
        assert row.shape() == other.shape(), key
        if key[0].endswith(".uptime"):
            assert row.value == pytest.approx(other.value, abs=30), key
        else:
            assert row.value == other.value, key
        if key[0].startswith(("k8s.volume.", "k8s.pod.volume.")):
            assert row.start == pytest.approx(other.start, abs=60 * 10**9), key  # when the receiver began
        else:
            assert row.start == (0 if other.start > NO_START else other.start), key
