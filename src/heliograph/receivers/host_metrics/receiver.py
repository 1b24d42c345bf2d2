"""The host_metrics receiver: a round of scraping every collection_interval, in a thread of its own.

A round may hang on a dead network mount; see component/scrape.py for what happens then.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from heliograph.component.clock import Clock
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.component.scrape import Scrape, ScrapeLoop
from heliograph.receivers.host_metrics.config import HostMetricsConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.scrape import Scraping


class HostMetricsReceiver:
    """Produces metrics of this machine."""

    def __init__(self, settings: Settings, config: HostMetricsConfig) -> None:
        self._scraping = Scraping(config.scrapers, HostFiles.find(config.root_path, os.environ))
        self._thread = ThreadPoolExecutor(1, "host_metrics")
        self._clock: Clock | None = None
        self._loop = ScrapeLoop(
            settings,
            self._begin,
            config.scrapers,
            interval=float(config.collection_interval),
            initial_delay=float(config.initial_delay),
            timeout=float(config.timeout),
            hint=" (a dead mount?)",
        )

    async def start(self, host: Host) -> None:
        """Begin scraping after initial_delay."""
        self._clock = host.clock
        self._loop.start(host)

    async def shutdown(self, deadline: float) -> None:
        """Stop. What was handed on stays with the pipeline."""
        self._loop.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> "asyncio.Future[Scrape]":
        assert self._clock is not None
        return asyncio.get_running_loop().run_in_executor(self._thread, self._scraping.run, self._clock.now_ns())
