"""Where data enters a pipeline and where it passes a processor: the counting that components need not do.

Names and labels are upstream's: otelcol_receiver_{accepted,refused,failed}_* with `receiver` and `transport` (empty
when there is none), otelcol_processor_{incoming,outgoing}_items with `processor` and `otel_signal`.
"""

import logging
from collections.abc import Coroutine
from typing import Any

from heliograph.component.batch import Batch
from heliograph.component.errors import DeliveryError
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Consumer
from heliograph.pipeline.guard import Crashed, offer
from heliograph.telemetry.component import ComponentTelemetry
from heliograph.telemetry.metrics import Counter

_HELP = {
    "accepted": "Number of {} successfully pushed into the pipeline.",
    "refused": "Number of {} that could not be pushed into the pipeline.",
    "failed": "Number of {} that failed to be processed by the receiver due to internal errors.",
}


class Entry:
    """What a receiver feeds for one signal: counts accepted, refused and failed items, and the ledger's received."""

    def __init__(
        self, signal: Signal, next_: Consumer, telemetry: ComponentTelemetry, log: logging.Logger | None = None
    ) -> None:
        self._signal = signal
        self._next = next_
        self._telemetry = telemetry
        self._account = telemetry.ledger[signal]
        self._log = log or telemetry.log
        self._counters: dict[str, tuple[Counter, Counter, Counter]] = {}

    async def consume(self, batch: Batch) -> None:
        """Hand a batch in. Raises DeliveryError."""
        transport = batch.context.transport
        accepted, refused, failed = self._counters.get(transport) or self._bind(transport)
        items = batch.items
        try:
            await offer(self._next, batch, self._log)
        except Crashed:
            failed.add(items)
            self._account.refused += items
            raise
        except DeliveryError:
            refused.add(items)
            self._account.refused += items
            raise
        accepted.add(items)
        self._account.received += items

    def _bind(self, transport: str) -> tuple[Counter, Counter, Counter]:
        unit = self._signal.items
        accepted, refused, failed = (
            self._telemetry.counter(
                f"otelcol_receiver_{what}_{unit}", text.format(unit.replace("_", " ")), transport=transport
            )
            for what, text in _HELP.items()
        )
        self._counters[transport] = accepted, refused, failed
        return accepted, refused, failed


class Passage:
    """Counts the items that pass on their way to `next_`."""

    def __init__(self, next_: Consumer, counter: Counter) -> None:
        self._consume = next_.consume
        self._counter = counter

    def consume(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """Hand the batch on; a plain function, so that no coroutine is made for the counting."""
        self._counter.value += batch.items
        return self._consume(batch)


def incoming(next_: Consumer, telemetry: ComponentTelemetry, signal: Signal) -> Passage:
    """In front of a processor."""
    help = "Number of items passed to the processor."
    return Passage(next_, telemetry.counter("otelcol_processor_incoming_items", help, otel_signal=str(signal)))


def outgoing(next_: Consumer, telemetry: ComponentTelemetry, signal: Signal) -> Passage:
    """Behind a processor."""
    help = "Number of items emitted from the processor."
    return Passage(next_, telemetry.counter("otelcol_processor_outgoing_items", help, otel_signal=str(signal)))
