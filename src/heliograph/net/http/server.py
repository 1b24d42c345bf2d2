"""An HTTP/1.1 server for receivers: limits, authentication, CORS and decompression, then a handler.

What happens to a request, in this order: preflight answers (CORS), authentication, the path, what the route says about
the headers (`Route.refuse`), the body (body.py), the route's handler. Whatever goes wrong before the handler is
worded by the caller's `Wording`, so that OTLP and others each answer in their own format. Bytes that are no HTTP
get a plain 400 and are counted through `on_garbage`; they are logged by nobody.

Timeouts are confighttp's keys, where 0 means that no limit was chosen: then the bounds of this module apply, since a
connection that never ends is a way to fill the process.
"""

import asyncio
import logging
import math
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs

from heliograph.component.auth import PermissionDenied, ServerAuth, Unauthenticated
from heliograph.component.errors import DeliveryError, Overloaded, Permanent, Retryable
from heliograph.net.address import listen
from heliograph.net.compression import ENCODINGS, TooLarge
from heliograph.net.config import HTTPServerConfig
from heliograph.net.http.body import Body, Budget, Gone, NoRoom, TooSlow
from heliograph.net.http.cors import Cors
from heliograph.net.http.incoming import Incoming
from heliograph.net.http.reply import SERVER, Reply
from heliograph.net.http.server_connection import ServerConnection, Serving
from heliograph.net.http.status import http_status
from heliograph.net.pace import MAX_CONNECTIONS
from heliograph.otlp.errors import MalformedPayload

HEADER_TIMEOUT = 60.0
"""Seconds for the headers of a request when read_header_timeout is 0."""
IDLE_TIMEOUT = 3600.0
"""Seconds that an unused connection stays open when idle_timeout and read_timeout are 0."""
BODIES_AT_ONCE = 4
"""The budget for bodies in memory: so many of the largest size, but 64 MiB at least."""
MIN_BUDGET = 64 * 1024 * 1024
_SWEEP = 1.0


@dataclass(slots=True)
class Request:
    """What a handler gets. headers: names in lower case. peer: IP address. auth: from the authenticator."""

    method: str
    path: str
    headers: Mapping[str, tuple[str, ...]]
    content_type: str
    body: bytes
    peer: str
    auth: Mapping[str, str]


