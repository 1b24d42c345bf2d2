"""One connection of the gRPC client: an asyncio protocol around the HTTP/2 core.

Rules:
- Calls over the peer's limit of streams wait here, in order.
- A call ends exactly once: with its message, a GrpcError, a TimeoutError, or Unprocessed, when the server surely
  never saw it and it may be sent again.
- Output is written once per turn of the event loop.
"""

import asyncio
import math
from collections import deque
from typing import cast

from heliograph.net.grpc.framing import Assembler, inflate
from heliograph.net.grpc.keepalive import ClientKeepalive
from heliograph.net.grpc.status import (
    CANCELLED,
    INTERNAL,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    UNKNOWN,
    GrpcError,
    decode_message,
    decode_retry_after,
    status_of_http,
)
from heliograph.net.http2 import frames
from heliograph.net.http2.connection import Connection
from heliograph.net.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PongReceived,
    SettingsReceived,
    StreamReset,
)
from heliograph.net.http2.limits import Limits

_WINDOW = 16 << 20
_SLACK = 65536
_LAST_STREAM = frames.MAX_STREAM_ID - 2


class Unprocessed(Exception):
    """The server did not process this call, and says so. refused: it is there, and wants fewer streams."""

    def __init__(self, reason: str, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class _Pending:
    """A call that was not answered yet. stream_id is 0 while it waits for a stream."""

    __slots__ = ("answer", "assembler", "block", "body", "encoding", "status", "stream_id", "timer")

    def __init__(self, block: bytes, body: bytes, answer: "asyncio.Future[bytes]") -> None:
        self.block = block
        self.body = body
        self.answer = answer
        self.stream_id = 0
        self.encoding = ""
        self.status = ""
        self.assembler: Assembler | None = None
        self.timer: asyncio.TimerHandle | None = None


class ClientConnection(asyncio.Protocol):
    """The protocol. ready: done when the server's SETTINGS came, or an OSError. closed: done when it is gone."""

    def __init__(
        self, target: str, max_message: int, keepalive: ClientKeepalive, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._target = target
        self._max_message = max_message
        self._keepalive = keepalive
        self._ping_every = keepalive.time
        self._loop = loop
        limits = Limits(connection_window=_WINDOW, stream_window=max_message + _SLACK, max_streams=0)
        self._core = Connection(True, limits)
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, _Pending] = {}
        self._waiting: deque[_Pending] = deque()
        self._held = 0
        self._flushing = False
        self._paused = False
        self._leaving = False
        self._why_leaving = ""
        self._last_read = loop.time()
        self._pinged_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self.ready: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    @property
    def usable(self) -> bool:
        """New calls can be made."""
        return self._transport is not None and not self._leaving

    async def call(self, block: bytes, body: bytes, timeout: float) -> bytes:
        """Send a request and wait for its answer's message. timeout: seconds.

        Raises GrpcError, TimeoutError, Unprocessed.
        """
        if not self.usable:
            raise Unprocessed(self._why_leaving or "the connection is closed")
        answer: asyncio.Future[bytes] = self._loop.create_future()
        pending = _Pending(block, body, answer)
        pending.timer = self._loop.call_later(timeout, self._overdue, pending)
        if self._waiting or len(self._core.streams) >= self._core.peer.max_concurrent_streams:
            self._waiting.append(pending)
        else:
            self._begin(pending)
        try:
            return await answer
        except asyncio.CancelledError:
            self._give_up(pending)
            raise
        finally:
            pending.timer.cancel()

    # ---------------------------------------------------------------- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self._not_ready(ConnectionError("the server does not offer HTTP/2 over TLS (ALPN h2)"))
            transport.close()
            return
        self._schedule_ping()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        cause = self._why_leaving or (str(exc) if exc is not None and str(exc) else "closed by the server")
        self._not_ready(ConnectionError(f"the connection ended before the server spoke HTTP/2 ({cause})"))
        self._leaving = True
        for pending in list(self._waiting):
            self._end(pending, Unprocessed(cause))
        self._waiting.clear()
        error = GrpcError(UNAVAILABLE, f"the connection to {self._target} was lost: {cause}")
        for pending in list(self._calls.values()):
            self._end(pending, error)
        self._calls.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def eof_received(self) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        now = self._loop.time()
        self._last_read = now
        for event in self._core.receive(data, now):
            kind = type(event)
            if kind is DataReceived:
                self._on_data(cast(DataReceived, event))
            elif kind is HeadersReceived:
                self._on_headers(cast(HeadersReceived, event))
            else:
                self._on_other(event)
        self._progress()
        self._flush()

    def _flush(self) -> None:
        self._flushing = False
        transport = self._transport
        while transport is not None and not self._paused:
            output = self._core.take()
            if not output:
                return
            transport.write(output)

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    # ------------------------------------------------------------------- events

    def _on_headers(self, event: HeadersReceived) -> None:
        pending = self._calls.get(event.stream_id)
        if pending is None:
            return
        if event.problem or event.oversized:
            self._core.reset(event.stream_id, frames.PROTOCOL_ERROR)
            what = event.problem or "header list too large"
            self._end(pending, GrpcError(INTERNAL, f"{self._target} sent a malformed answer: {what}"))
            return
        found = dict(event.headers)
        if not event.trailers:
            pending.encoding = found.get("grpc-encoding", "")
            code, kind = found.get(":status", ""), found.get("content-type", "")
            if "grpc-status" not in found and (code != "200" or not kind.startswith("application/grpc")):
                self._core.reset(event.stream_id, frames.CANCEL)
                status = status_of_http(int(code)) if code.isascii() and code.isdigit() else UNKNOWN
                text = f"{self._target} did not answer in gRPC: HTTP status {code[:16]!r}, content-type {kind[:64]!r}"
                self._end(pending, GrpcError(status, text))
                return
        if event.ended:
            self._finish(pending, found)

    def _on_data(self, event: DataReceived) -> None:
        pending = self._calls.get(event.stream_id)
        if pending is None:
            return
        assembler = pending.assembler
        if assembler is None:
            assembler = pending.assembler = Assembler(self._max_message)
        self._held += len(event.data)
        try:
            assembler.add(event.data)
        except GrpcError as error:
            self._core.reset(event.stream_id, frames.CANCEL)
            self._end(pending, error)
            return
        if event.ended:
            text = f"{self._target} closed the stream without sending trailers"
            self._end(pending, GrpcError(INTERNAL, text))

    def _finish(self, pending: _Pending, found: dict[str, str]) -> None:
        text = found.get("grpc-status")
        if text is None or not text.isascii() or not text.isdigit():
            self._end(pending, GrpcError(UNKNOWN, f"{self._target} sent no grpc-status"))
            return
        status = int(text)
        if status != 0:
            message = decode_message(found.get("grpc-message", "")) or "the server gave no reason"
            self._end(pending, GrpcError(status, message, _retry_after(found)))
            return
        try:
            compressed, message_bytes = (pending.assembler or Assembler(0)).message()
            if compressed:
                message_bytes = inflate(message_bytes, pending.encoding, self._max_message)
        except GrpcError as error:
            self._end(pending, error)
            return
        self._end(pending, message_bytes)

    def _on_other(self, event: Event) -> None:
        if isinstance(event, StreamReset):
            pending = self._calls.get(event.stream_id)
            if pending is not None:
                self._end(pending, self._reset_error(event))
        elif isinstance(event, SettingsReceived):
            if not self.ready.done():
                self.ready.set_result(None)
        elif isinstance(event, PongReceived):
            self._pinged_at = math.inf
        elif isinstance(event, GoAwayReceived):
            self._on_goaway(event)
        elif isinstance(event, ConnectionFailed):
            self._leave(f"it broke HTTP/2: {event.reason}")
            self._flush()
            if self._transport is not None:
                self._transport.close()

    def _on_goaway(self, event: GoAwayReceived) -> None:
        reason = event.debug.decode("utf-8", "replace")[:256]
        self._leave(f"GOAWAY {frames.error_name(event.code)}{' ' + reason if reason else ''}")
        if event.code == frames.ENHANCE_YOUR_CALM and event.debug == b"too_many_pings":
            self._ping_every = self._ping_every * 2
        for stream_id in [stream_id for stream_id in self._calls if stream_id > event.last_stream_id]:
            pending = self._calls[stream_id]
            self._core.reset(stream_id, frames.CANCEL)
            self._end(pending, Unprocessed(self._why_leaving))

    def _reset_error(self, event: StreamReset) -> Exception:
        if event.by_peer and event.code == frames.REFUSED_STREAM:
            return Unprocessed("REFUSED_STREAM", refused=True)
        if not event.by_peer:
            return GrpcError(INTERNAL, f"{self._target} broke HTTP/2: {event.reason}")
        status = INTERNAL
        if event.code == frames.CANCEL:
            status = CANCELLED
        elif event.code == frames.ENHANCE_YOUR_CALM:
            status = RESOURCE_EXHAUSTED
        return GrpcError(status, f"{self._target} reset the stream: {frames.error_name(event.code)}")

    # -------------------------------------------------------------------- calls

    def _begin(self, pending: _Pending) -> None:
        pending.stream_id = self._core.open_stream(pending.block, pending.body)
        pending.body = b""
        self._calls[pending.stream_id] = pending
        if pending.stream_id >= _LAST_STREAM:
            self._leave("its stream ids are used up")
        self._flush_soon()

    def _end(self, pending: _Pending, result: bytes | Exception) -> None:
        self._calls.pop(pending.stream_id, None)
        if pending.assembler is not None:
            self._held -= pending.assembler.size
        self._core.reset(pending.stream_id, frames.CANCEL)  # where the request is not all sent, nobody wants the rest
        if pending.answer.done():
            return
        if isinstance(result, bytes):
            pending.answer.set_result(result)
        else:
            pending.answer.set_exception(result)

    def _overdue(self, pending: _Pending) -> None:
        if not pending.answer.done():
            self._give_up(pending)
            pending.answer.set_exception(TimeoutError())

    def _give_up(self, pending: _Pending) -> None:
        """The caller does not want the answer any more."""
        if pending.stream_id == 0:
            if pending in self._waiting:
                self._waiting.remove(pending)
            return
        if self._calls.pop(pending.stream_id, None) is not None:
            if pending.assembler is not None:
                self._held -= pending.assembler.size
            self._core.reset(pending.stream_id, frames.CANCEL)
            self._progress()
            self._flush_soon()

    def _progress(self) -> None:
        """Start calls that wait, give window back, and close when the last call of a leaving connection is done."""
        core = self._core
        while self._waiting and not self._leaving and len(core.streams) < core.peer.max_concurrent_streams:
            pending = self._waiting.popleft()
            if not pending.answer.done():
                self._begin(pending)
        room = _WINDOW - core.credit - self._held
        if room >= _WINDOW // 4 or (core.credit < _SLACK and self._held):
            core.grant(max(room, _SLACK))
        if self._leaving and not self._calls and self._transport is not None:
            self._flush()
            self._transport.close()

    # ------------------------------------------------------------------- ending

    def close(self) -> None:
        """Say goodbye and close; calls that run end with UNAVAILABLE."""
        self._leave("the channel was closed")
        for pending in list(self._calls.values()):
            self._core.reset(pending.stream_id, frames.CANCEL)
            self._end(pending, GrpcError(UNAVAILABLE, f"the channel to {self._target} was closed"))
        if self._transport is not None:
            self._core.goaway(0, frames.NO_ERROR)
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
        if self.ready.done() and not self.ready.cancelled():
            self.ready.exception()
        else:
            self.ready.cancel()

    def _leave(self, why: str) -> None:
        self._leaving = True
        self._why_leaving = self._why_leaving or why
        for pending in list(self._waiting):
            self._end(pending, Unprocessed(why))
        self._waiting.clear()

    def _not_ready(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)

    # ---------------------------------------------------------------- keepalive

    def _schedule_ping(self) -> None:
        if math.isinf(self._ping_every) or self._transport is None:
            return
        due = self._pinged_at + self._keepalive.timeout
        if self._pinged_at == math.inf:
            due = self._last_read + self._ping_every
        self._timer = self._loop.call_at(max(due, self._loop.time() + 0.05), self._ping_due)

    def _ping_due(self) -> None:
        now = self._loop.time()
        if self._pinged_at < math.inf:
            if self._last_read <= self._pinged_at and now >= self._pinged_at + self._keepalive.timeout:
                self._leave(f"no answer to a keepalive ping within {self._keepalive.timeout:g} s")
                if self._transport is not None:
                    self._transport.abort()
                return
            if self._last_read > self._pinged_at:
                self._pinged_at = math.inf
        elif now >= self._last_read + self._ping_every:
            if self._calls or self._keepalive.permit_without_stream:
                self._pinged_at = now
                self._core.ping(b"keepaliv")
                self._flush()
            else:
                self._last_read = now
        self._schedule_ping()


def _retry_after(found: dict[str, str]) -> float | None:
    details = found.get("grpc-status-details-bin")
    return None if details is None else decode_retry_after(details)
