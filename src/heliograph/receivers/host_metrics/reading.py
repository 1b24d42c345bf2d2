"""What of a scraper can be read although something else of it cannot: a kernel without swap still has page faults.

Numbers that no kernel should give (nothing, words, more than fits) are errors like files that are missing: they are
told, and never end the receiver.
"""

from collections.abc import Iterator
from contextlib import contextmanager

UNREADABLE = (OSError, ValueError, LookupError, ArithmeticError)


class Reading:
    """One round of one scraper. errors: what could not be read -> why."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """A part that may fail alone."""
        try:
            yield
        except UNREADABLE as error:
            self.errors[what] = told(error)


def told(error: Exception) -> str:
    """An error in words; some of Python's are only a key or an index."""
    return str(error) if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {error}"
