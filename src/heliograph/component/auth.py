"""What authentication extensions offer to receivers (server side) and exporters (client side)."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from heliograph.component.batch import Context


class Unauthenticated(Exception):
    """The sender is not who it should be. The message is sent to it: it holds no secret."""


class PermissionDenied(Exception):
    """The sender is known and may not do this."""


@runtime_checkable
class ServerAuth(Protocol):
    """Checks a request before its body is read."""

    async def authenticate(self, headers: Mapping[str, tuple[str, ...]], path: str) -> Mapping[str, str]:
        """Headers have lower-case names. Returns what is known of the sender (`Context.auth`).
        Raises Unauthenticated or PermissionDenied; Retryable when it cannot be said now (the sender is told to keep
        the data), Permanent when the request lacks what is needed to say it."""


@runtime_checkable
class ClientAuth(Protocol):
    """Adds credentials to a request."""

    async def headers(self, context: Context) -> Mapping[str, str]:
        """Headers to add, names in lower case."""
