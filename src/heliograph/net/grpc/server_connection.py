"""One connection of the gRPC server: an asyncio protocol around the HTTP/2 core.

Rules:
- Output is written once per turn of the event loop, whatever number of calls ended in it.
- Memory: bytes of messages held, plus window that the peer has, never pass the connection's budget; window is given
  back as messages are consumed. When incomplete messages alone fill the budget, the youngest is refused with
  RESOURCE_EXHAUSTED, so that the others can go on. All connections share a second budget (`Serving.no_room`).
- A peer that does not read its answers is not read from either.
- Leaving (`drain`) takes two GOAWAYs around a ping, so that no call under way to us is lost (RFC 9113 section 6.8).
"""

import asyncio
import math
from collections.abc import Iterable
from typing import cast

from heliograph.component.auth import PermissionDenied, Unauthenticated
from heliograph.component.errors import DeliveryError
from heliograph.net.grpc import answers
from heliograph.net.grpc.active_call import ActiveCall, address_of, repeats_pseudo_header
from heliograph.net.grpc.call import Call
from heliograph.net.grpc.connection_life import ConnectionLife
from heliograph.net.grpc.framing import ENCODINGS, PREFIX, PREFIX_LENGTH, Assembler, inflate, parse_timeout
from heliograph.net.grpc.overdue import Overdue
from heliograph.net.grpc.serving import Serving
from heliograph.net.grpc.status import (
    CANCELLED,
    INTERNAL,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
    GrpcError,
    undecided,
)
from heliograph.net.http2 import frames
from heliograph.net.http2.connection import Connection
from heliograph.net.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    HeadersReceived,
    PingReceived,
    PongReceived,
    StreamReset,
)
from heliograph.net.http2.limits import Limits

_WINDOW = 16 << 20
_SLACK = 65536  # of a stream's window: padding and the prefix of the message
_LAST_WORDS = 5.0  # seconds to take the last bytes of a connection that failed
_LINGER = 0.3  # seconds a peer has to close after the last GOAWAY, before we do
_DRAIN_PING = b"draining"


