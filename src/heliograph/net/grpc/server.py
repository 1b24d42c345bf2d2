"""A gRPC server for unary calls on asyncio.

`GrpcServer` listens and holds what all connections share; `server_connection` drives one connection, `call` is what a
handler sees. Handlers get the message decompressed and return the answer's message; they raise GrpcError for another
status. A handler is a task of its own; it is cancelled when its call is reset, its deadline passes, or the grace period
of a shutdown ends.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from ssl import SSLContext

from heliograph.net import pace
from heliograph.net.grpc.call import Call
from heliograph.net.grpc.keepalive import ServerKeepalive
from heliograph.net.grpc.server_connection import ServerConnection
from heliograph.net.grpc.serving import Serving
from heliograph.net.grpc.status import GrpcError

__all__ = ["Call", "GrpcError", "GrpcServer", "Handler", "ServerKeepalive"]

Handler = Callable[[bytes, Call], Awaitable[bytes]]
Authenticate = Callable[[Mapping[str, tuple[str, ...]], str], Awaitable[Mapping[str, str]]]


class GrpcServer:
    """Serves `handlers`, by path ("/package.Service/Method").

    max_message_bytes: of a request, before and after decompression. max_concurrent_streams: per connection; None: 1000.
    authenticate: called with the headers and the path before the body is taken; raises component.auth.Unauthenticated
    or PermissionDenied; what it returns is `Call.auth`. handshake_timeout: seconds a new connection has to say that it
    speaks HTTP/2. connection_budget: bytes of messages one connection may hold in memory; None: 64 MiB, or four
    messages if that is more. server_budget: the same for all connections together; None: 128 MiB, or four messages;
    what does not fit is answered with RESOURCE_EXHAUSTED and a time to come again. max_connections: one more is closed
    at once. body_grace: seconds that any body may take; later it must have come at net/pace.py's rate.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        max_message_bytes: int = 4 << 20,
        max_concurrent_streams: int | None = None,
        keepalive: ServerKeepalive | None = None,
        authenticate: Authenticate | None = None,
        handshake_timeout: float = 20.0,
        connection_budget: int | None = None,
        server_budget: int | None = None,
        max_connections: int = pace.MAX_CONNECTIONS,
        body_grace: float = pace.GRACE,
        logger: logging.Logger | None = None,
    ) -> None:
        self._serving = Serving(
            handlers=dict(handlers),
            max_message_bytes=max_message_bytes,
            max_streams=max_concurrent_streams or 1000,
            keepalive=keepalive or ServerKeepalive(),
            authenticate=authenticate,
            handshake_timeout=handshake_timeout,
            connection_budget=connection_budget or max(64 << 20, 4 * max_message_bytes),
            server_budget=server_budget or max(128 << 20, 4 * max_message_bytes),
            max_connections=max_connections,
            body_grace=body_grace,
            logger=logger or logging.getLogger(__name__),
        )
        self._listener: asyncio.Server | None = None

    async def listen(self, host: str, port: int, ssl: SSLContext | None = None) -> int:
        """Start to accept connections; returns the port. Raises OSError. The context's ALPN becomes "h2"."""
        if ssl is not None:
            ssl.set_alpn_protocols(["h2"])
        loop = asyncio.get_running_loop()
        serving = self._serving
        self._listener = await loop.create_server(
            lambda: ServerConnection(serving, loop),
            host or None,
            port,
            ssl=ssl,
            ssl_handshake_timeout=serving.handshake_timeout if ssl is not None else None,
        )
        bound: int = self._listener.sockets[0].getsockname()[1]
        return bound

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._serving.connections)

    async def close(self, grace: float) -> None:
        """Stop: no new connections and calls; running calls have `grace` seconds to finish, then they are cancelled and
        answered with UNAVAILABLE. Safe unstarted and twice."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        connections = self._serving.connections
        for connection in list(connections):
            connection.drain("the server is shutting down")
        if connections:
            waiters = [connection.closed for connection in connections]
            await asyncio.wait(waiters, timeout=grace)
        for connection in list(connections):
            connection.abort_calls("the server is shutting down")
        leftovers = [connection.closed for connection in connections]
        if leftovers:
            await asyncio.wait(leftovers, timeout=1.0)
        for connection in list(connections):
            connection.kill()
