"""What a sender has set aside, in the accounts and in the health of its exporter. sender.py has the contract."""

from heliograph.delivery.accounts import Accounts
from heliograph.delivery.attempts import Attempts
from heliograph.delivery.sender import SendResult


class KeptItems:
    """A Keeper."""

    def __init__(self, accounts: Accounts, attempts: Attempts) -> None:
        self._accounts = accounts
        self._attempts = attempts

    def restored(self, items: int) -> None:
        """They were found on disk."""
        self._accounts.restore(items)

    def ended(self, items: int, result: SendResult) -> None:
        """So many have their fate."""
        self._accounts.ended(items, result)

    def changed(self) -> None:
        """Say how the exporter is."""
        self._attempts.show()