class ServerConnection(asyncio.Protocol):
    """The protocol. closed: done when the connection is gone."""

    def __init__(self, serving: Serving, loop: asyncio.AbstractEventLoop) -> None:
        self._serving = serving
        self._loop = loop
        self._time = loop.time
        self._window = min(_WINDOW, serving.connection_budget)
        self._core = Connection(
            False,
            Limits(
                max_streams=serving.max_streams,
                connection_window=self._window,
                stream_window=serving.max_message_bytes + _SLACK,
                penalties=max(2000, 2 * serving.max_streams),
            ),
        )
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, ActiveCall] = {}
        self._tasks = 0  # running handlers, also of calls that are gone
        self._held = 0  # bytes of messages in memory
        self._partial = 0  # those of messages that are not complete
        self._peer = ""
        self._flushing = False
        self._paused = False
        self._draining = False
        self._last_goaway = False
        self._life = ConnectionLife(self, serving, loop)
        self._overdue = Overdue(self, loop, serving.body_grace)
        self.closed: asyncio.Future[None] = loop.create_future()

    @property
    def handshaken(self) -> bool:
        """The peer's SETTINGS came."""
        return self._core.ready

    @property
    def busy(self) -> bool:
        """There are calls."""
        return bool(self._calls)

    @property
    def calls(self) -> Iterable[ActiveCall]:
        """Those that have no answer yet."""
        return self._calls.values()

    @property
    def withholding(self) -> bool:
        """The peer cannot send because we give it no window."""
        return self._core.credit < _SLACK

    # ---------------------------------------------------------------- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._serving.connections) >= self._serving.max_connections:
            self._transport.abort()
            return
        self._serving.connections.add(self)
        self._peer = address_of(transport.get_extra_info("peername"))
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() not in ("h2", None):
            transport.close()
            return
        self._life.begin()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._serving.connections.discard(self)
        self._transport = None
        self._life.end()
        self._overdue.stop()
        self._drop_calls()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self.flush()

    def data_received(self, data: bytes) -> None:
        now = self._time()
        self._life.last_read = now
        for event in self._core.receive(data, now):
            kind = type(event)
            if kind is DataReceived:
                self._on_data(event)  # type: ignore[arg-type]
            elif kind is HeadersReceived:
                self._on_headers(event)  # type: ignore[arg-type]
            else:
                self._on_other(event)
        self._regulate()
        self.flush()

    def flush(self) -> None:
        """Write what may be written."""
        self._flushing = False
        transport = self._transport
        if transport is None:
            return
        while not self._paused:
            output = self._core.take()
            if not output:
                break
            transport.write(output)
        if self._last_goaway:
            self._close_when_done()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self.flush)

    # ------------------------------------------------------------------- events

    def _on_headers(self, event: HeadersReceived) -> None:
        if event.trailers:
            self._body_ended(event.stream_id)
            return
        stream_id = event.stream_id
        if event.problem:
            self._core.reset(stream_id, frames.PROTOCOL_ERROR)
            return
        if event.oversized:
            limit = self._core.limits.max_header_list
            self._refuse(stream_id, GrpcError(RESOURCE_EXHAUSTED, f"grpc: header list larger than max ({limit})"))
            return
        headers = event.headers
        found = dict(headers)
        if len(found) != len(headers) and repeats_pseudo_header(headers):
            self._core.reset(stream_id, frames.PROTOCOL_ERROR)
            return
        path = found.get(":path", "")
        handler = self._serving.handlers.get(path)
        if (
            handler is None
            or found.get(":method") != "POST"
            or not found.get("content-type", "").startswith("application/grpc")
        ):
            self._on_odd_request(stream_id, path, found)
            return
        encoding = found.get("grpc-encoding", "")
        if encoding and encoding != "identity" and encoding not in ENCODINGS:
            text = f"grpc: Decompressor is not installed for grpc-encoding {encoding[:64]!r}"
            self._refuse(stream_id, GrpcError(UNIMPLEMENTED, text), answers.ACCEPT_ENCODING)
            return
        deadline: float | None = None
        timeout = found.get("grpc-timeout")
        if timeout is not None:
            seconds = parse_timeout(timeout)
            if seconds is None:
                self._refuse(stream_id, GrpcError(INTERNAL, f"malformed grpc-timeout: {timeout[:64]!r}"))
                return
            deadline = self._life.last_read + seconds
        if self._tasks >= self._serving.max_streams:
            self._core.reset(stream_id, frames.REFUSED_STREAM)
            return
        call = Call(path, self._peer, headers, deadline)
        active = ActiveCall(stream_id, call, handler, encoding, self._life.last_read)
        self._calls[stream_id] = active
        self._overdue.watch(active)
        if self._serving.authenticate is not None:
            active.body = self._loop.create_future()
            self._start(active, self._authenticate_and_serve(active, active.body))
        if event.ended:
            self._body_ended(stream_id)

    def _on_odd_request(self, stream_id: int, path: str, found: dict[str, str]) -> None:
        """Not a call that we serve: answered in HTTP when it is not gRPC, else with UNIMPLEMENTED."""
        if ":method" not in found or not path or ":scheme" not in found:
            self._core.reset(stream_id, frames.PROTOCOL_ERROR)
        elif found[":method"] != "POST":
            self._end_early(stream_id, answers.METHOD_NOT_ALLOWED)
        elif not found.get("content-type", "").startswith("application/grpc"):
            self._end_early(stream_id, answers.UNSUPPORTED_MEDIA_TYPE)
        else:
            self._refuse(stream_id, self._serving.unknown(path))

    def _on_data(self, event: DataReceived) -> None:
        active = self._calls.get(event.stream_id)
        if active is None:
            return
        data = event.data
        size = len(data)
        if (full := self._serving.no_room(size, 0)) is not None:
            self._fail_early(active, full)
            return
        self._hold(active, size)
        assembler = active.assembler
        if assembler is None:
            if event.ended and size >= PREFIX_LENGTH:
                flag, length = PREFIX.unpack_from(data)
                if length == size - PREFIX_LENGTH and flag <= 1 and length <= self._serving.max_message_bytes:
                    self._body_complete(active, flag == 1, data[PREFIX_LENGTH:])
                    return
            assembler = active.assembler = Assembler(self._serving.max_message_bytes)
        self._partial += size
        try:
            assembler.add(data)
        except GrpcError as error:
            self._fail_early(active, error)
            return
        if event.ended:
            self._body_ended(event.stream_id)

    def _body_ended(self, stream_id: int) -> None:
        active = self._calls.get(stream_id)
        if active is None:
            return
        try:
            compressed, message = (active.assembler or Assembler(0)).message()
        except GrpcError as error:
            self._fail_early(active, error)
            return
        self._partial -= active.held
        active.assembler = None
        self._body_complete(active, compressed, message)

    def _body_complete(self, active: ActiveCall, compressed: bool, message: bytes) -> None:
        active.body_since = math.inf
        if active.body is not None:
            if not active.body.done():
                active.body.set_result((compressed, message))
        else:
            self._start(active, self._serve(active, compressed, message))

    def _on_other(self, event: Event) -> None:
        if isinstance(event, StreamReset):
            active = self._calls.get(event.stream_id)
            if active is not None:
                self._cancel(active, None)
        elif isinstance(event, PingReceived):
            if self._life.too_many_pings():
                self._core.goaway(self._core.last_peer_stream, frames.ENHANCE_YOUR_CALM, b"too_many_pings")
                self._close_now()
        elif isinstance(event, PongReceived):
            self._life.pong()
            if event.payload == _DRAIN_PING and self._draining:
                self.last_goaway()
        elif isinstance(event, ConnectionFailed):
            self._serving.logger.debug("gRPC connection of %s: %s", self._peer, event.reason)
            self._drop_calls()
            self._close_now()

    # -------------------------------------------------------------------- calls

    def _start(self, active: ActiveCall, work: "answers.Work") -> None:
        self._tasks += 1
        active.task = self._loop.create_task(work)

    async def _authenticate_and_serve(self, active: ActiveCall, body: "asyncio.Future[tuple[bool, bytes]]") -> None:
        authenticate = self._serving.authenticate
        assert authenticate is not None
        active.started = True
        call = active.call
        try:
            call.auth = await authenticate(call.metadata, call.path)
            compressed, message = await body
        except Unauthenticated as error:
            self._ended(active, GrpcError(UNAUTHENTICATED, str(error) or "unauthenticated"), b"")
        except PermissionDenied as error:
            self._ended(active, GrpcError(PERMISSION_DENIED, str(error) or "permission denied"), b"")
        except DeliveryError as error:
            self._ended(active, undecided(error), b"")
        except asyncio.CancelledError:
            self._ended(active, active.ending, b"")
        except Exception:
            self._serving.logger.exception("authentication of %s failed", call.path)
            self._ended(active, GrpcError(INTERNAL, "authentication failed"), b"")
        else:
            await self._serve(active, compressed, message)

    async def _serve(self, active: ActiveCall, compressed: bool, message: bytes) -> None:
        active.started = True
        try:
            if compressed:
                message = self._inflate(active, message)
            reply = await active.handler(message, active.call)
        except GrpcError as error:
            self._ended(active, error, b"")
        except asyncio.CancelledError:
            foreign = active.ending is None and active.stream_id in self._calls
            self._ended(active, GrpcError(CANCELLED, "the call was cancelled") if foreign else active.ending, b"")
        except Exception:
            self._serving.logger.exception("the handler of %s failed", active.call.path)
            self._ended(active, GrpcError(UNKNOWN, "the handler failed; see the server's log"), b"")
        else:
            self._ended(active, None, reply)

    def _inflate(self, active: ActiveCall, packed: bytes) -> bytes:
        """Decompress a message, within the budget. Raises GrpcError."""
        message = inflate(packed, active.encoding, self._serving.max_message_bytes)
        if (full := self._serving.no_room(len(message), self._held)) is not None:
            raise full
        self._hold(active, len(message))
        return message

    def _hold(self, active: ActiveCall, size: int) -> None:
        active.held += size
        self._held += size
        self._serving.held += size

    def _ended(self, active: ActiveCall, error: GrpcError | None, reply: bytes) -> None:
        """A task ended: answer, unless the call is gone."""
        self._tasks -= 1
        self._release(active)
        stream_id = active.stream_id
        if self._calls.pop(stream_id, None) is not None:
            self._life.answered()
            core = self._core
            if error is None:
                core.send_headers(stream_id, answers.RESPONSE, False)
                core.send_body(stream_id, PREFIX.pack(0, len(reply)) + reply, answers.OK_TRAILERS)
            else:
                core.send_headers(stream_id, answers.trailers_only(error), True)
                core.reset(stream_id, frames.NO_ERROR)  # only where the peer has not ended it
            self._life.call_ended()
        self._regulate()
        self._flush_soon()

    def _release(self, active: ActiveCall) -> None:
        if active.assembler is not None:
            self._partial -= active.held
            active.assembler = None
        self._held -= active.held
        self._serving.held -= active.held
        active.held = 0

    def _fail_early(self, active: ActiveCall, error: GrpcError) -> None:
        """Answer a call whose body is not complete, or is wrong."""
        del self._calls[active.stream_id]
        self._release(active)
        self._cancel_task(active)
        self._refuse(active.stream_id, error)
        self._life.call_ended()

    def _refuse(self, stream_id: int, error: GrpcError, more: bytes = b"") -> None:
        self._end_early(stream_id, answers.trailers_only(error) + more)

    def _end_early(self, stream_id: int, block: bytes) -> None:
        self._core.send_headers(stream_id, block, True)
        self._core.reset(stream_id, frames.NO_ERROR)

    def _cancel(self, active: ActiveCall, error: GrpcError | None) -> None:
        """End a call from outside: answered with `error`, or not at all when the peer is gone or lost interest."""
        if active.started and error is not None:
            active.ending = error
            self._cancel_task(active)
        elif error is not None:
            self._fail_early(active, error)
        else:
            del self._calls[active.stream_id]
            self._release(active)
            self._cancel_task(active)
            self._life.call_ended()

    def _cancel_task(self, active: ActiveCall) -> None:
        """Cancel the handler. A task that has not begun never will, so that it is counted off here."""
        if active.task is not None:
            active.task.cancel()
            if not active.started:
                self._tasks -= 1

    def _drop_calls(self) -> None:
        for active in list(self._calls.values()):
            self._cancel(active, None)

    def end_call(self, active: ActiveCall, error: GrpcError) -> None:
        """End a call whose time is over."""
        self._cancel(active, error)
        self._flush_soon()

    def _regulate(self) -> None:
        """Give window back as far as the budget allows."""
        core = self._core
        budget = self._serving.connection_budget
        room = min(self._window, budget - self._held)
        if room - core.credit >= self._window // 4:
            core.grant(room - core.credit)
        elif core.credit < _SLACK and self._partial == self._held >= budget // 2:
            youngest = max(active.stream_id for active in self._calls.values() if active.assembler is not None)
            text = f"grpc: incomplete messages of this connection hold more than {budget} bytes"
            self._fail_early(self._calls[youngest], GrpcError(RESOURCE_EXHAUSTED, text, 1.0))
            self._regulate()

    # -------------------------------------------------------------------- ending

    def ping(self) -> None:
        """Send a keepalive ping."""
        self._core.ping(b"keepaliv")
        self.flush()

    def drain(self, reason: str) -> None:
        """Leave in peace: tell the peer, finish the calls that are on their way, then close."""
        if self._draining or self._transport is None:
            return
        self._draining = True
        if not self._core.ready:
            self.kill()
            return
        self._core.goaway(frames.MAX_STREAM_ID, frames.NO_ERROR, reason.encode())
        self._core.ping(_DRAIN_PING)
        self._life.draining()
        self.flush()

    def last_goaway(self) -> None:
        """The second step of leaving: the peer has seen the first GOAWAY, newer streams are not ours."""
        if not self._last_goaway:
            self._last_goaway = True
            self._core.goaway(self._core.refuse_new_streams(), frames.NO_ERROR)
            self.flush()

    def abort_calls(self, reason: str) -> None:
        """End what is still running with UNAVAILABLE, and leave."""
        self._draining = True
        for active in list(self._calls.values()):
            self._cancel(active, GrpcError(UNAVAILABLE, reason))
        self.last_goaway()

    def kill(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _close_when_done(self) -> None:
        if not self._calls and self._core.idle and not self._paused and not self._life.lingering:
            self._life.linger(_LINGER)

    def _close_now(self) -> None:
        """Write what there is and close; a peer that does not take it has a few seconds."""
        self.flush()
        self._life.linger(_LAST_WORDS)
        if self._transport is not None:
            self._transport.close()
