"""A gRPC client for unary calls on asyncio: one connection with many calls on it.

Follows gRPC's rules: connects when a call needs it; a failed connect fails the calls that wait for it with
UNAVAILABLE, and further attempts wait for a back-off of 1 s, growing by 1.6 to 120 s, during which calls fail at once;
a call that the server surely did not process (GOAWAY, REFUSED_STREAM) goes out again on another connection, unseen.
"""

import asyncio
import random
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Sequence

from heliograph.net.grpc.client_connection import ClientConnection, Unprocessed
from heliograph.net.grpc.framing import ACCEPT_ENCODING, encode, format_timeout
from heliograph.net.grpc.keepalive import ClientKeepalive
from heliograph.net.grpc.status import DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, GrpcError
from heliograph.net.http2.header_block import encode_header, encode_headers

__all__ = ["ClientKeepalive", "GrpcChannel", "GrpcError", "resolve"]

Resolve = Callable[[str, int], Awaitable[list[tuple[str, int]]]]

_FIRST_BACKOFF = 1.0
_BACKOFF_GROWTH = 1.6
_MAX_BACKOFF = 120.0
_BACKOFF_JITTER = 0.2
_MAX_RESENDS = 8
_FIRST_RESEND_DELAY = 0.01  # seconds; doubles with each REFUSED_STREAM
_DEADLINE_TOLERANCE = 0.1
_REMEMBERED_BLOCKS = 64
_SENSITIVE = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})
_RESERVED = frozenset({"te", "content-type", "user-agent", "connection", "host"})


