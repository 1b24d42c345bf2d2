"""A server's connection: requests in, one after another; answers out, in the same order.

Parsing is llhttp's (package httptools) in its strict form. Bounds on what a sender can make this process hold: the
head, the number of headers, what waits of a body, the bytes that chunks may cost beyond what they hold, and how many
requests may follow one that is not answered. Bounds on time: `deadline`, which the server looks at. A connection whose
request was answered before its body was through is not closed at once, since that would take the answer away from a
sender that is still sending: its rest is thrown away for a while.
Source: RFC 9112, 9.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from heliograph.net.http.incoming import Incoming, Refused
from heliograph.net.http.reply import REASONS, SERVER, Reply, encode

LONGEST_HEAD: Final = 64 * 1024
"""Bytes of a request's target and headers; also what chunks may cost beyond what they hold."""
MOST_HEADERS: Final = 256
MOST_PIPELINED: Final = 32
"""Requests that may be there beside the one that is being answered."""
LINGER: Final = 10.0
"""Seconds for which the rest of a refused body is thrown away."""
_DRAIN: Final = 60.0  # seconds for a sender to read its answers


@dataclass(slots=True)
class Serving:
    """What the connections of a server share. handler: answers; it raises nothing. on_garbage: called for what is no
    HTTP. header_seconds, idle_seconds: see HttpServer. most: connections at once. on_begin, on_end: called when a
    connection begins and ends."""

    handler: Callable[[Incoming], Awaitable[Reply]]
    on_garbage: Callable[[], None]
    header_seconds: float
    idle_seconds: float
    most: int
    on_begin: Callable[[], None]
    on_end: Callable[[], None]
    connections: "set[ServerConnection]" = field(default_factory=set)


