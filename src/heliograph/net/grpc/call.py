"""What a handler sees of its call."""

from collections.abc import Mapping

from heliograph.net.http2.events import Header

NOTHING: dict[str, str] = {}


class Call:
    """One call on the server. path: "/package.Service/Method". peer: the sender's IP address, or "". auth: what the
    authenticator found out. deadline: the loop's time at which the call ends, or None."""

    __slots__ = ("_headers", "auth", "deadline", "path", "peer")

    def __init__(self, path: str, peer: str, headers: list[Header], deadline: float | None) -> None:
        self.path = path
        self.peer = peer
        self.auth: Mapping[str, str] = NOTHING
        self.deadline = deadline
        self._headers = headers

    @property
    def metadata(self) -> Mapping[str, tuple[str, ...]]:
        """The request's headers by lower-case name, without pseudo-headers. UTF-8; what is none is replaced."""
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self._headers:
            if name.startswith(":"):
                continue
            text = value if value.isascii() else value.encode("latin-1").decode("utf-8", "replace")
            found[name] = (*found[name], text) if name in found else (text,)
        return found
