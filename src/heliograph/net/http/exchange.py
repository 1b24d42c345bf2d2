"""A client's connection: one request and its answer at a time, the answer's body as it comes.

The bytes of an answer are parsed by llhttp (package httptools), in its strict form; what is not read yet is held up at
256 KiB by TCP itself. A head is bounded too. After an answer that was read to its end, the connection may carry the
next request, unless one of both sides said that it closes it.
Source: RFC 9112.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, cast

from httptools import HttpParserError, HttpResponseParser

from heliograph.net.http.decode import Decoder
from heliograph.net.http.errors import BrokenAnswer, Disconnected, TransportError

LONGEST_HEAD: Final = 256 * 1024
"""Bytes of an answer's head, and of the overhead of its body's chunks beyond what chunks need."""
MOST_HEADERS: Final = 512
_HELD: Final = 256 * 1024
_SLICE: Final = 256 * 1024


class Answering:
    """An answer whose head has come. headers: names in lower case; several of one name joined by ", ", but Set-Cookie,
    which is in `cookies`. The body is read in order by `piece`, `iter_any` or `read`; they raise TransportError, and
    TimeoutError when nothing comes for `read_seconds`."""

    __slots__ = ("_connection", "_decoder", "_plain", "cookies", "headers", "read_seconds", "reason", "status")

    def __init__(self, connection: "ClientConnection", read_seconds: float | None) -> None:
        self._connection = connection
        self._decoder: Decoder | None = None
        self._plain: Iterator[bytes] | None = None
        self.read_seconds = read_seconds
        self.status = 0
        self.reason = ""
        self.headers: dict[str, str] = {}
        self.cookies: list[str] = []

    @property
    def content_type(self) -> str:
        """In lower case, without parameters; application/octet-stream when the answer does not say."""
        return self.headers.get("content-type", "application/octet-stream").partition(";")[0].strip().lower()

    async def piece(self) -> bytes:
        """The next piece of the body, decompressed; b"" at its end."""
        if self._decoder is None:
            encoding = self.headers.get("content-encoding", "").strip().lower()
            if encoding in ("", "identity"):
                return await self._connection.piece(self.read_seconds)
            self._decoder = Decoder(encoding)
        while True:
            if self._plain is not None:
                for plain in self._plain:
                    return plain
            raw = await self._connection.piece(self.read_seconds)
            if not raw:
                self._decoder.end()
                return b""
            self._plain = self._decoder.feed(raw)

    def iter_any(self) -> "Pieces":
        """The body in the pieces in which it comes, for `async for`."""
        return Pieces(self)

    async def read(self, limit: int) -> bytes:
        """The first `limit` bytes of the body, decompressed."""
        pieces = bytearray()
        while len(pieces) < limit and (piece := await self.piece()):
            pieces += piece
        return bytes(pieces[:limit])


class Pieces:
    """The pieces of a body. No generator: one that is left in the middle would be ended by the loop, later."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Answering) -> None:
        self._answer = answer

    def __aiter__(self) -> "Pieces":
        return self

    async def __anext__(self) -> bytes:
        piece = await self._answer.piece()
        if not piece:
            raise StopAsyncIteration
        return piece


