"""The ledger: every item that enters, leaves, waits or ends, counted where it happens.

    received + restored + copied + created = sent + waiting + dropped{reason} + dead_lettered + consumed

for each signal of a process. `waiting` is read from those who hold items (queues, batches, components that delay),
not derived, so that an item that vanished shows as a difference.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from heliograph.component.ids import Signal


@dataclass(slots=True)
class Account:
    """The items of one signal.

    received: taken in by receivers. restored: found in persistent queues at start. copied: extra copies made by
    fan-outs. created: made by connectors and processors. sent: delivered by exporters. dropped: by reason.
    dead_lettered: rejected by a backend and kept. consumed: ended in a connector that makes something else of them.
    refused: not taken in, the sender was told so; outside the sum.
    """

    received: int = 0
    restored: int = 0
    copied: int = 0
    created: int = 0
    sent: int = 0
    dead_lettered: int = 0
    consumed: int = 0
    refused: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    holders: list[Callable[[], int]] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        """Items held now."""
        return sum(holder() for holder in self.holders)

    @property
    def difference(self) -> int:
        """What came in less what is accounted for; 0 when the ledger closes."""
        came = self.received + self.restored + self.copied + self.created
        ended = self.sent + self.dropped.total() + self.dead_lettered + self.consumed
        return came - ended - self.waiting


class Ledger:
    """One account for each signal."""

    def __init__(self) -> None:
        self.accounts: dict[Signal, Account] = {signal: Account() for signal in Signal}

    def __getitem__(self, signal: Signal) -> Account:
        return self.accounts[signal]

    def closes(self) -> bool:
        """True when no account has a difference."""
        return all(account.difference == 0 for account in self.accounts.values())
