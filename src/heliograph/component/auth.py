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


@runtime_checkable
class HeaderEditor(ClientAuth, Protocol):
    """A ClientAuth that sees the headers which a request has already. needs_tls: whether what it sets is a secret; that
    of every other ClientAuth is."""

    @property
    def needs_tls(self) -> bool:
        """Whether its headers must not go over plain text."""

    async def edit(self, headers: Mapping[str, str], context: Context) -> dict[str, str]:
        """All headers of the request instead of these; names in lower case in both. Raises Permanent."""


async def with_credentials(auth: ClientAuth | None, headers: Mapping[str, str], context: Context) -> dict[str, str]:
    """Headers of a request, names in lower case, with what an authenticator makes of them."""
    lower = {name.lower(): value for name, value in headers.items()}
    if auth is None:
        return lower
    if isinstance(auth, HeaderEditor):
        return await auth.edit(lower, context)
    return {**lower, **{name.lower(): value for name, value in (await auth.headers(context)).items()}}


def secret(auth: ClientAuth) -> bool:
    """Whether what an authenticator sets must not go over plain text."""
    return auth.needs_tls if isinstance(auth, HeaderEditor) else True
