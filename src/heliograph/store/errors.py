"""An error as Elasticsearch would say it."""

from typing import Any


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


def parsing_error(reason: str) -> StoreError:
    """A request that cannot be understood."""
    return StoreError(400, "parsing_exception", reason)