class ServerConnection(asyncio.Protocol):
    """deadline: the loop's time at which `expire` is to be called."""

    __slots__ = (
        "_ending",
        "_fault",
        "_head_size",
        "_headers",
        "_incoming",
        "_loop",
        "_offered",
        "_overhead",
        "_parser",
        "_paused_reading",
        "_peer",
        "_queue",
        "_serving",
        "_target",
        "_task",
        "_transport",
        "_writable",
        "deadline",
        "draining",
    )

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: HttpRequestParser | None = None
        self._peer = ""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._head_size = self._overhead = 0
        self._incoming: Incoming | None = None
        self._queue: deque[Incoming] = deque()
        self._task: asyncio.Task[None] | None = None
        self._paused_reading = False
        self._writable: asyncio.Future[None] | None = None
        self._fault = 0
        self._offered = b""  # how the body is framed that follows a head with Upgrade
        self._ending = False
        self.draining = False
        self.deadline = math.inf

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it in, unless there are too many."""
        made = cast("asyncio.Transport", transport)
        self._transport = made
        serving = self._serving
        if len(serving.connections) >= serving.most:
            self._ending = True
            made.abort()
            return
        serving.connections.add(self)
        serving.on_begin()
        self._parser = HttpRequestParser(self)
        address = made.get_extra_info("peername")
        self._peer = str(address[0]) if isinstance(address, tuple) and address else ""
        # The headers of the first request are awaited from now on: who never sends a byte does not stay.
        self.deadline = self._loop.time() + serving.header_seconds

    def data_received(self, data: bytes) -> None:
        """Parse, unless what comes does not matter any more."""
        if self._parser is None or self._ending:
            return
        self._overhead += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                data = b""
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._parser = self._after_offer()
            except HttpParserError as error:
                cause = error.__context__
                self._refuse(cause.status if isinstance(cause, Refused) else 400)
                return
        if self._overhead > LONGEST_HEAD:
            self._refuse(431)
        elif len(self._queue) > 1 or (self._incoming is not None and self._incoming.full):
            self._pause()

    def eof_received(self) -> bool:
        """The sender sends nothing more, but may wait for its answers; over TLS that cannot be."""
        self._parser = None
        if self._incoming is not None:
            self._incoming.lose("the sender closed the connection")
        transport = self._transport
        return bool(self._queue) and transport is not None and transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """Over. A handler that runs goes on: it may have handed data over already."""
        self._parser = None
        self._ending = True
        self.deadline = math.inf
        if self._incoming is not None:
            self._incoming.lose("the sender closed the connection")
        self.resume_writing()
        self._serving.connections.discard(self)
        self._serving.on_end()

    def pause_writing(self) -> None:
        """The sender does not read its answers."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """It does again."""
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins, perhaps behind others."""
        if self._offered:
            return
        if len(self._queue) > MOST_PIPELINED:
            raise Refused(400, "too many requests at once")
        self._target, self._headers, self._head_size = b"", [], 0
        self.deadline = self._loop.time() + self._serving.header_seconds

    def on_url(self, url: bytes) -> None:
        """The target, perhaps in parts."""
        if self._offered:
            return
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is thrown away."""
        self._count(len(name) + len(value) + 4)
        if self._headers is not None:
            self._headers.append((name, value))
            if len(self._headers) > MOST_HEADERS:
                raise Refused(431, "too many headers")

    def on_headers_complete(self) -> None:
        """The head is there: it can be answered."""
        if self._offered:
            self._offered = b""
            return
        parser = self._parser
        assert parser is not None
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self._headers or ():
            low = name.decode("latin-1").lower()
            text = value.decode("utf-8", "surrogateescape")
            found[low] = (*found[low], text) if low in found else (text,)
        self._headers = None
        version = parser.get_http_version()
        incoming = Incoming(
            self,
            parser.get_method().decode(),
            self._target.decode("utf-8", "surrogateescape"),
            version,
            found,
            self._peer,
            parser.should_keep_alive() and version == "1.1",
        )
        if parser.should_upgrade():
            if incoming.length:
                self._offered = b"Content-Length: %d" % incoming.length
            elif "transfer-encoding" in found:
                self._offered = b"Transfer-Encoding: chunked"
        self._overhead = 0
        self.deadline = math.inf
        self._incoming = incoming
        self._queue.append(incoming)
        if self._task is None:
            self._task = self._loop.create_task(self._answer_all())

    def on_body(self, body: bytes) -> None:
        """Bytes of the body. Each chunk may cost a few more than it holds."""
        self._overhead = max(0, self._overhead - 16 * len(body) - 16)
        if self._incoming is not None:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._overhead = 0
        if self._offered:
            return
        if self._incoming is not None:
            self._incoming.end()
            self._incoming = None

    def _after_offer(self) -> HttpRequestParser:
        """The parser for what follows a head that offers another protocol (Java's clients offer HTTP/2). The offer is
        not taken up, but llhttp has no more to say: another one is told of a head that frames the body the same way."""
        parser = self._parser = HttpRequestParser(self)
        if self._offered:
            parser.feed_data(b"POST / HTTP/1.1\r\n" + self._offered + b"\r\n\r\n")
        return parser

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > LONGEST_HEAD:
            raise Refused(431, "the head is too long")

    # What a request calls.

    def more(self) -> None:
        """Its body was read."""
        if self._paused_reading and len(self._queue) <= 1:
            self._resume()

    def go_on(self) -> None:
        """It waits for the body of a sender that waits for this."""
        if self._transport is not None and not self._ending and self._queue and self._queue[0] is self._incoming:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # What the server calls.

    def expire(self) -> None:
        """The deadline has passed: nothing more is expected of this sender."""
        self.deadline = math.inf
        if self._queue and self._writable is None and not self._ending:
            self._parser = None
            self.draining = True
        elif self._transport is not None:
            self._transport.abort()

    def drain(self) -> None:
        """End after the requests that are there."""
        self.draining = True
        if not self._queue and not self._ending and self._transport is not None:
            self._ending = True
            self._transport.close()
        elif self._ending:
            self.deadline = min(self.deadline, self._loop.time() + 1.0)

    def abort(self) -> None:
        """End at once."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # Answering.

    async def _answer_all(self) -> None:
        queue = self._queue
        try:
            while queue and not self._ending:
                incoming = queue[0]
                reply = await self._serving.handler(incoming)
                queue.popleft()
                incoming.discard()
                if self._ending:
                    break
                whole = incoming.complete
                last = not queue and (self._parser is None or self.draining) and not self._fault
                close = reply.close or not incoming.keep_alive or not whole or last
                self._write(reply, incoming.method != "HEAD", close)
                if close:
                    queue.clear()
                    self._end(lingering=not whole or self._incoming is not None)
                elif self._writable is not None:
                    self.deadline = self._loop.time() + _DRAIN
                    await self._writable
                    self.deadline = math.inf
                self.more()
        finally:
            self._task = None
            if self._ending:
                queue.clear()
        if self._ending:
            return
        if self._fault:
            self._refuse(self._fault)
            return
        serving = self._serving
        self.deadline = min(
            self.deadline,
            self._loop.time() + (serving.idle_seconds if self._headers is None else serving.header_seconds),
        )

    def _write(self, reply: Reply, with_body: bool, close: bool) -> None:
        assert self._transport is not None
        self._transport.write(encode(reply, with_body, close))

    def _refuse(self, status: int) -> None:
        """No HTTP, or none that is served: after the answers to what came before."""
        self._parser = None
        self._headers = None
        if self._incoming is not None:
            # A handler may be reading the body: it answers, and the connection ends, since the body is not whole.
            self._incoming.lose("it is not framed as HTTP wants it")
            return
        if self._queue:
            self._fault = status
            return
        self._fault = 0
        self._serving.on_garbage()
        text = f"{status} {REASONS[status]}".encode()
        self._write(Reply(status, {"Content-Type": "text/plain; charset=utf-8", **SERVER}, text, True), True, True)
        self._end(lingering=True)

    def _end(self, lingering: bool) -> None:
        self._ending = True
        self._parser = None
        transport = self._transport
        assert transport is not None
        if not lingering or transport.is_closing():
            transport.close()
            return
        self._resume()
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the sender has just gone
                transport.abort()
        self.deadline = self._loop.time() + (1.0 if self.draining else LINGER)

    def _pause(self) -> None:
        if not self._paused_reading and self._transport is not None and not self._transport.is_closing():
            self._paused_reading = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused_reading and self._transport is not None and not self._transport.is_closing():
            self._paused_reading = False
            self._transport.resume_reading()
