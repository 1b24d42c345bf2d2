"""Requests over connections that are kept: an HTTP/1.1 client without opinions.

The last connection that was used is used next, so that those too many run out of time. A kept connection that turns out
closed before a byte of the answer came is replaced, once, by a new one. Redirects are followed where the caller wants
it: 303, and 301 and 302 to a POST, become a GET, and credentials do not leave the origin they were for.
Sources: RFC 9110, 15.4; RFC 9112, 9.
"""

import asyncio
import os
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from heliograph.net.http.connect import Tune, Way, dial
from heliograph.net.http.decode import ACCEPTED
from heliograph.net.http.errors import BrokenAnswer, Disconnected, Unsendable
from heliograph.net.http.exchange import Answering, ClientConnection
from heliograph.net.http.url import Url, parse, redirected

if TYPE_CHECKING:
    from heliograph.net.http.cookies import Cookies

CONNECT_SECONDS = 30.0
MOST_REDIRECTS = 10
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_CREDENTIALS = ("authorization", "proxy-authorization", "cookie")


class Pool:
    """Connections of one client. `close` after use.

    tls: for https://; None: the system's trust. per_host: most connections to a host, 0 for no limit. idle_seconds: how
    long an unused one is kept, 0 for not at all. tune: is given each socket before it connects. unix: path of a socket
    that stands for every host.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        per_host: int = 0,
        idle_seconds: float = 90.0,
        connect_seconds: float = CONNECT_SECONDS,
        tune: Tune | None = None,
        cookies: "Cookies | None" = None,
        unix: str = "",
    ) -> None:
        self._tls = tls
        self._per_host = per_host
        self._idle_seconds = idle_seconds
        self._connect_seconds = connect_seconds
        self._tune = tune
        self._cookies = cookies
        self._unix = unix
        self._idle: dict[Way, list[ClientConnection]] = {}
        self._open: dict[Way, int] = {}
        self._all: set[ClientConnection] = set()
        self._waiting: dict[Way, deque[asyncio.Future[None]]] = {}
        self._closed = False

    async def close(self) -> None:
        """End all connections; requests that run fail."""
        self._closed = True
        connections = list(self._all)
        for connection in connections:
            connection.abort()
        if connections:
            for _ in range(2):  # aborted connections end in the next turns of the loop
                await asyncio.sleep(0)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        proxy: str = "",
        server_name: str = "",
        read_seconds: float | None = None,
        redirects: int = 0,
    ) -> AsyncIterator[Answering]:
        """Ask; the answer while it comes. headers: Host, Content-Length and, if missing, Accept-Encoding are added.
        read_seconds: longest silence. A body that is not read to its end costs the connection. Raises TransportError
        and TimeoutError."""
        sent = {name.lower(): value for name, value in headers.items()}
        while True:
            target = parse(url)
            way = Way(*target.origin, server_name, proxy, self._unix)
            connection, answer = await self._exchange(way, target, method, url, sent, body, read_seconds)
            try:
                if self._cookies is not None and answer.cookies:
                    self._cookies.take(url, answer.cookies)
                location = answer.headers.get("location")
                if redirects == 0 or answer.status not in _REDIRECTS or not location:
                    yield answer
                    return
                await answer.read(4096)
            finally:
                self._release(way, connection)
            redirects -= 1
            if redirects == 0:
                raise BrokenAnswer("the server redirects for ever")
            url = redirected(url, location)
            if parse(url).origin != target.origin:
                sent = {name: value for name, value in sent.items() if name not in _CREDENTIALS}
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = "GET", None
                sent = {name: value for name, value in sent.items() if not name.startswith("content-")}

    async def _exchange(
        self,
        way: Way,
        target: Url,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        read_seconds: float | None,
    ) -> tuple[ClientConnection, Answering]:
        head = self._head(way, target, method, url, headers, body)
        connection, used = await self._take(way)
        while True:
            try:
                return connection, await connection.exchange(head, body, read_seconds)
            except Disconnected:
                self._release(way, connection)
                if not used:
                    raise
                for other in self._idle.pop(way, ()):  # closed too, or about to be
                    other.abort()
            except BaseException:
                connection.abort()
                raise
            connection, used = await self._take(way)

    def _head(
        self, way: Way, target: Url, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        whole = way.proxy and way.scheme == "http"
        lines = [f"{method} {f'http://{target.authority}' if whole else ''}{target.target} HTTP/1.1"]
        if "host" not in headers:
            lines.append(f"Host: {target.authority}")
        if "accept-encoding" not in headers:
            lines.append(f"Accept-Encoding: {ACCEPTED}")
        if "accept" not in headers:
            lines.append("Accept: */*")
        if target.basic and "authorization" not in headers:
            lines.append(f"Authorization: {target.basic}")
        if whole and (basic := parse(way.proxy).basic) and "proxy-authorization" not in headers:
            lines.append(f"Proxy-Authorization: {basic}")
        if self._cookies is not None and "cookie" not in headers and (cookie := self._cookies.header(url)):
            lines.append(f"Cookie: {cookie}")
        if self._idle_seconds <= 0:
            lines.append("Connection: close")
        for name, value in headers.items():
            if name not in ("content-length", "transfer-encoding", "connection"):
                lines.append(f"{name}: {value}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        lines.append("\r\n")
        head = "\r\n".join(lines)
        # As many line ends as lines: a value that came from somewhere else adds no header.
        if head.count("\n") != len(lines) or head.count("\r") != len(lines) or "\0" in head:
            raise Unsendable(f"{method} {url}: a header holds the end of a line")
        return head.encode("utf-8", "surrogateescape")

    async def _take(self, way: Way) -> tuple[ClientConnection, bool]:
        """A connection, and whether it was used before."""
        while True:
            if self._closed:
                raise Disconnected("the client is closed")
            idle = self._idle.get(way)
            while idle:
                connection = idle.pop()
                if connection.expiry is not None:
                    connection.expiry.cancel()
                    connection.expiry = None
                if connection.idle:
                    return connection, True
            if not self._per_host or self._open.get(way, 0) < self._per_host:
                return await self._dial(way), False
            await self._turn(way)

    async def _turn(self, way: Way) -> None:
        """Until a connection may be free."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(way, deque())
        queue.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake(way)
            raise
        finally:
            if waiter in queue:
                queue.remove(waiter)

    def _wake(self, way: Way) -> None:
        queue = self._waiting.get(way)
        while queue:
            waiter = queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._waiting.pop(way, None)

    async def _dial(self, way: Way) -> ClientConnection:
        if way.scheme == "https" and self._tls is None:
            self._tls = ssl.create_default_context()
        self._open[way] = self._open.get(way, 0) + 1
        try:
            connection = await dial(way, self._tls, self._connect_seconds, self._tune)
        except BaseException:
            self._less(way)
            raise
        self._all.add(connection)
        connection.on_lost = lambda: self._lost(way, connection)
        if connection.lost or self._closed:
            connection.on_lost()
            connection.abort()
        return connection

    def _lost(self, way: Way, connection: ClientConnection) -> None:
        if connection not in self._all:
            return
        self._all.discard(connection)
        if connection.expiry is not None:
            connection.expiry.cancel()
            connection.expiry = None
        idle = self._idle.get(way)
        if idle is not None and connection in idle:
            idle.remove(connection)
            if not idle:
                del self._idle[way]
        self._less(way)

    def _less(self, way: Way) -> None:
        self._open[way] -= 1
        if not self._open[way]:
            del self._open[way]
        self._wake(way)

    def _release(self, way: Way, connection: ClientConnection) -> None:
        if self._closed or self._idle_seconds <= 0 or not connection.idle:
            connection.abort()
            return
        connection.rest()
        connection.expiry = asyncio.get_running_loop().call_later(self._idle_seconds, connection.abort)
        self._idle.setdefault(way, []).append(connection)
        self._wake(way)


@lru_cache(maxsize=256)
def environment_proxy(url: str) -> str:
    """The proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for a URL, or "". Looked up once for each URL."""
    if os.name == "posix" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return ""  # urllib.request is not small
    from urllib.request import getproxies, proxy_bypass

    target = parse(url)
    if proxy_bypass(target.authority):
        return ""
    return getproxies().get(target.scheme, "")