class ClientConnection(asyncio.Protocol):
    """on_lost: called once when the connection is gone. lost: it is. reusable: another request may follow."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: HttpResponseParser | None = None
        self._answer: Answering | None = None
        self._error: TransportError | None = None
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._paused_reading = self._paused_writing = False
        self._head_complete = self._complete = self._begun = False
        self._until_end = False
        self._overhead = 0
        self._headers = 0
        self._waiter: asyncio.Future[None] | None = None
        self.lost = False
        self.reusable = True
        self.on_lost: Callable[[], None] = _nothing
        self.expiry: asyncio.TimerHandle | None = None

    async def exchange(self, head: bytes, body: bytes | None, read_seconds: float | None) -> Answering:
        """Send a request; its answer when the head is there. Raises TransportError, TimeoutError."""
        if self._transport is None or self.lost or self._transport.is_closing():
            raise Disconnected
        answer = self._answer = Answering(self, read_seconds)
        self._head_complete = self._complete = self._begun = self._until_end = False
        self._overhead = self._headers = 0
        if body is None or len(body) < _SLICE:
            self._transport.write(head + body if body else head)
        else:
            await self._send(self._transport, head, memoryview(body))
        while not self._head_complete:
            if self._error is not None:
                raise self._error
            await self._wait(read_seconds)
        return answer

    async def piece(self, read_seconds: float | None) -> bytes:
        """The next bytes of the body as they were sent; b"" at its end. Raises TransportError, TimeoutError."""
        while not self._pieces:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait(read_seconds)
        piece = self._pieces.popleft()
        self._held -= len(piece)
        if self._paused_reading and self._held < _HELD // 2 and self._transport is not None and not self.lost:
            self._paused_reading = False
            self._transport.resume_reading()
        return piece

    @property
    def idle(self) -> bool:
        """Whether the last answer was read to its end and the connection can carry another."""
        return self._complete and not self._pieces and self.reusable and not self.lost

    def rest(self) -> None:
        """No answer is waited for: whatever comes now ends the connection."""
        self._answer = None

    def abort(self) -> None:
        """End it at once: a farewell over TLS would wait for the other side."""
        self.reusable = self._until_end = False
        if self._transport is not None:
            self._transport.abort()

    async def _send(self, transport: asyncio.Transport, head: bytes, body: memoryview) -> None:
        """A large body in slices, as the socket takes them. An answer that comes before its end stops it."""
        transport.write(head)
        for start in range(0, len(body), _SLICE):
            if self.lost or self._begun or transport.is_closing():
                self.reusable = False
                return
            transport.write(body[start : start + _SLICE])
            while self._paused_writing and not (self.lost or self._begun):
                await self._wait(None)

    async def _wait(self, seconds: float | None) -> None:
        """Until something happens. Raises TimeoutError."""
        waiter = self._waiter = self._loop.create_future()
        try:
            if seconds is None:
                await waiter
            else:
                async with asyncio.timeout(seconds):
                    await waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: TransportError) -> None:
        if self._error is None:
            self._error = error
        self.abort()
        self._wake()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Parse. Bytes that nobody asked for, or that are no HTTP, end the connection."""
        if self._parser is None or self._answer is None or self._complete or self._error is not None:
            self.abort()
            return
        self._begun = True
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(error.__context__ if isinstance(error.__context__, TransportError) else _no_http(error))
            return
        except Exception as error:  # noqa: BLE001 - an upgrade (HttpParserUpgrade is no HttpParserError)
            self._fail(_no_http(error))
            return
        if self._overhead > LONGEST_HEAD:
            self._fail(BrokenAnswer("the answer's head is too long"))
        elif self._held > _HELD and not self._paused_reading and self._transport is not None and not self.lost:
            self._paused_reading = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The server sends nothing more."""

    def connection_lost(self, exc: Exception | None) -> None:
        """A body without a length is complete now; anything else was cut off."""
        self.lost = True
        self.reusable = False
        self._parser = None
        if self._until_end and exc is None:
            self._complete = True
        elif not self._complete and self._error is None:
            self._error = BrokenAnswer("the answer was cut off") if self._begun else Disconnected()
            self._error.__cause__ = exc
        self._wake()
        self.on_lost()
        self.on_lost = _nothing

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._paused_writing = True

    def resume_writing(self) -> None:
        """It takes more."""
        self._paused_writing = False
        self._wake()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A second answer is one that nobody asked for; after 1xx comes the real one."""
        if self._complete:
            raise BrokenAnswer("the server sent more than the answer")
        assert self._answer is not None
        self._answer.headers.clear()
        self._answer.cookies.clear()
        self._answer.reason = ""

    def on_status(self, status: bytes) -> None:
        """The reason phrase, perhaps in parts."""
        assert self._answer is not None
        self._answer.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is thrown away."""
        answer = self._answer
        self._headers += 1
        if self._headers > MOST_HEADERS:
            raise BrokenAnswer(f"the answer has more than {MOST_HEADERS} headers")
        if answer is None or self._head_complete:
            return
        low, text = name.decode("latin-1").lower(), value.decode("utf-8", "surrogateescape")
        if low == "set-cookie":
            answer.cookies.append(text)
        else:
            answer.headers[low] = f"{answer.headers[low]}, {text}" if low in answer.headers else text

    def on_headers_complete(self) -> None:
        """The head is there; that of a 1xx is not the one."""
        answer, parser = self._answer, self._parser
        assert answer is not None
        assert parser is not None
        answer.status = parser.get_status_code()
        if answer.status < 200:
            if answer.status == 101:
                raise BrokenAnswer("the server switched protocols, which nobody asked for")
            return
        self._overhead = 0
        self._head_complete = True
        headers = answer.headers
        coding = headers.get("transfer-encoding", "").lower()
        self._until_end = "content-length" not in headers and coding.rpartition(",")[2].strip() != "chunked"
        if not parser.should_keep_alive():
            self.reusable = False

    def on_body(self, body: bytes) -> None:
        """Bytes of the body. Each chunk may cost a few bytes more than it holds."""
        self._overhead = max(0, self._overhead - len(body) * 16 - 16)
        self._pieces.append(body)
        self._held += len(body)

    def on_message_complete(self) -> None:
        """The end of the answer."""
        if self._head_complete:
            self._complete = True


def _nothing() -> None:
    """What an unused connection tells."""


def _no_http(error: Exception) -> BrokenAnswer:
    return BrokenAnswer(f"the answer is no HTTP: {str(error) or type(error).__name__}")
