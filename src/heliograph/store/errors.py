"""An error as Elasticsearch would say it."""

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
MISREAD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, StopIteration)
"""What reading a request or a document raises that has a value of a wrong type or size anywhere in it."""


class StoreError(Exception):
    """type and reason are Elasticsearch's; status is HTTP's."""

    def __init__(self, status: int, type: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.type = type
        self.reason = reason

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        cause = {"type": self.type, "reason": self.reason}
        return {"error": {"root_cause": [cause], **cause}, "status": self.status}


def understood(work: Callable[[], T]) -> T:
    """What `work` makes of a request. Raises StoreError (400) also for a wrong type or size anywhere in it."""
    try:
        return work()
    except MISREAD as error:
        raise parsing_error(f"the request cannot be understood: {type(error).__name__}: {error}") from error


def parsing_error(reason: str) -> StoreError:
    """A request that cannot be understood."""
    return StoreError(400, "parsing_exception", reason)
