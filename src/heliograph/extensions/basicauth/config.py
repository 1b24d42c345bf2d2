"""Keys of the basicauth extension, upstream's (extension/basicauthextension)."""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import Secret, key


@dataclass(frozen=True, slots=True, kw_only=True)
class HtpasswdConfig:
    """Who may send: lines `user:password` or `user:hash`, as Apache's htpasswd writes them."""

    file: str = key("", "File with such lines.")
    inline: Secret = key(Secret(""), "Such lines themselves; they win over those of the file.")

    def check(self) -> Iterator[tuple[str, str]]:
        """One of the two."""
        if not self.file and not self.inline:
            yield "file", "no credential source provided: give file or inline"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuthConfig:
    """What to send."""

    username: str = key("", "User.")
    username_file: str = key("", "File with the user, read again when it changes; it wins over username.")
    password: Secret = key(Secret(""), "Password.")
    password_file: str = key("", "File with the password, read again when it changes; it wins over password.")
    UNSUPPORTED = {"aws_secrets_manager": "mount the secret as a file and name it in username_file and password_file"}

    def check(self) -> Iterator[tuple[str, str]]:
        """A user without a colon."""
        if not self.username and not self.username_file:
            yield "username", "must not be empty: give username or username_file"
        if ":" in self.username:
            yield "username", "must not contain a colon"


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuthConfig:
    """Authenticates by user and password: `htpasswd` for receivers, `client_auth` for exporters."""

    htpasswd: HtpasswdConfig | None = key(None, "Who may send, for a receiver.")
    client_auth: ClientAuthConfig | None = key(None, "What to send, for an exporter.")

    def check(self) -> Iterator[tuple[str, str]]:
        """Exactly one of the two."""
        if self.htpasswd is not None and self.client_auth is not None:
            yield "client_auth", "only one of htpasswd and client_auth can be specified: define two extensions"
        if self.htpasswd is None and self.client_auth is None:
            yield "", "no credential source provided: give htpasswd (for a receiver) or client_auth (for an exporter)"
