"""The thin driver: requests to the API server, bounded answers, errors as ApiError.

One connection pool for all components of a process that reach the same server as the same identity. A connection that
died without a word is found by TCP keepalive within a minute: a watch may be silent for long. `kube_api_qps` and
`kube_api_burst` space the requests, as client-go's do; 0 leaves them alone.
"""

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import msgspec

from heliograph import __version__
from heliograph.component.clock import Clock
from heliograph.component.errors import StartError
from heliograph.kubernetes.access import Access
from heliograph.kubernetes.errors import ApiError, BadAnswer, Untrusted
from heliograph.net.http.errors import CertificateRefused, TransportError
from heliograph.net.http.exchange import Answering
from heliograph.net.http.pool import MOST_REDIRECTS, Pool

LONGEST_BODY = 256 * 1024 * 1024
"""Bytes of one page of a list, after decompression."""
_CONNECT_SECONDS = 15.0
_READ_SECONDS = 60.0
_IDLE_SECONDS = 15.0
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class _Status(msgspec.Struct):
    message: str = ""


class ApiClient:
    """`open` before use, `close` after it."""

    def __init__(
        self, access: Access, clock: Clock, *, qps: float = 0.0, burst: int = 0, connect_seconds: float = 0.0
    ) -> None:
        self.access = access
        self._clock = clock
        self._qps, self._burst = qps, max(1, burst)
        self._next = -math.inf
        self._connect_seconds = connect_seconds or _CONNECT_SECONDS
        self._pool: Pool | None = None

    def open(self) -> None:
        """Get ready; connects with the first request."""
        self._pool = Pool(
            tls=self.access.tls, idle_seconds=_IDLE_SECONDS, connect_seconds=self._connect_seconds, tune=_keep_alive
        )

    async def close(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def body(self, path: str, query: Mapping[str, str], accept: str) -> bytes:
        """The whole answer of a GET. Raises ApiError."""
        async with self.stream(path, query, accept, read_seconds=_READ_SECONDS) as stream:
            return await _whole(stream, f"GET {path}")

    async def send(self, method: str, path: str, content: bytes, accept: str) -> bytes:
        """The answer to a POST or PUT of JSON. Raises ApiError; status 409 means that the object was changed or made by
        somebody else meanwhile."""
        async with self._request(method, path, {}, accept, _READ_SECONDS, content) as stream:
            return await _whole(stream, f"{method} {path}")

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], accept: str, read_seconds: float | None = None
    ) -> AsyncIterator[Answering]:
        """The answer of a GET while it comes. Raises ApiError, also for what the body of the `async with` reads."""
        async with self._request("GET", path, query, accept, read_seconds) as content:
            yield content

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        accept: str,
        read_seconds: float | None,
        content: bytes | None = None,
    ) -> AsyncIterator[Answering]:
        pool = self._pool
        if pool is None:
            raise ApiError(f"{method} {path}: the client is closed")
        await self._pace()
        url = self.access.server + path
        try:
            async with pool.request(
                method,
                f"{url}?{urlencode(query)}" if query else url,
                self._headers(accept, read_seconds is not None, content is not None),
                content,
                server_name=self.access.server_name,
                read_seconds=read_seconds,
                redirects=MOST_REDIRECTS,
            ) as answer:
                if answer.status not in (200, 201):
                    raise await self._refusal(method, path, answer)
                yield answer
        except StartError as error:
            raise ApiError(str(error)) from None
        except (TransportError, OSError, EOFError) as error:
            kind = Untrusted if isinstance(error, CertificateRefused) else ApiError
            raise kind(f"{method} {url}: {_reason(error)}") from error

    def _headers(self, accept: str, compressed: bool, sends: bool) -> dict[str, str]:
        headers = {"User-Agent": f"heliograph/{__version__}", **self.access.headers}
        headers |= {"Accept": accept, "Accept-Encoding": "gzip" if compressed else "identity"}
        if sends:
            headers["Content-Type"] = "application/json"
        token = self.access.token.value(self._clock.monotonic())
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    async def _refusal(self, method: str, path: str, response: Answering) -> ApiError:
        if response.status == 401:
            self.access.token.forget()
        text = await response.read(64 * 1024)
        try:
            message = msgspec.json.decode(text, type=_Status).message
        except msgspec.MsgspecError:
            message = ""
        after = response.headers.get("retry-after", "")
        return ApiError(
            f"{method} {path}: {response.status} {message or response.reason}",
            response.status,
            float(after) if after.isascii() and after.isdigit() and len(after) < 6 else None,
        )

    async def _pace(self) -> None:
        if self._qps <= 0:
            return
        now = self._clock.monotonic()
        self._next = max(self._next, now - self._burst / self._qps) + 1 / self._qps
        if self._next > now:
            await self._clock.sleep(self._next - now)


async def _whole(stream: Answering, what: str) -> bytes:
    pieces = bytearray()
    async for piece in stream.iter_any():
        pieces += piece
        if len(pieces) > LONGEST_BODY:
            raise BadAnswer(f"{what}: the answer is longer than {LONGEST_BODY} bytes")
    return bytes(pieces)


def _keep_alive(made: socket.socket) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _reason(error: BaseException) -> str:
    if isinstance(error, CertificateRefused):
        return f"the server's certificate is not accepted: {error}"
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
