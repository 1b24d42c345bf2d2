"""A request as a server gets it: the head whole, the body as it comes.

The head was checked by the parser; what it leaves open is decided here, in the strict way, since two readers of one
connection that disagree on where a request ends let one sender speak for another (request smuggling): one Host, no
coding but chunked, no chunks in HTTP/1.0.
Sources: RFC 9112, 3.2 and 6; RFC 9110, 7.2.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import unquote, urlsplit

_HELD = 64 * 1024
"""Bytes of a body that may wait to be read; then the sender waits."""


class Refused(Exception):
    """A request that is not answered by a handler. status: of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Source(Protocol):
    """Where a body comes from: the connection."""

    def more(self) -> None:
        """The body was read: go on receiving."""

    def go_on(self) -> None:
        """Send 100 Continue."""


class Incoming:
    """One request. path: decoded; query: as it was sent. headers: names in lower case. length: the Content-Length, if
    there is one. peer: IP address. keep_alive: the sender goes on using the connection."""

    __slots__ = (
        "_held",
        "_pieces",
        "_source",
        "_waiter",
        "_wants_word",
        "complete",
        "gone",
        "headers",
        "keep_alive",
        "length",
        "method",
        "path",
        "peer",
        "query",
    )

    def __init__(
        self,
        source: Source,
        method: str,
        target: str,
        version: str,
        headers: Mapping[str, tuple[str, ...]],
        peer: str,
        keep_alive: bool,
    ) -> None:
        """Raises Refused for a head that means different things to different readers."""
        self._source = source
        self.method = method
        self.headers = headers
        self.peer = peer
        self.keep_alive = keep_alive
        self.path, self.query = _split(target)
        length = headers.get("content-length")
        self.length = None if length is None else int(length[0])
        self._check(version)
        self._wants_word = version == "1.1" and headers.get("expect", ("",))[0].lower() == "100-continue"
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._waiter: asyncio.Future[None] | None = None
        self.complete = False
        self.gone = ""

    def _check(self, version: str) -> None:
        headers = self.headers
        if version not in ("1.1", "1.0"):
            raise Refused(505, f"HTTP/{version} is not spoken here")
        hosts = headers.get("host", ())
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            raise Refused(400, "a request has one Host")
        codings = headers.get("transfer-encoding")
        if codings is not None and (version == "1.0" or len(codings) > 1 or codings[0].strip().lower() != "chunked"):
            raise Refused(501, "the only Transfer-Encoding is chunked")
        if self.method == "CONNECT":
            raise Refused(501, "this is no proxy")

    def first(self, name: str) -> str:
        """The first value of a header, or ""."""
        return self.headers.get(name, ("",))[0]

    async def read(self) -> bytes:
        """What has come of the body, waiting for it; b"" at its end. Raises ConnectionError when it will not come."""
        while not self._pieces:
            if self.complete:
                return b""
            if self.gone:
                raise ConnectionError(self.gone)
            if self._wants_word:
                self._wants_word = False
                self._source.go_on()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.read_nowait()

    def read_nowait(self) -> bytes:
        """What has come of the body and was not read yet."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.discard()
        self._source.more()
        return data

    def discard(self) -> None:
        """Throw away what waits."""
        self._pieces.clear()
        self._held = 0

    # For the connection.

    @property
    def full(self) -> bool:
        """Enough waits to be read."""
        return self._held > _HELD

    def feed(self, data: bytes) -> None:
        """A piece of the body."""
        self._wants_word = False
        self._pieces.append(data)
        self._held += len(data)
        self._wake()

    def end(self) -> None:
        """The body is complete."""
        self.complete = True
        self._wake()

    def lose(self, why: str) -> None:
        """The rest of the body will not come."""
        if not self.complete and not self.gone:
            self.gone = why
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _split(target: str) -> tuple[str, str]:
    if target.startswith(("http://", "https://")):
        try:
            parts = urlsplit(target)
        except ValueError:
            raise Refused(400, "the request's target is no URL") from None
        path, query = parts.path or "/", parts.query
    else:
        path, _, query = target.partition("?")
    return (unquote(path) if "%" in path else path), query
