"""What one component uses to speak of itself: its log, the metrics with its labels, and the ledger.

Receivers do not count what they take in, and fan-outs count their copies: the pipeline does both. Exporters do not
count what they send: delivery/ does. Processors and connectors call `dropped`, `created`, `consumed`, `waiting`.
"""

import logging
from collections.abc import Callable

from heliograph.component.ids import ComponentId, Kind, Signal
from heliograph.telemetry.ledger import Ledger
from heliograph.telemetry.metrics import Counter, Metrics


class ComponentTelemetry:
    """Bound to one component."""

    def __init__(
        self, kind: Kind, id: ComponentId, *, metrics: Metrics, ledger: Ledger, logger: logging.Logger
    ) -> None:
        self.kind = kind
        self.id = id
        self.metrics = metrics
        self.ledger = ledger
        self.log = logging.LoggerAdapter(logger, {"otelcol.component.id": str(id), "otelcol.component.kind": str(kind)})

    def dropped(self, signal: Signal, items: int, reason: str) -> None:
        """Items ended here and go nowhere, for `reason` (a short snake_case word)."""
        self.ledger[signal].dropped[reason] += items
        self.counter("heliograph_dropped_items", "Items dropped, by reason.", signal=str(signal), reason=reason).add(
            items
        )

    def created(self, signal: Signal, items: int) -> None:
        """Items were made here from something else."""
        self.ledger[signal].created += items

    def consumed(self, signal: Signal, items: int) -> None:
        """Items ended here because something else was made of them."""
        self.ledger[signal].consumed += items

    def waiting(self, signal: Signal, count: Callable[[], int]) -> None:
        """This component holds items: `count` tells how many."""
        self.ledger[signal].holders.append(count)

    def counter(self, name: str, help: str, **labels: str) -> Counter:
        """A counter with this component's label (`receiver="otlp"`) beside the given ones. Bind it once."""
        return self.metrics.counter(name, help, {str(self.kind): str(self.id), **labels})

    def gauge(self, name: str, help: str, read: Callable[[], float], **labels: str) -> None:
        """A gauge with this component's label beside the given ones."""
        self.metrics.gauge(name, help, {str(self.kind): str(self.id), **labels}, read)
