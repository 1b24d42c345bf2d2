"""Both ends of HTTP's Basic scheme (RFC 7617).

A server remembers the digest of credentials that were right: hashes such as bcrypt are slow on purpose, and a sender
shows the same ones with every request. Checking such a hash for the first time is done in a thread.
"""

import asyncio
import base64
import hashlib
from collections.abc import Mapping

from heliograph.component.auth import Unauthenticated
from heliograph.component.batch import Context
from heliograph.component.errors import StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.extensions.basicauth.config import ClientAuthConfig, HtpasswdConfig
from heliograph.extensions.basicauth.htpasswd import Check, UnusableHash, parse
from heliograph.net.credentials import CredentialFile

_REMEMBERED = 1000


class BasicAuthServer:
    """A ServerAuth. What it finds out: username."""

    def __init__(self, settings: Settings, config: HtpasswdConfig) -> None:
        self._name = f"extension {settings.id}"
        self._log = settings.telemetry.log
        self._config = config
        self._users: dict[str, Check] = {}
        self._right: dict[bytes, str] = {}
        self._one_at_a_time = asyncio.Semaphore(1)

    async def start(self, host: Host) -> None:
        """Read users and passwords. Raises StartError."""
        sources: list[tuple[str, str]] = []
        try:
            if self._config.file:
                file = CredentialFile("htpasswd::file", self._config.file, host.clock, self._log)
                sources.append((file.label, file.text()))
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None
        sources.append(("htpasswd::inline", f"{self._config.inline:s}"))
        for label, text in sources:
            try:
                self._users |= parse(text)
            except UnusableHash as error:
                raise StartError(f"{self._name}: {label}: {error}") from None

    async def shutdown(self, deadline: float) -> None:
        """Nothing to stop."""

    async def authenticate(self, headers: Mapping[str, tuple[str, ...]], path: str) -> Mapping[str, str]:
        """Accept a request that shows a user and the right password."""
        given = headers.get("authorization", ("",))[0]
        if not given:
            raise Unauthenticated("no basic auth provided")
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        user = self._right.get(digest)
        if user is None:
            user, password = _credentials(given)
            check = self._users.get(user)
            async with self._one_at_a_time:
                if check is None or not await asyncio.to_thread(check, password):
                    raise Unauthenticated("invalid credentials")
            if len(self._right) >= _REMEMBERED:
                self._right.clear()
            self._right[digest] = user
        return {"username": user}


class BasicAuthClient:
    """A ClientAuth."""

    def __init__(self, settings: Settings, config: ClientAuthConfig) -> None:
        self._name = f"extension {settings.id}"
        self._log = settings.telemetry.log
        self._config = config
        self._user_file: CredentialFile | None = None
        self._password_file: CredentialFile | None = None

    async def start(self, host: Host) -> None:
        """Read the files. Raises StartError."""
        config = self._config
        try:
            if config.username_file:
                self._user_file = CredentialFile(
                    "client_auth::username_file", config.username_file, host.clock, self._log
                )
            if config.password_file:
                self._password_file = CredentialFile(
                    "client_auth::password_file", config.password_file, host.clock, self._log
                )
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None
        if self._user_file is not None and ":" in self._user_file.text().strip():
            raise StartError(f"{self._name}: the user in {self._user_file.label} must not contain a colon")

    async def shutdown(self, deadline: float) -> None:
        """Nothing to stop."""

    async def headers(self, context: Context) -> Mapping[str, str]:
        """The authorization header."""
        user = self._config.username if self._user_file is None else self._user_file.text().strip()
        secret = f"{self._config.password:s}" if self._password_file is None else self._password_file.text().strip()
        return {"authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}


def _credentials(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Unauthenticated("invalid authorization scheme prefix")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except ValueError:  # no base64, or no UTF-8 in it
        raise Unauthenticated("invalid authorization format") from None
    user, colon, password = text.partition(":")
    if not colon:
        raise Unauthenticated("invalid authorization format")
    return user, password
