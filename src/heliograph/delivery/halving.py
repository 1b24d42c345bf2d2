"""Sending a batch in smaller requests when the other side says that it is too large.

Upstream drops such a batch. Here it is cut in two, and its halves again, until they fit; a single item that is still
too large is rejected. What a part of a batch came to is remembered until the whole has its fate: when a later part has
to be tried again, `send` is called with the same batch once more and goes on where it stopped, so that nothing is sent
twice.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from heliograph.component.batch import Batch, Context
from heliograph.component.errors import DeliveryError, Permanent, Retryable
from heliograph.delivery.sender import NOTHING_SENT, SENT, SendResult
from heliograph.otlp.split import split_items


class TooLargeForServer(DeliveryError):
    """The other side does not take a request of this size."""


SendParts = Callable[[Sequence[bytes], int, Context], Awaitable[SendResult]]
"""(parts, items, context) -> result; raises Retryable, Permanent or TooLargeForServer."""


@dataclass(slots=True)
class _Progress:
    """A batch that was cut: what is still to be sent (last one first), what became of the rest."""

    batch: Batch
    pending: list[tuple[Sequence[bytes], int]]
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def cut(self) -> bool:
        return len(self.pending) > 1 or bool(self.rejected) or self.pending[0][1] < self.batch.items


class Halving:
    """Wraps the sending of one request."""

    def __init__(self, send: SendParts, log: "logging.LoggerAdapter[logging.Logger]") -> None:
        self._send = send
        self._log = log
        self._begun: dict[int, _Progress] = {}

    async def send(self, batch: Batch) -> SendResult:
        """Send a batch, in pieces if need be. Raises Retryable and Permanent."""
        progress = self._begun.pop(id(batch), None) if self._begun else None
        if progress is None:
            try:
                return await self._send(batch.parts, batch.items, batch.context)
            except TooLargeForServer as error:
                progress = _Progress(batch, [(batch.parts, batch.items)])
                self._cut(progress, error)
        try:
            await self._send_pieces(progress)
        except BaseException:
            if progress.cut:
                self._begun[id(batch)] = progress
            raise
        return SendResult(rejected=dict(progress.rejected)) if progress.rejected else SENT

    def forget(self, batch: Batch) -> SendResult:
        """What became of a batch that is given up; see delivery.sender.Resuming."""
        progress = self._begun.pop(id(batch), None)
        if progress is None:
            return NOTHING_SENT
        left = sum(items for _, items in progress.pending)
        sent = batch.items - left - progress.rejected.total()
        return SendResult(sent=sent, rejected=dict(progress.rejected))

    async def _send_pieces(self, progress: _Progress) -> None:
        while progress.pending:
            parts, items = progress.pending[-1]
            try:
                result = await self._send(parts, items, progress.batch.context)
            except TooLargeForServer as error:
                self._cut(progress, error)
                continue
            except Retryable:
                raise
            except Permanent as error:
                self._log.error("%d %s of a batch that was cut were rejected: %s", items, progress.batch.signal, error)
                progress.rejected["permanent_error"] += items
            else:
                progress.rejected.update(result.rejected)
            progress.pending.pop()

    def _cut(self, progress: _Progress, error: TooLargeForServer) -> None:
        """Replace the piece that comes next by its halves. Raises Permanent when the batch is a single item."""
        parts, items = progress.pending[-1]
        if items > 1:
            halves = split_items(progress.batch.signal.value, parts, (items + 1) // 2)
            self._log.info("%s: a request of %d items is cut into %d", error, items, len(halves))
            progress.pending[-1:] = reversed(halves)
            return
        if progress.batch.items <= 1:
            raise Permanent(f"{error}; it is a single item, which cannot be cut", code=8)
        self._log.error("%s; it is a single item, which cannot be cut: it is dropped", error)
        progress.rejected["too_large"] += items
        progress.pending.pop()