async def resolve(host: str, port: int) -> list[tuple[str, int]]:
    """Every address of a host, in the resolver's order, each once. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((str(entry[4][0]), int(entry[4][1])) for entry in found))


class GrpcChannel:
    """Calls to one endpoint.

    ssl: None for plain text; its ALPN becomes "h2". authority: of the requests, default host:port. server_name: with
    TLS, the name the certificate must have; default: the authority's host. max_message_bytes: of an answer. resolve:
    addresses of the host, asked at each connect; each is tried in turn.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl: ssl_module.SSLContext | None = None,
        authority: str = "",
        server_name: str = "",
        user_agent: str = "heliograph",
        max_message_bytes: int = 4 << 20,
        keepalive: ClientKeepalive | None = None,
        connect_timeout: float = 20.0,
        resolve: Resolve = resolve,
    ) -> None:
        self._host = host
        self._port = port
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._ssl = ssl
        self._server_name = server_name or _host_of(authority) or host
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        self._max_message = max_message_bytes
        self._keepalive = keepalive or ClientKeepalive()
        self._connect_timeout = connect_timeout
        self._resolve = resolve
        scheme = b"https" if ssl is not None else b"http"
        self._head = encode_headers([(b":method", b"POST"), (b":scheme", scheme)])
        self._tail = encode_header(b":authority", (authority or self._target).encode()) + encode_headers(
            [
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", user_agent.encode()),
                (b"grpc-accept-encoding", ACCEPT_ENCODING),
            ]
        )
        self._blocks: dict[tuple[str, str, tuple[tuple[str, str], ...]], bytes] = {}
        self._connection: ClientConnection | None = None
        self._connecting: asyncio.Task[ClientConnection] | None = None
        self._old: set[ClientConnection] = set()  # going away, with calls still on them
        self._backoff = 0.0
        self._not_before = 0.0
        self._last_failure = ""
        self._closed = False

    async def unary(
        self,
        path: str,
        message: bytes,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout: float,
        compression: str = "",
    ) -> bytes:
        """Call `path` ("/package.Service/Method") and return the answer's message.

        timeout: seconds for everything, connecting included; it is told to the server too. compression: "", "none",
        or a key of framing.ENCODINGS. Raises GrpcError, with retry_after where the server sent RetryInfo.
        """
        loop = asyncio.get_running_loop()
        encoding = "" if compression in ("", "none", "identity") else compression
        deadline = loop.time() + timeout
        body = encode(message, encoding)
        block = self._block(path, encoding, tuple(metadata))
        for attempt in range(_MAX_RESENDS):
            connection = self._connection
            if connection is None or not connection.usable:
                connection = await self._connect(deadline, timeout)
            left = deadline - loop.time()
            try:
                return await connection.call(block + encode_header(b"grpc-timeout", format_timeout(left)), body, left)
            except Unprocessed as error:
                problem = str(error)
                if error.refused:  # the server has more streams than it wants; it may only be slow to forget old ones
                    await asyncio.sleep(_FIRST_RESEND_DELAY * 2**attempt * random.uniform(0.5, 1.0))
            except TimeoutError:
                raise self._overdue(path, timeout) from None
            except GrpcError as error:
                # The server keeps the same deadline and may be first; its text then says less than ours.
                if error.status == DEADLINE_EXCEEDED and loop.time() > deadline - _DEADLINE_TOLERANCE:
                    raise self._overdue(path, timeout) from None
                raise
        raise GrpcError(UNAVAILABLE, f"{self._target} refused the call {_MAX_RESENDS} times: {problem}")

    @property
    def connected(self) -> bool:
        """Whether a call would find a connection."""
        return self._connection is not None and self._connection.usable

    async def connect(self, timeout: float) -> None:
        """Make the connection if there is none. Raises GrpcError."""
        await self._connect(asyncio.get_running_loop().time() + timeout, timeout)

    def _overdue(self, path: str, timeout: float) -> GrpcError:
        return GrpcError(DEADLINE_EXCEEDED, f"no answer from {self._target} to {path} within {timeout:g} s")

    async def close(self) -> None:
        """End all calls with UNAVAILABLE and close. Safe twice."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        connections = [*self._old] if self._connection is None else [self._connection, *self._old]
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait([connection.closed for connection in connections], timeout=1.0)
        for connection in connections:
            connection.abort()
        self._connection = None

    # ------------------------------------------------------------------ headers

    def _block(self, path: str, encoding: str, metadata: tuple[tuple[str, str], ...]) -> bytes:
        """The header block of a request, without its timeout; it is the same for the same arguments."""
        key = (path, encoding, metadata)
        found = self._blocks.get(key)
        if found is not None:
            return found
        pieces = [self._head, encode_header(b":path", path.encode()), self._tail]
        if encoding:
            pieces.append(encode_header(b"grpc-encoding", encoding.encode()))
        for name, value in metadata:
            lower = name.lower()
            raw = value.encode("utf-8")
            if lower.startswith((":", "grpc-")) or lower in _RESERVED:
                raise GrpcError(INTERNAL, f"header {name!r} belongs to gRPC and cannot be set")
            if (
                not lower.isascii()
                or not lower.isprintable()
                or not lower
                or b"\n" in raw
                or b"\r" in raw
                or b"\0" in raw
            ):
                raise GrpcError(INTERNAL, f"header {name!r} or its value has characters that HTTP/2 does not allow")
            pieces.append(encode_header(lower.encode(), raw, lower in _SENSITIVE))
        block = b"".join(pieces)
        if len(self._blocks) >= _REMEMBERED_BLOCKS:
            self._blocks.clear()
        self._blocks[key] = block
        return block

    # --------------------------------------------------------------- connecting

    async def _connect(self, deadline: float, timeout: float) -> ClientConnection:
        """A connection that can be used. Calls that come at the same time share the attempt. Raises GrpcError."""
        if self._closed:
            raise GrpcError(UNAVAILABLE, f"the channel to {self._target} is closed")
        loop = asyncio.get_running_loop()
        if self._connection is not None and self._connection.usable:
            return self._connection
        if self._connecting is None:
            self._retire()
            if loop.time() < self._not_before:
                raise GrpcError(UNAVAILABLE, self._last_failure)
            self._connecting = loop.create_task(self._attempt())
            self._connecting.add_done_callback(self._attempted)
        attempt = self._connecting
        done, _ = await asyncio.wait([attempt], timeout=max(0.0, deadline - loop.time()))
        if not done:
            raise GrpcError(DEADLINE_EXCEEDED, f"no connection to {self._target} within {timeout:g} s")
        if attempt.cancelled():
            raise GrpcError(UNAVAILABLE, f"the channel to {self._target} is closed")
        return attempt.result()

    def _attempted(self, attempt: "asyncio.Task[ClientConnection]") -> None:
        self._connecting = None
        if not attempt.cancelled():
            attempt.exception()  # the calls that wait for it raise it; here it only counts as seen

    def _retire(self) -> None:
        """Set the present connection aside; it finishes its calls."""
        connection = self._connection
        self._connection = None
        if connection is not None and not connection.closed.done():
            self._old.add(connection)
            connection.closed.add_done_callback(lambda _: self._old.discard(connection))

    async def _attempt(self) -> ClientConnection:
        """Try each address once."""
        loop = asyncio.get_running_loop()
        problems: list[str] = []
        try:
            addresses = await self._resolve(self._host, self._port)
        except OSError as error:
            addresses = []
            problems.append(f"cannot resolve {self._host}: {error.strerror or error}")
        for host, port in addresses:
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            try:
                connection = await self._open(host, port)
            except TimeoutError:
                problems.append(f"{address}: no answer within {self._connect_timeout:g} s")
            except ssl_module.SSLError as error:
                problems.append(f"{address}: TLS: {_tls_problem(error)}")
            except OSError as error:
                problems.append(f"{address}: {error.strerror or error}")
            else:
                self._backoff = 0.0
                self._not_before = 0.0
                self._connection = connection
                return connection
        self._backoff = min(self._backoff * _BACKOFF_GROWTH, _MAX_BACKOFF) if self._backoff else _FIRST_BACKOFF
        jitter = 1 + random.uniform(-_BACKOFF_JITTER, _BACKOFF_JITTER)
        self._not_before = loop.time() + self._backoff * jitter
        self._last_failure = f"cannot connect to {self._target}: {'; '.join(problems) or 'it has no address'}"
        raise GrpcError(UNAVAILABLE, self._last_failure)

    async def _open(self, host: str, port: int) -> ClientConnection:
        """Connect, TLS, and wait for the server's SETTINGS. Raises OSError (SSLError, TimeoutError included)."""
        loop = asyncio.get_running_loop()
        connection = ClientConnection(self._target, self._max_message, self._keepalive, loop)
        try:
            async with asyncio.timeout(self._connect_timeout):
                await loop.create_connection(
                    lambda: connection,
                    host,
                    port,
                    ssl=self._ssl,
                    server_hostname=self._server_name if self._ssl is not None else None,
                )
                await connection.ready
        except BaseException:
            connection.abort()
            raise
        return connection


def _host_of(authority: str) -> str:
    """The host of "host", "host:port" or "[v6]:port"."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0] if authority.count(":") == 1 else authority


def _tls_problem(error: ssl_module.SSLError) -> str:
    if isinstance(error, ssl_module.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {error.verify_message}"
    return error.reason or str(error)
