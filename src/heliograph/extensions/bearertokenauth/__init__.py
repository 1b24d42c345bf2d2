"""The bearertokenauth extension: a token in a header, added to what exporters send, expected from what receivers get.

Keys and rules are upstream's (extension/bearertokenauthextension): a file wins over `tokens`, which win over `token`; a
server accepts any of them, a client sends the first. A file is read again when it changes.
"""

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from heliograph.component.auth import Unauthenticated
from heliograph.component.batch import Context
from heliograph.component.config import Secret, key
from heliograph.component.errors import StartError
from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import Kind
from heliograph.component.lifecycle import Host
from heliograph.net.credentials import CredentialFile


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerTokenAuthConfig:
    """Authenticates by a token in a header."""

    header: str = key("Authorization", "Header that holds the token.")
    scheme: str = key("Bearer", "Word in front of the token; empty: the token alone, for example an API key.")
    token: Secret = key(Secret(""), "The token.")
    tokens: list[Secret] = key(list, "Several tokens: a server accepts each, a client sends the first.")
    filename: str = key("", "File with one token a line, read again when it changes; it wins over the others.")

    def check(self) -> Iterator[tuple[str, str]]:
        """There is a token and a header."""
        if not self.token and not self.tokens and not self.filename:
            yield "token", "no bearer token provided: give token, tokens or filename"
        if self.token and self.tokens:
            yield "tokens", "give either token or tokens, not both"
        if not self.header:
            yield "header", "must not be empty"


class BearerTokenAuth:
    """ServerAuth and ClientAuth."""

    def __init__(self, settings: Settings, config: BearerTokenAuthConfig) -> None:
        self._name = f"extension {settings.id}"
        self._log = settings.telemetry.log
        self._header = config.header.lower()
        self._scheme = config.scheme
        self._filename = config.filename
        self._file: CredentialFile | None = None
        self._version = -1
        self._values = self._worded([str(token) for token in config.tokens or [config.token]])

    async def start(self, host: Host) -> None:
        """Read the file. Raises StartError."""
        if self._filename:
            try:
                self._file = CredentialFile("filename", self._filename, host.clock, self._log)
            except StartError as error:
                raise StartError(f"{self._name}: {error}") from None
            if not self._current():
                raise StartError(f"{self._name}: filename {self._filename} holds no token")

    async def shutdown(self, deadline: float) -> None:
        """Nothing to stop."""

    async def authenticate(self, headers: Mapping[str, tuple[str, ...]], path: str) -> Mapping[str, str]:
        """Accept a request whose header holds one of the tokens."""
        given = headers.get(self._header, ())
        if not given:
            raise Unauthenticated(f"missing or empty authorization header: {self._header}")
        value = given[0].encode("utf-8", "surrogateescape")
        if not any(hmac.compare_digest(value, expected) for expected in self._current()):
            raise Unauthenticated("scheme or token does not match")
        return {}

    async def headers(self, context: Context) -> Mapping[str, str]:
        """The header with the first token."""
        return {self._header: self._current()[0].decode()}

    def _current(self) -> list[bytes]:
        if self._file is not None:
            text = self._file.text()
            if self._file.version != self._version:
                self._version = self._file.version
                values = self._worded([line.strip() for line in text.splitlines()])
                if values:
                    self._values = values
                else:
                    self._log.error("%s holds no token", self._file.label)
                    return self._values if self._version else []
        return self._values

    def _worded(self, tokens: list[str]) -> list[bytes]:
        return [(f"{self._scheme} {token}" if self._scheme else token).encode() for token in tokens if token]


FACTORY = Factory(
    kind=Kind.EXTENSION,
    type="bearertokenauth",
    config=BearerTokenAuthConfig,
    create=BearerTokenAuth,
    signals=frozenset(),
)
