"""What the connections of one server share."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from heliograph.net.grpc.call import Call
from heliograph.net.grpc.keepalive import ServerKeepalive
from heliograph.net.grpc.status import RESOURCE_EXHAUSTED, UNIMPLEMENTED, GrpcError

if TYPE_CHECKING:
    from heliograph.net.grpc.server_connection import ServerConnection


class Serving:
    """Handlers, limits and open connections of a server; the fields are the arguments of GrpcServer."""

    def __init__(
        self,
        *,
        handlers: dict[str, Callable[[bytes, Call], Awaitable[bytes]]],
        max_message_bytes: int,
        max_streams: int,
        keepalive: ServerKeepalive,
        authenticate: Callable[[Mapping[str, tuple[str, ...]], str], Awaitable[Mapping[str, str]]] | None,
        handshake_timeout: float,
        connection_budget: int,
        server_budget: int,
        max_connections: int,
        body_grace: float,
        logger: logging.Logger,
    ) -> None:
        self.handlers = handlers
        self.max_message_bytes = max_message_bytes
        self.max_streams = max_streams
        self.keepalive = keepalive
        self.authenticate = authenticate
        self.handshake_timeout = handshake_timeout
        self.connection_budget = connection_budget
        self.server_budget = server_budget
        self.max_connections = max_connections
        self.body_grace = body_grace
        self.held = 0  # bytes of messages in memory, of all connections
        self.logger = logger
        self.connections: set[ServerConnection] = set()
        self._services = {path.rpartition("/")[0] for path in handlers}

    def no_room(self, size: int, held: int) -> GrpcError | None:
        """The error for `size` more bytes of messages when they do not fit: into the budget of all connections, or that
        of one that holds `held` bytes (0: something else sees to it)."""
        if self.held + size > self.server_budget:
            text = f"grpc: messages of all connections hold more than {self.server_budget} bytes"
        elif held and held + size > max(self.connection_budget, size):
            text = f"grpc: messages of this connection hold more than {self.connection_budget} bytes"
        else:
            return None
        return GrpcError(RESOURCE_EXHAUSTED, text, 1.0)

    def unknown(self, path: str) -> GrpcError:
        """The error for a path without a handler."""
        service, _, method = path.rpartition("/")
        if service in self._services:
            return GrpcError(UNIMPLEMENTED, f"unknown method {method[:256]} for service {service.lstrip('/')}")
        return GrpcError(UNIMPLEMENTED, f"unknown service {service.lstrip('/')[:256]}")
