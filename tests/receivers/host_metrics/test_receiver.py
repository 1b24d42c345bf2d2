"""The receiver scrapes again and again, and keeps a round that the pipeline refuses."""

import asyncio

from heliograph.component.errors import Overloaded
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.receivers.host_metrics import FACTORY
from heliograph.receivers.host_metrics.config import HostMetricsConfig
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until


async def test_rounds_and_refusals() -> None:
    sink = SinkConsumer(refuse=[Overloaded("full", after=0.01)])
    config = from_plain(
        HostMetricsConfig,
        {"collection_interval": "100ms", "initial_delay": "0s", "scrapers": {"cpu": None, "load": None}},
    )
    made = settings("receiver", "host_metrics", outputs={Signal.METRICS: sink})
    receiver = FACTORY.create(made, config)
    async with TestHost() as host:
        await receiver.start(host)
        await until(lambda: len(sink.batches) >= 3, "three rounds")
        deadline = asyncio.get_running_loop().time() + 1
        await receiver.shutdown(deadline)
        await receiver.shutdown(deadline)
        assert host.status is Status.OK
    assert sink.refused == 1
    labels = {"receiver": "host_metrics", "scraper": "load"}
    assert made.telemetry.metrics.value("otelcol_scraper_scraped_metric_points", labels) >= 9


async def test_what_cannot_be_read_shows_in_health(tmp_path: object) -> None:
    config = from_plain(
        HostMetricsConfig, {"initial_delay": "0s", "root_path": str(tmp_path), "scrapers": {"load": None}}
    )
    receiver = FACTORY.create(settings("receiver", "host_metrics", outputs={Signal.METRICS: SinkConsumer()}), config)
    async with TestHost() as host:
        await receiver.start(host)
        await until(lambda: host.status is Status.RECOVERABLE_ERROR, "the status")
        assert "loadavg" in host.reports[-1][1]
        await receiver.shutdown(0)