@dataclass(slots=True)
class Response:
    """What a handler answers."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    headers: dict[str, str] = field(default_factory=dict)


class Route(Protocol):
    """What answers on one path."""

    def refuse(self, method: str, content_type: str) -> Response | None:
        """An answer that is given before the body is read, or None to go on."""

    async def handle(self, request: Request) -> Response:
        """Answer a request."""


Wording = Callable[[str, int, str], Response]
"""(content type of the request, status, message) -> the answer for an error that happened before the handler."""


def plain_text(content_type: str, status: int, message: str) -> Response:
    """The simplest Wording."""
    return Response(status, message.encode())


class HttpServer:
    """Serves routes on one address."""

    def __init__(
        self,
        config: HTTPServerConfig,
        routes: Mapping[str, Route],
        *,
        log: "logging.LoggerAdapter[logging.Logger]",
        authenticator: ServerAuth | None = None,
        wording: Wording = plain_text,
        on_malformed: Callable[[str], None] = lambda path: None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """on_malformed: called with the path when a body cannot be decompressed, and with "" for bytes that are no
        HTTP."""
        self._config = config
        self._routes = dict(routes)
        self._log = log
        self._authenticator = authenticator
        self._wording = wording
        self._on_malformed = on_malformed
        self._max_connections = max_connections
        self._limit = config.max_body
        self.budget = Budget(max(MIN_BUDGET, BODIES_AT_ONCE * self._limit))
        algorithms = config.compression_algorithms
        self._encodings = frozenset(ENCODINGS if algorithms is None else algorithms) - {"none"} | {""}
        cors = Cors(config.cors) if config.cors else None
        self._cors = cors if cors and cors.enabled else None
        self._fixed_headers = {name: f"{value:s}" for name, value in config.response_headers.items()}
        self._read_timeout = float(config.read_timeout)
        self._write_timeout = float(config.write_timeout)
        self._header_timeout = float(config.read_header_timeout) or float(config.read_timeout) or HEADER_TIMEOUT
        self._pause = min(_SWEEP, self._header_timeout / 4)
        self._serving: Serving | None = None
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._nobody = asyncio.Event()
        self._running: set[asyncio.Task[Response]] = set()

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listen; the port in use comes back (another one when 0 was asked for). Raises OSError."""
        loop = asyncio.get_running_loop()
        idle = float(self._config.idle_timeout) or self._read_timeout or IDLE_TIMEOUT
        serving = self._serving = Serving(
            self._serve,
            lambda: self._on_malformed(""),
            self._header_timeout,
            idle,
            self._max_connections,
            self._begun,
            self._ended,
        )
        socket = listen(host, port)
        self._listener = await loop.create_server(
            lambda: ServerConnection(serving), sock=socket, ssl=context, backlog=1024
        )
        bound: int = socket.getsockname()[1]
        return bound

    async def close(self, grace: float) -> None:
        """Stop listening, let running requests end for `grace` seconds, close the connections."""
        serving = self._serving
        if self._listener is None or serving is None:
            return
        self._listener.close()
        self._listener = None
        end = asyncio.get_running_loop().time() + max(0.0, grace)
        for connection in tuple(serving.connections):
            connection.drain()
        try:
            async with asyncio.timeout_at(end):
                while serving.connections:
                    self._nobody.clear()
                    await self._nobody.wait()
        except TimeoutError:
            for connection in tuple(serving.connections):
                connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._running:
            await asyncio.wait(self._running, timeout=max(0.0, end - asyncio.get_running_loop().time()))

    def _begun(self) -> None:
        """A connection is there: look at the time now and then."""
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(self._pause, self._sweep)

    def _ended(self) -> None:
        if self._serving is not None and not self._serving.connections:
            self._nobody.set()

    def _sweep(self) -> None:
        self._sweeper = None
        serving = self._serving
        if serving is None or not serving.connections:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [connection for connection in serving.connections if connection.deadline <= now]:
            connection.expire()
        self._sweeper = loop.call_later(self._pause, self._sweep)

    async def _serve(self, request: Incoming) -> Reply:
        try:
            response = await self._answer(request)
        except Exception:  # noqa: BLE001 - the last resort: an error of ours is answered and logged, and the server goes on
            self._log.exception("answering a request for %s failed", request.path)
            response = self._wording(request.first("content-type"), 500, "internal error")
        headers = {"Content-Type": response.content_type, **SERVER, **self._fixed_headers, **response.headers}
        if self._cors is not None and "Vary" not in headers:
            headers |= self._cors.actual(request.headers)
        close = not self._config.keep_alives_enabled or response.headers.get("Connection") == "close"
        return Reply(response.status, headers, response.body, close)

    async def _answer(self, request: Incoming) -> Response:
        headers = request.headers
        if self._cors is not None:
            preflight = self._cors.preflight(request.method, headers)
            if preflight is not None:
                return Response(204, headers=preflight)
        content_type = request.first("content-type")
        auth: Mapping[str, str] = {}
        if self._authenticator is not None:
            try:
                auth = await self._authenticator.authenticate(self._credentials(request), request.path)
            except Unauthenticated as error:
                return self._wording(content_type, 401, str(error))
            except PermissionDenied as error:
                return self._wording(content_type, 403, str(error))
            except DeliveryError as error:
                return self._undecided(content_type, error)
        route = self._routes.get(request.path)
        if route is None:
            return Response(404, b"404 page not found\n")
        refusal = route.refuse(request.method, content_type)
        if refusal is not None:
            return refusal
        encoding = request.first("content-encoding")
        if encoding not in self._encodings:
            return self._wording(content_type, 400, f"unsupported Content-Encoding: {encoding}")
        body = Body(self.budget, self._limit)
        try:
            try:
                data = await body.read(request, encoding, self._read_timeout)
            except TooLarge:
                return self._closing(content_type, 413, f"the request body is larger than {self._limit} bytes")
            except NoRoom:
                response = self._closing(content_type, 429, "too many requests are being read: send it again later")
                response.headers["Retry-After"] = "1"
                return response
            except TooSlow as error:
                return self._closing(content_type, 408, f"the request is too slow: {error}")
            except Gone as error:
                self._on_malformed(request.path)
                return self._closing(content_type, 400, f"the request body ended early: {error}")
            except MalformedPayload as error:
                self._on_malformed(request.path)
                return self._wording(content_type, 400, str(error))
            whole = Request(request.method, request.path, headers, content_type, data, request.peer, auth)
            return await self._handled(route, whole, body)
        finally:
            body.release()

    async def _handled(self, route: Route, request: Request, body: Body) -> Response:
        if self._write_timeout <= 0:
            return await route.handle(request)
        # The handler goes on after the time is up: cancelling it could lose data that somebody took over already.
        task = asyncio.ensure_future(route.handle(request))
        done, _ = await asyncio.wait({task}, timeout=self._write_timeout)
        if done:
            return task.result()
        self._running.add(task)
        still_held = body.hand_over()
        task.add_done_callback(self._forget)
        task.add_done_callback(lambda _: still_held.release())
        return self._closing(request.content_type, 503, f"no answer within write_timeout, {self._write_timeout:g} s")

    def _forget(self, task: "asyncio.Task[Response]") -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("a request that had timed out failed", exc_info=task.exception())

    def _closing(self, content_type: str, status: int, message: str) -> Response:
        response = self._wording(content_type, status, message)
        response.headers["Connection"] = "close"
        return response

    def _undecided(self, content_type: str, error: DeliveryError) -> Response:
        """The answer when the authenticator cannot say who the sender is."""
        if isinstance(error, Permanent):
            return self._wording(content_type, http_status(error.code), str(error))
        response = self._wording(content_type, 429 if isinstance(error, Overloaded) else 503, str(error))
        if isinstance(error, Retryable) and error.after is not None:
            response.headers["Retry-After"] = str(max(1, math.ceil(error.after)))
        return response

    def _credentials(self, request: Incoming) -> Mapping[str, tuple[str, ...]]:
        wanted = self._config.auth.request_params if self._config.auth else []
        if not wanted:
            return request.headers
        query = parse_qs(request.query, keep_blank_values=True)
        return {**request.headers, **{name.lower(): tuple(query[name]) for name in wanted if name in query}}
