"""A very small HTTP server for pages about this process: the metrics on 8888, the health on 13133.

One GET or HEAD per connection, no body read, at most 8 KiB of request and 10 seconds for it, at most 64 connections:
what it cannot understand gets 400 and is closed. It costs a daemon nothing while nobody asks.
"""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from heliograph.component.errors import StartError
from heliograph.telemetry.http_date import http_date

MAX_REQUEST = 8192
MAX_CONNECTIONS = 64
TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"


NOT_FOUND = Page(404, "404 page not found\n")


class Endpoint:
    """Serves pages. answer: path without query -> Page."""

    def __init__(self, answer: Callable[[str], Page]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._connections = 0

    async def listen(self, host: str, port: int, *, key: str, tls: ssl.SSLContext | None = None) -> int:
        """Start; returns the port. An empty host means every interface. key: where the port is configured, for the
        message. Raises StartError."""
        try:
            bound = await _bound(host, port)
        except OSError as error:
            where = f"{host or '*'}:{port}"
            if error.errno == errno.EADDRINUSE:
                raise StartError(f"cannot listen on {where}: the port is taken; free it or change {key}") from error
            raise StartError(f"cannot listen on {where}: {error.strerror or error}; change {key}") from error
        self._server = await asyncio.start_server(self._serve, sock=bound, limit=MAX_REQUEST, ssl=tls)
        _, number, *_ = bound.getsockname()
        return int(number)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= MAX_CONNECTIONS:
                async with asyncio.timeout(TIMEOUT):
                    writer.write(self._response(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            self._connections -= 1
            writer.close()

    def _response(self, request: bytes) -> bytes:
        words = request.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            page = Page(400, "400 bad request\n")
        elif words[0] not in (b"GET", b"HEAD"):
            page = Page(405, "405 method not allowed, supported: GET, HEAD\n")
        else:
            page = self._answer(words[1].split(b"?", 1)[0].decode("latin-1"))
        body = page.body.encode()
        head = (
            f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}\r\n"
            f"Content-Type: {page.content_type}\r\n"
            f"Date: {http_date(time.time())}\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        ).encode("latin-1")
        return head if words[0] == b"HEAD" else head + body


async def _bound(host: str, port: int) -> socket.socket:
    """A socket bound as Go does it: no host means every interface of both IP versions, a name means its first IPv4
    address, else its first IPv6 address (a container may know ::1 and yet have no IPv6). Raises OSError."""
    if not host and socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
    if not host:
        return socket.create_server(("", port))
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return socket.create_server((address[0], port), family=family)


def metrics_page(exposition: Callable[[], str]) -> Callable[[str], Page]:
    """The answer of the metrics endpoint: /metrics, and nothing else."""

    def answer(path: str) -> Page:
        if path != "/metrics":
            return NOT_FOUND
        return Page(200, exposition(), "text/plain; version=0.0.4; charset=utf-8")

    return answer
