"""Receivers that ask for something every collection_interval: rounds, refusals, health and counters in one place.

A round is whatever the receiver gives: a future of a thread, or a task. One that takes too long is reported, and no
second one starts beside it; what it brings in the end is still handed on. When the pipeline has no room, the round's
data is offered again until the next round is due; then it is given up, and logged.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from heliograph.component.batch import Batch
from heliograph.component.errors import DeliveryError, Retryable
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host, Status

_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class Scrape:
    """The result of one round. parts: serialized ResourceMetrics. points: data points by scraper. errors: scraper ->
    what could not be read and why; a scraper with points beside its error failed in parts only."""

    parts: list[bytes] = field(default_factory=list)
    points: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


class ScrapeLoop:
    """The rounds of one receiver.

    begin: starts a round; called in the event loop. scrapers: the names counters are kept for. interval, initial_delay,
    timeout: seconds; timeout 0 means the interval. hint: what may be the reason when a round takes too long.
    """

    def __init__(
        self,
        settings: Settings,
        begin: Callable[[], "asyncio.Future[Scrape]"],
        scrapers: Iterable[str],
        *,
        interval: float,
        initial_delay: float,
        timeout: float = 0.0,
        hint: str = "",
    ) -> None:
        self._telemetry = settings.telemetry
        self._output = settings.outputs[Signal.METRICS]
        self._begin = begin
        self._interval, self._initial_delay, self._limit = interval, initial_delay, timeout or interval
        self._hint = hint
        self._task: asyncio.Task[None] | None = None
        self._running: asyncio.Future[Scrape] | None = None
        self._last_errors: dict[str, str] = {}
        names = tuple(scrapers)
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

    def start(self, host: Host) -> None:
        """Begin with rounds after initial_delay."""
        self._host = host
        self._task = host.spawn(self._run(), "scrape")

    def stop(self) -> None:
        """No more rounds; one that runs is cancelled. What was handed on stays with the pipeline."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    async def _run(self) -> None:
        clock, interval = self._host.clock, self._interval
        await clock.sleep(self._initial_delay)
        due = clock.monotonic()
        while True:
            due += interval
            scrape = await self._round()
            if scrape is not None:
                self._note(scrape)
                if scrape.parts:
                    await self._hand_on(Batch(Signal.METRICS, scrape.parts, sum(scrape.points.values())), due)
            await clock.sleep(max(0.0, due - clock.monotonic()))
            if clock.monotonic() - due > interval:
                due = clock.monotonic()  # the machine slept: no rounds to catch up with

    async def _round(self) -> Scrape | None:
        if self._running is None:
            self._running = self._begin()
        done, _ = await asyncio.wait({self._running}, timeout=self._limit)
        if not done:
            self._host.report(
                Status.RECOVERABLE_ERROR, f"a round of scraping takes longer than {self._limit:g} s{self._hint}"
            )
            return None
        running, self._running = self._running, None
        return running.result()

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
