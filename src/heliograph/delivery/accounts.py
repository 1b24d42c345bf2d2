"""What an exporter counts, under upstream's metric names, and in the ledger."""

from heliograph.component.batch import DELIVERED, STORED, Fate, Outcome
from heliograph.component.ids import Signal
from heliograph.delivery.queue import SendQueue
from heliograph.delivery.sender import SendResult
from heliograph.telemetry.component import ComponentTelemetry

REJECTED = Outcome(Fate.DROPPED, "rejected")
DEAD_LETTERED = Outcome(Fate.DEAD_LETTERED, "rejected")


class Accounts:
    """The counts of one exporter and signal. waiting: accepted items without a fate; awaited: those of them whose
    caller waits for the fate and counts them as received only then; in_flight: batches being sent, pauses between
    attempts included. queue: None when there is none."""

    def __init__(self, telemetry: ComponentTelemetry, signal: Signal, queue: SendQueue | None) -> None:
        self._telemetry = telemetry
        self._signal = signal
        self._account = telemetry.ledger[signal]
        self.waiting = 0
        self.awaited = 0
        self.in_flight = 0
        items, type_ = signal.items, str(signal)
        words = items.replace("_", " ")
        self._sent = telemetry.counter(f"otelcol_exporter_sent_{items}", f"Number of {words} sent to the destination.")
        self._failed = telemetry.counter(
            f"otelcol_exporter_send_failed_{items}", f"Number of {words} that could not be sent to the destination."
        )
        telemetry.gauge(
            "otelcol_exporter_in_flight_requests",
            "Number of batches being sent, pauses between attempts included.",
            lambda: self.in_flight,
            data_type=type_,
        )
        telemetry.waiting(signal, lambda: max(0, self.waiting - self.awaited))
        if queue is None:
            return
        self._refused = telemetry.counter(
            f"otelcol_exporter_enqueue_failed_{items}", f"Number of {words} that the sending queue did not take."
        )
        telemetry.gauge(
            "otelcol_exporter_queue_size", "What is in the sending queue, in its unit.", lambda: queue.used,
            data_type=type_,
        )  # fmt: skip
        telemetry.gauge(
            "otelcol_exporter_queue_capacity", "What fits into the sending queue, in its unit.", lambda: queue.capacity,
            data_type=type_,
        )  # fmt: skip

    def refused(self, items: int) -> None:
        """The queue did not take them; the caller was told."""
        self._refused.add(items)

    def restore(self, items: int) -> None:
        """They were found in the queue on disk."""
        self._account.restored += items
        self.waiting += items

    def orphaned(self, items: int) -> None:
        """They were taken and end here, but their sender was cancelled before it was told, so no receiver counts them:
        a copy, as that sender will send them again."""
        self._account.copied += items

    def damaged(self, items: int) -> None:
        """They were in the queue on disk and cannot be read; they never became part of this process's ledger."""
        self._telemetry.counter(
            "heliograph_exporter_queue_damaged_items",
            "Items lost in damaged requests of the queue on disk.",
            data_type=str(self._signal),
        ).add(items)

    def dropped(self, items: int, reason: str) -> None:
        """They ended here."""
        self._telemetry.dropped(self._signal, items, reason)

    def failed(self, items: int) -> None:
        """They could not be sent, and will not be tried again here."""
        self._failed.add(items)

    def ended(self, items: int, result: SendResult) -> None:
        """Items that were set aside have their fate."""
        self.waiting -= items
        self.settle(items, result)

    def settle(self, items: int, result: SendResult) -> Outcome:
        """Count what became of a batch of `items` that the other side took; returns the worst of it."""
        if result.sent is None and not result.rejected and not result.dead_lettered and not result.set_aside:
            self._account.sent += items
            self._sent.add(items)
            return DELIVERED
        rejected = sum(result.rejected.values())
        rest = max(0, items - rejected - result.dead_lettered - result.set_aside)
        sent = rest if result.sent is None else min(result.sent, rest)
        self._account.sent += sent
        self._sent.add(sent)
        self._failed.add(items - sent - result.set_aside)
        self.waiting += result.set_aside
        for reason, count in result.rejected.items():
            self.dropped(count, reason)
        if result.dead_lettered:
            self._account.dead_lettered += result.dead_lettered
            self._telemetry.counter(
                "heliograph_exporter_dead_lettered_items",
                "Items rejected and kept in a dead-letter file.",
                data_type=str(self._signal),
            ).add(result.dead_lettered)
        if sent < rest:
            self.dropped(rest - sent, "unconfirmed")
        if rejected or sent < rest:
            return REJECTED
        if result.dead_lettered:
            return DEAD_LETTERED
        return STORED if result.set_aside else DELIVERED
