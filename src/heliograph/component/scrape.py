"""Receivers that ask for something every collection_interval: rounds, refusals, health and counters in one place.

A round is whatever the receiver gives: a future of a thread, or a task. One that takes too long is reported, and no
second one starts beside it; what it brings in the end is still handed on. When the pipeline has no room, the round's
data is offered again until the next round is due; then it is given up, and logged. A round with tens of thousands of
resources is handed on in slices that are made one by one, so that the whole of it never exists at once.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from heliograph.component.batch import Batch
from heliograph.component.errors import DeliveryError, Retryable
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host, Status

_RETRY_SECONDS = 1.0
_SLICE_SECONDS = 0.01


@dataclass(slots=True)
class Scrape:
    """The result of one round. parts: serialized ResourceMetrics. points: data points by scraper. errors: scraper ->
    what could not be read and why; a scraper with points beside its error failed in parts only. slices: instead of
    parts, some serialized ResourceMetrics and the number of points in them at a time; `points` counts them all."""

    parts: list[bytes] = field(default_factory=list)
    points: dict[str, int] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    slices: Iterator[tuple[list[bytes], int]] | None = None


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
                await self._hand_on(scrape, due)
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

    async def _hand_on(self, scrape: Scrape, due: float) -> None:
        left = sum(scrape.points.values())
        for parts, points in scrape.slices or ((scrape.parts, left),):
            if not parts:
                continue
            refusal = await self._taken(Batch(Signal.METRICS, parts, points), due)
            if refusal is not None:
                self._telemetry.log.error("gave up %d metric points: %s", left, refusal)
                return
            left -= points
            if scrape.slices is not None:
                await asyncio.sleep(_SLICE_SECONDS)  # so that one is sent while the next one is made

    async def _taken(self, batch: Batch, due: float) -> DeliveryError | None:
        """None when the pipeline has taken it, else why not."""
        clock = self._host.clock
        while True:
            try:
                await self._output.consume(batch)
                return None
            except DeliveryError as error:
                wait = (error.after or _RETRY_SECONDS) if isinstance(error, Retryable) else float("inf")
                if clock.monotonic() + wait >= due:
                    return error
                await clock.sleep(wait)
