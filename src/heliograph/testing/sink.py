"""A consumer that remembers what it got, and finishes, holds or refuses it as a test wants."""

from collections.abc import Callable, Sequence
from typing import Any

from heliograph.component.batch import DELIVERED, Batch, Outcome
from heliograph.component.errors import DeliveryError
from heliograph.testing.wait import until


class SinkConsumer:
    """A Consumer.

    outcome: with what each batch is finished at once. hold: keep them unfinished until `release`.
    refuse: raised instead of taking a batch, once for each error of a sequence, for ever for a single one.
    All three may be changed while a test runs. `batches` has what was taken, `held` what is unfinished, `refused`
    counts batches that were not taken.
    """

    def __init__(
        self,
        *,
        outcome: Outcome = DELIVERED,
        hold: bool = False,
        refuse: DeliveryError | Sequence[DeliveryError] | Callable[[Batch], DeliveryError | None] | None = None,
    ) -> None:
        self.outcome = outcome
        self.hold = hold
        self.refuse = refuse
        self.batches: list[Batch] = []
        self.held: list[Batch] = []
        self.refused = 0

    @property
    def items(self) -> int:
        """Items taken so far."""
        return sum(batch.items for batch in self.batches)

    @property
    def parts(self) -> list[bytes]:
        """Serialized Resource* messages taken so far."""
        return [part for batch in self.batches for part in batch.parts]

    @property
    def messages(self) -> list[Any]:
        """ResourceSpans, ResourceMetrics or ResourceLogs taken so far."""
        return [message for batch in self.batches for message in batch.messages()]

    async def consume(self, batch: Batch) -> None:
        """Take or refuse a batch."""
        error = self._error(batch)
        if error is not None:
            self.refused += 1
            raise error
        self.batches.append(batch)
        if self.hold:
            self.held.append(batch)
        else:
            batch.finish(self.outcome)

    def release(self, outcome: Outcome = DELIVERED, count: int | None = None) -> None:
        """Finish the oldest `count` held batches, or all."""
        count = len(self.held) if count is None else count
        ready, self.held = self.held[:count], self.held[count:]
        for batch in ready:
            batch.finish(outcome)

    async def wait_for(self, items: int, timeout: float = 10.0) -> None:
        """Return when at least this many items were taken."""
        await until(lambda: self.items >= items, f"{items} items in the sink", timeout)

    def _error(self, batch: Batch) -> DeliveryError | None:
        refuse = self.refuse
        if refuse is None or isinstance(refuse, DeliveryError):
            return refuse
        if callable(refuse):
            return refuse(batch)
        if not refuse:
            return None
        self.refuse = refuse[1:]
        return refuse[0]
