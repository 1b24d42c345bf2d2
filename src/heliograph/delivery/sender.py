"""What an exporter gives to `Delivery`: how one batch is sent, and nothing else.

Queueing, batching, waiting, trying again, counting and acknowledging are done by delivery/. A sender says by its
result or its error what became of the batch, and never touches the batch's completion.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from heliograph.component.batch import Batch
from heliograph.component.errors import Retryable
from heliograph.component.lifecycle import Host


@dataclass(frozen=True, slots=True)
class SendResult:
    """What the other side did with a batch that it took.

    sent: items that arrived; None means all that are not rejected or dead-lettered. rejected: reason (a short
    snake_case word) -> items that it will never take. dead_lettered: items it rejected that were kept in a file.
    set_aside: items that a Keeping sender has on disk and goes on with by itself.
    """

    sent: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    dead_lettered: int = 0
    set_aside: int = 0

    @property
    def over(self) -> int:
        """Items that it names."""
        return (self.sent or 0) + sum(self.rejected.values()) + self.dead_lettered + self.set_aside


SENT = SendResult()
"""Everything arrived."""
NOTHING_SENT = SendResult(sent=0)


class PartlyTaken(Retryable):
    """The other side works and took what it was sent, but for some of the batch: that another batch was taken meanwhile
    does not mean that all is well."""


class Sender(Protocol):
    """One destination."""

    async def open(self, host: Host) -> None:
        """Get ready; called once before the first `send`. Raises StartError."""

    async def send(self, batch: Batch) -> SendResult:
        """Send one batch. It may be called several times at once, and is cancelled when the time limit is over.
        Every attempt of a batch gets the same object, so a sender may keep what is left of it between attempts; then it
        is Resuming.

        Raises Retryable (or Overloaded) when it may work later, `after` holding what the other side asked for,
        and Permanent when it never will. The message names the endpoint and the cause.
        """

    async def close(self) -> None:
        """Release everything; also after a failed `open`, and twice."""


@runtime_checkable
class Resuming(Protocol):
    """A sender that goes on where the last attempt of a batch stopped."""

    def forget(self, batch: Batch) -> SendResult:
        """There will be no further attempt. Says what became of the items that are over, `sent` always given; those
        that it does not name were not sent. Called once for each batch whose `send` did not return."""


class Keeper(Protocol):
    """What a Keeping sender tells delivery of the items that it has set aside."""

    def restored(self, items: int) -> None:
        """They were found on disk, set aside by a former process."""

    def ended(self, items: int, result: SendResult) -> None:
        """So many of them have their fate."""

    def changed(self) -> None:
        """`trouble` has changed."""


@runtime_checkable
class Keeping(Protocol):
    """A sender that sets items aside, on disk, while a part of the destination takes nothing, and sends them later by
    itself. They are not part of the queue any more, and count as waiting."""

    @property
    def trouble(self) -> str:
        """What is wrong although batches are delivered; "" when nothing is."""

    def keep_for(self, keeper: Keeper) -> None:
        """Whom to tell. Called once, before `open`."""
