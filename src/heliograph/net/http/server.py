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
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from heliograph.component.auth import PermissionDenied, ServerAuth, Unauthenticated
from heliograph.component.errors import DeliveryError, Overloaded, Permanent, Retryable
from heliograph.net.address import listen
from heliograph.net.compression import ENCODINGS, TooLarge
from heliograph.net.config import HTTPServerConfig
from heliograph.net.http.body import Body, Budget, Gone, NoRoom, TooSlow
from heliograph.net.http.cors import Cors
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
_SERVER = {"Server": "Heliograph"}


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
        self._aiohttp: _Server | None = None
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Response]] = set()

    async def listen(self, host: str, port: int, context: ssl.SSLContext | None = None) -> int:
        """Listen; the port in use comes back (another one when 0 was asked for). Raises OSError."""
        loop = asyncio.get_running_loop()
        idle = float(self._config.idle_timeout) or self._read_timeout or IDLE_TIMEOUT
        self._aiohttp = _Server(self._serve, lambda: self._on_malformed(""), idle, self._max_connections)
        socket = listen(host, port)
        self._listener = await loop.create_server(self._aiohttp, sock=socket, ssl=context, backlog=1024)
        self._sweeper = loop.create_task(self._sweep(self._aiohttp))
        bound: int = socket.getsockname()[1]
        return bound

    async def close(self, grace: float) -> None:
        """Stop listening, let running requests end for `grace` seconds, close the connections."""
        if self._listener is None or self._aiohttp is None:
            return
        self._listener.close()
        self._listener = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._aiohttp.pre_shutdown()
        await self._aiohttp.shutdown(max(0.0, grace))
        if self._running:
            await asyncio.wait(self._running, timeout=max(0.0, grace))

    async def _sweep(self, server: "_Server") -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_SWEEP, self._header_timeout / 4))
            server.close_slow(loop.time() - self._header_timeout)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._answer(request)
        except Exception:  # noqa: BLE001 - the last resort: an error of ours is answered and logged, not raised into aiohttp
            self._log.exception("answering a request for %s failed", request.path)
            response = self._wording(request.headers.get("Content-Type", ""), 500, "internal error")
        headers = {"Content-Type": response.content_type, **_SERVER, **self._fixed_headers, **response.headers}
        if self._cors is not None and "Vary" not in headers:
            headers |= self._cors.actual(request.headers)
        answer = web.Response(status=response.status, body=response.body or None, headers=headers)
        if not self._config.keep_alives_enabled or response.headers.get("Connection") == "close":
            answer.force_close()
        return answer

    async def _answer(self, request: web.BaseRequest) -> Response:
        headers = request.headers
        if self._cors is not None:
            preflight = self._cors.preflight(request.method, headers)
            if preflight is not None:
                return Response(204, headers=preflight)
        content_type = headers.get("Content-Type", "")
        lowered = _lowered(request)
        auth: Mapping[str, str] = {}
        if self._authenticator is not None:
            try:
                auth = await self._authenticator.authenticate(self._credentials(lowered, request), request.path)
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
        encoding = headers.get("Content-Encoding", "")
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
            whole = Request(request.method, request.path, lowered, content_type, data, _peer(request), auth)
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

    def _credentials(
        self, headers: Mapping[str, tuple[str, ...]], request: web.BaseRequest
    ) -> Mapping[str, tuple[str, ...]]:
        wanted = self._config.auth.request_params if self._config.auth else []
        if not wanted:
            return headers
        query = parse_qs(request.query_string, keep_blank_values=True)
        return {**headers, **{name.lower(): tuple(query[name]) for name in wanted if name in query}}


class _Connection(RequestHandler):
    """One connection. headers_since: when the request whose headers are not complete began, or 0."""

    def __init__(self, manager: "_Server", **options: Any) -> None:
        super().__init__(manager, **options)
        self.headers_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The headers of the first request are awaited from now on: who never sends a byte does not stay."""
        super().connection_made(transport)
        self.headers_since = self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Note when headers begin and when they are complete."""
        before = self._request_count
        super().data_received(data)
        if self._request_count > before:
            self.headers_since = 0.0
        elif self.headers_since == 0.0 and self._waiter is not None:
            self.headers_since = self._loop.time()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called for bytes that are no HTTP: every exception of the handler is caught before."""
        manager = self._manager
        if isinstance(manager, _Server):
            manager.on_garbage()
        answer = web.Response(status=status, text="400 Bad Request" if status == 400 else "", headers=_SERVER)
        answer.force_close()
        return answer


class _Server(web.Server):
    """aiohttp's server with connections of our own."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        on_garbage: Callable[[], None],
        idle: float,
        max_connections: int,
    ) -> None:
        super().__init__(handler)
        self._max_connections = max_connections
        self.on_garbage = on_garbage
        self._options: dict[str, Any] = {
            "keepalive_timeout": idle,
            "access_log": None,
            "auto_decompress": False,
            "max_line_size": 32 * 1024,
            "max_field_size": 32 * 1024,
        }

    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._options)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection in, unless there are too many."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._max_connections:
            # Not at once: aiohttp's task of this connection must find it there when it starts, or it raises.
            self._loop.call_soon(transport.abort)

    def close_slow(self, before: float) -> None:
        """Close connections whose request began before this time and has no complete headers yet."""
        for connection in self.connections:
            if isinstance(connection, _Connection) and 0.0 < connection.headers_since < before:
                connection.force_close()


def _lowered(request: web.BaseRequest) -> dict[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in request.headers.items():
        low = name.lower()
        headers[low] = (*headers[low], value) if low in headers else (value,)
    return headers


def _peer(request: web.BaseRequest) -> str:
    transport = request.transport
    address = None if transport is None else transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) and address else ""
