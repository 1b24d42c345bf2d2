"""Sending one batch until it has a fate: the time limit of an attempt, the pauses between attempts, the health.

While a destination fails, the component's status is RecoverableError with the cause; the next success makes it OK,
unless a part of the destination still takes nothing: batches wait of which some was refused, or the sender has trouble.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from heliograph.component.batch import Batch
from heliograph.component.errors import DeliveryError, Permanent, Retryable
from heliograph.component.lifecycle import Host, Status
from heliograph.delivery.config import RetryConfig
from heliograph.delivery.retry import Backoff
from heliograph.delivery.sender import Keeping, PartlyTaken, Sender, SendResult

Log = logging.LoggerAdapter[Any] | logging.Logger


class Failed(Exception):
    """There are no more attempts. reason: for the ledger; error: for whoever waits."""

    def __init__(self, reason: str, error: DeliveryError) -> None:
        super().__init__(str(error))
        self.reason = reason
        self.error = error


class Attempts:
    """Wraps a Sender. name: of the exporter, with its endpoint. timeout: seconds for one attempt, 0 for no limit.
    on_pause: called when a batch begins to wait for its next attempt. resting: batches that wait so."""

    def __init__(
        self, name: str, sender: Sender, retry: RetryConfig, timeout: float, log: Log, on_pause: Callable[[], None]
    ) -> None:
        self._name = name
        self._sender = sender
        self._keeping = sender if isinstance(sender, Keeping) else None
        self._retry = retry
        self._timeout = timeout
        self._log = log
        self._on_pause = on_pause
        self._healthy = True
        self._started = False
        self._partly: dict[int, str] = {}
        self._stopped = asyncio.Event()
        self.resting = 0

    def start(self, host: Host) -> None:
        """Remember the host; the component is well until an attempt fails."""
        self._host = host
        self._started = True
        host.report(Status.OK)
        self.show()

    def stop(self) -> None:
        """End all pauses; what was to be tried again has failed for `shutdown`."""
        self._stopped.set()

    def show(self) -> None:
        """Report how the component is now that the destination has taken something."""
        if not self._started:
            return
        trouble = self._keeping.trouble if self._keeping is not None else ""
        if not trouble and self._partly:
            trouble = next(iter(self._partly.values()))
        if trouble:
            self._healthy = False
            self._host.report(Status.RECOVERABLE_ERROR, trouble)
        elif not self._healthy:
            self._healthy = True
            self._host.report(Status.OK)

    async def send(self, batch: Batch) -> SendResult:
        """What the sender says at last. Raises Failed."""
        try:
            result = await self._until_over(batch)
        finally:
            self._partly.pop(id(batch), None)
        self.show()
        return result

    async def _until_over(self, batch: Batch) -> SendResult:
        backoff: Backoff | None = None
        clock = self._host.clock
        begun = clock.monotonic() if self._retry.max_elapsed_time > 0 else 0.0
        while True:
            try:
                return await self._once(batch)
            except Retryable as error:
                if isinstance(error, PartlyTaken):
                    self._partly[id(batch)] = str(error)
                self._failing(error)
                if not self._retry.enabled:
                    raise Failed("send_failed", error) from error
                if backoff is None:
                    backoff = Backoff(self._retry, begun)
                pause = backoff.next(clock.monotonic(), error.after)
                if pause is None:
                    raise Failed("retries_exhausted", error) from error
                if self._stopped.is_set():
                    raise Failed("shutdown", error) from error
                self._log.info("sending failed, next attempt in %.1f s: %s", pause, error)
                if not await self._pause(pause):
                    raise Failed("shutdown", error) from error
            except DeliveryError as error:
                self._failing(error)
                raise Failed("permanent_error", error) from error
            except Exception as error:  # a mistake in a sender must not lose items uncounted
                self._log.exception("sending failed unexpectedly")
                wrapped = Permanent(f"{self._name}: {type(error).__name__}: {error}")
                self._failing(wrapped)
                raise Failed("internal_error", wrapped) from error

    async def _once(self, batch: Batch) -> SendResult:
        if self._timeout <= 0:
            return await self._sender.send(batch)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._sender.send(batch)
        except TimeoutError as error:
            raise Retryable(f"{self._name}: no answer within {self._timeout:g} s") from error

    def _failing(self, error: DeliveryError) -> None:
        self._healthy = False
        self._host.report(Status.RECOVERABLE_ERROR, str(error) or f"{self._name}: {type(error).__name__}")

    async def _pause(self, seconds: float) -> bool:
        """Wait; false when `stop` ended it."""
        self.resting += 1
        self._on_pause()
        waits = [
            asyncio.ensure_future(self._host.clock.sleep(seconds)),
            asyncio.ensure_future(self._stopped.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.resting -= 1
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return not self._stopped.is_set()
