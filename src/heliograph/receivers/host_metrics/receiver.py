"""The host_metrics receiver: a round of scraping every collection_interval, in a thread of its own.

A round that takes too long (a dead network mount) is given up after `timeout` for the log, and no second one starts
beside it. When the pipeline has no room, the round is offered again until the next one is due; then it is given up, and
counted.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

from heliograph.component.batch import Batch
from heliograph.component.errors import DeliveryError, Retryable
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host, Status
from heliograph.receivers.host_metrics.config import HostMetricsConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.scrape import Scrape, Scraping

_RETRY_SECONDS = 1.0


class HostMetricsReceiver:
    """Produces metrics of this machine."""

    def __init__(self, settings: Settings, config: HostMetricsConfig) -> None:
        self._config = config
        self._telemetry = settings.telemetry
        self._output = settings.outputs[Signal.METRICS]
        self._scraping = Scraping(config.scrapers, HostFiles.find(config.root_path, os.environ))
        self._thread = ThreadPoolExecutor(1, "host_metrics")
        self._task: asyncio.Task[None] | None = None
        self._last_errors: dict[str, str] = {}
        self._running: asyncio.Future[Scrape] | None = None
        names = config.scrapers
        self._scraped = {
            name: self._telemetry.counter(
                "otelcol_scraper_scraped_metric_points", "Number of metric points successfully scraped.", scraper=name
            )
            for name in names
        }
        self._errored = {
            name: self._telemetry.counter(
                "otelcol_scraper_errored_metric_points", "Number of rounds of a scraper that failed.", scraper=name
            )
            for name in names
        }

    async def start(self, host: Host) -> None:
        """Begin scraping after initial_delay."""
        self._host = host
        self._task = host.spawn(self._run(), "scrape")

    async def shutdown(self, deadline: float) -> None:
        """Stop. What was handed on stays with the pipeline."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        clock, interval = self._host.clock, float(self._config.collection_interval)
        await clock.sleep(float(self._config.initial_delay))
        due = clock.monotonic()
        while True:
            due += interval
            scrape = await self._scrape()
            if scrape is not None:
                self._note(scrape)
                if scrape.parts:
                    await self._hand_on(Batch(Signal.METRICS, scrape.parts, sum(scrape.points.values())), due)
            await clock.sleep(max(0.0, due - clock.monotonic()))
            if clock.monotonic() - due > interval:
                due = clock.monotonic()  # the machine slept: no rounds to catch up with

    async def _scrape(self) -> Scrape | None:
        if self._running is None:
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(self._thread, self._scraping.run, self._host.clock.now_ns())
        limit = float(self._config.timeout) or float(self._config.collection_interval)
        done, _ = await asyncio.wait({self._running}, timeout=limit)
        if not done:
            self._host.report(
                Status.RECOVERABLE_ERROR, f"a round of scraping takes longer than {limit:g} s (a dead mount?)"
            )
            return None
        scrape, self._running = self._running.result(), None
        return scrape

    def _note(self, scrape: Scrape) -> None:
        for name, points in scrape.points.items():
            self._scraped[name].add(points)
        for name, error in scrape.errors.items():
            if name in self._errored:
                self._errored[name].add(1)
            if self._last_errors.get(name) != error:
                self._telemetry.log.warning("%s: cannot scrape: %s", name, error)
        self._last_errors = scrape.errors
        failed = [name for name in scrape.errors if name not in scrape.points]
        if failed:
            reasons = "; ".join(f"{name}: {scrape.errors[name]}" for name in failed)
            self._host.report(Status.RECOVERABLE_ERROR, f"cannot scrape: {reasons}")
        else:
            self._host.report(Status.OK)

    async def _hand_on(self, batch: Batch, due: float) -> None:
        clock = self._host.clock
        while True:
            try:
                await self._output.consume(batch)
                return
            except DeliveryError as error:
                wait = (error.after or _RETRY_SECONDS) if isinstance(error, Retryable) else float("inf")
                if clock.monotonic() + wait >= due:
                    self._telemetry.log.error("gave up %d metric points: %s", batch.items, error)
                    return
                await clock.sleep(wait)
