"""One HTTP/2 connection (RFC 9113), either side, without I/O.

`receive` takes bytes as they come and returns events; the other methods queue frames; `take` hands out what is to be
written. Nothing here raises for what a peer does: a broken rule ends in ConnectionFailed with a GOAWAY in the output.

Rules:
- Data a driver sends waits here until the peer's windows allow it; streams take turns, a frame each.
- Window of the connection is given back by `grant`, when the driver says so: this is how it bounds what a peer
  can have in memory. A stream's window is never given back: it is as large as a message may be, and a unary call
  has one message.
- Whatever costs the peer nothing and us something (pings, settings, resets, empty frames, frames of dead streams)
  adds to a balance that drains with time; when it is over `Limits.penalties`, the connection ends with
  ENHANCE_YOUR_CALM (CVE-2023-44487, CVE-2019-9512 to 9518).
- PRIORITY is ignored; push is refused.
"""

import struct
from typing import Final

from heliograph.net.http2 import frames, settings
from heliograph.net.http2.errors import ConnectionFault
from heliograph.net.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PingReceived,
    PongReceived,
    SettingsReceived,
    StreamReset,
)
from heliograph.net.http2.header_block import BlockDecoder
from heliograph.net.http2.limits import Limits, unpadded
from heliograph.net.http2.outbox import Outbox
from heliograph.net.http2.settings import PeerSettings
from heliograph.net.http2.stream import Stream

_FRAME_HEADER: Final = struct.Struct(">HBBBL")
_LONG: Final = struct.Struct(">L")
_PREFACE_LENGTH: Final = len(frames.PREFACE)
_MAX_CONTINUATIONS: Final = 16
_FORGIVEN_PER_CALL: Final = 4.0
_SMALL: Final = 256  # bytes; less than this is no burden to send, so it counts as doing nothing where it is useless


class Connection:
    """A connection. client: this side opened it and opens the streams.

    peer: the peer's settings. credit: bytes of body that the peer may still send (connection window).
    last_peer_stream: highest stream that the peer opened. streams: those alive, by id.
    """

    def __init__(self, client: bool, limits: Limits) -> None:
        self.client = client
        self.limits = limits
        self.peer = PeerSettings()
        self.streams: dict[int, Stream] = {}
        self.credit = limits.connection_window
        self.last_peer_stream = 0
        self.next_stream = 1 if client else 2
        self.failed = False
        self.ready = False  # the peer's first SETTINGS came
        self._outbox = Outbox(self.peer, self.streams)
        self._decoder = BlockDecoder(limits.max_header_list)
        self._preface = b"" if client else frames.PREFACE
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._needed = 0
        self._block: list[bytes] = []  # fragments of a header block that is not complete
        self._block_stream = 0
        self._block_flags = 0
        self._block_size = 0
        self._continuations = 0
        self._table_update_due = False
        self._refuse_new = False
        self._penalty = 0.0
        self._penalty_time = 0.0
        self._now = 0.0
        self._greet()

    # ------------------------------------------------------------------ output

    def take(self) -> bytes:
        """The bytes to write now: queued frames, and body data as far as windows allow, about 256 KiB at most.

        Ask again until it is empty, or later, when the transport has room.
        """
        return self._outbox.take()

    @property
    def idle(self) -> bool:
        """Nothing is waiting to be written or for a window."""
        return self._outbox.empty

    def open_stream(self, block: bytes, body: bytes | None) -> int:
        """Client: send a request; body None ends it with its headers. Returns the stream's id.
        The caller has seen to the peer's limit of streams."""
        stream_id = self.next_stream
        self.next_stream += 2
        stream = Stream(stream_id, self.peer.initial_window, self.limits.stream_window)
        self.streams[stream_id] = stream
        self.send_headers(stream_id, block, body is None)
        if body is not None:
            self.send_body(stream_id, body, None)
        return stream_id

    def send_headers(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """Queue a header block made by `encode_headers`. Nothing happens when the stream is gone."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        if self._table_update_due:
            # The peer allows less than the default table; we keep none, and have to say so (RFC 7541 section 4.2).
            self._table_update_due = False
            block = b"\x20" + block
        self._outbox.add(frames.headers(stream_id, block, end_stream, self.peer.max_frame))
        if end_stream:
            self._local_end(stream)

    def send_body(self, stream_id: int, body: bytes, trailers: bytes | None) -> None:
        """Queue the rest of a message: all its data, then the trailers' header block, if any. It ends our side of the
        stream. Nothing happens when the stream is gone."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        self._outbox.send_body(stream, body, trailers)
        self._local_end(stream)

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream at once, if it still exists."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._outbox.forget(stream)
            self._outbox.add(frames.rst_stream(stream_id, code))

    def ping(self, payload: bytes) -> None:
        """Queue a PING (eight bytes); its answer is a PongReceived."""
        self._outbox.add(frames.ping(payload, False))

    def goaway(self, last_stream_id: int, code: int, debug: bytes = b"") -> None:
        """Queue a GOAWAY. It changes nothing else; see `refuse_new_streams`."""
        self._outbox.add(frames.goaway(last_stream_id, code, debug))

    def refuse_new_streams(self) -> int:
        """From now on new streams of the peer are ignored. Returns the last one that was taken."""
        self._refuse_new = True
        return self.last_peer_stream

    def grant(self, increment: int) -> None:
        """Give window of the connection back to the peer: bytes."""
        self.credit += increment
        self._outbox.add(frames.window_update(0, increment))

    def _greet(self) -> None:
        limits = self.limits
        values = {
            settings.INITIAL_WINDOW_SIZE: limits.stream_window,
            settings.MAX_FRAME_SIZE: limits.max_frame,
            settings.MAX_HEADER_LIST_SIZE: limits.max_header_list,
        }
        if self.client:
            self._outbox.add(frames.PREFACE)
            values[settings.ENABLE_PUSH] = 0
        else:
            values[settings.MAX_CONCURRENT_STREAMS] = limits.max_streams
        self._outbox.add(frames.settings(values))
        extra = limits.connection_window - frames.DEFAULT_WINDOW
        if extra > 0:
            self._outbox.add(frames.window_update(0, extra))

    # ------------------------------------------------------------------- input

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes from the peer. now: monotonic seconds."""
        events: list[Event] = []
        if self.failed:
            return events
        self._now = now
        if self._pending_size:
            self._pending.append(data)
            self._pending_size += len(data)
            if self._pending_size < self._needed:
                return events
            data = b"".join(self._pending)
            self._pending = []
            self._pending_size = 0
        try:
            position = self._frames(data, events)
        except ConnectionFault as fault:
            self._fail(fault, events)
            return events
        if position < len(data):
            self._pending = [data[position:] if position else data]
            self._pending_size = len(data) - position
        return events

    def _frames(self, data: bytes, events: list[Event]) -> int:
        """Handle every complete frame; returns where the rest begins and sets how much is needed to go on."""
        position = 0
        end = len(data)
        if self._preface:
            if not data.startswith(self._preface[:end]):
                raise ConnectionFault(frames.PROTOCOL_ERROR, "this is not HTTP/2")
            if end < _PREFACE_LENGTH:
                self._needed = end + 1
                return 0
            self._preface = b""
            position = _PREFACE_LENGTH
        max_frame = self.limits.max_frame
        while end - position >= 9:
            high, low, kind, flags, stream_id = _FRAME_HEADER.unpack_from(data, position)
            length = high << 8 | low
            if length > max_frame:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, f"frame of {length} bytes, at most {max_frame}")
            start = position + 9
            stop = start + length
            if stop > end:
                self._needed = stop - position
                return position
            stream_id &= frames.MAX_STREAM_ID
            position = stop
            if self._block_stream or not self.ready:
                self._check_order(kind, flags, stream_id)
            if kind == frames.DATA:
                self._data(data, start, stop, flags, stream_id, events)
            elif kind == frames.HEADERS:
                self._headers(data[start:stop], flags, stream_id, events)
            else:
                self._other(kind, data[start:stop], flags, stream_id, events)
        self._needed = 9
        return position

    def _check_order(self, kind: int, flags: int, stream_id: int) -> None:
        if self._block_stream and (kind != frames.CONTINUATION or stream_id != self._block_stream):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "another frame inside a header block")
        if not self.ready and (kind != frames.SETTINGS or flags & frames.ACK):
            raise ConnectionFault(frames.PROTOCOL_ERROR, "the first frame is not SETTINGS")

    def _data(self, data: bytes, start: int, stop: int, flags: int, stream_id: int, events: list[Event]) -> None:
        length = stop - start
        self.credit -= length
        if self.credit < 0:
            raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "more data than the connection's window")
        ended = flags & frames.END_STREAM != 0
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_ended:
            self._stray(stream, stream_id, "DATA", length, events)
            return
        stream.receive_window -= length
        if stream.receive_window < 0:
            self._stream_fault(stream, frames.FLOW_CONTROL_ERROR, "more data than the stream's window", events)
            return
        if not stream.final_headers:
            self._stream_fault(stream, frames.PROTOCOL_ERROR, "DATA before HEADERS", events)
            return
        if flags & frames.PADDED:
            start, stop = unpadded(data, start, stop)
        if start == stop and not ended:
            self._penalize()
            return
        if ended:
            self._remote_end(stream)
        events.append(DataReceived(stream_id, data[start:stop], ended))

    def _headers(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        if stream_id == 0:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (frames.PADDED | frames.HAS_PRIORITY):
            start, stop = 0, len(payload)
            if flags & frames.PADDED:
                start, stop = unpadded(payload, start, stop)
            if flags & frames.HAS_PRIORITY:
                start += 5
            if start > stop:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "HEADERS shorter than its padding or priority")
            payload = payload[start:stop]
        if flags & frames.END_HEADERS:
            self._header_block(payload, flags, stream_id, events)
            return
        self._block = [payload]
        self._block_size = len(payload)
        self._block_stream = stream_id
        self._block_flags = flags
        self._continuations = 0

    def _continuation(self, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        if not self._block_stream:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._continuations += 1
        self._block_size += len(payload)
        # Huffman coding can make a list somewhat longer than its text, never twice as long in practice.
        if (
            self._continuations > _MAX_CONTINUATIONS
            or self._block_size > 2 * self.limits.max_header_list + self.limits.max_frame
        ):
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "header block too large")
        self._block.append(payload)
        if flags & frames.END_HEADERS:
            block = b"".join(self._block)
            self._block = []
            self._block_stream = 0
            self._header_block(block, self._block_flags, stream_id, events)

    def _header_block(self, block: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        read = self._decoder.decode(block)
        ended = flags & frames.END_STREAM != 0
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.client or stream_id <= self.last_peer_stream:
                self._stray(None, stream_id, "HEADERS", 0, events)
                return
            if stream_id & 1 == 0:
                raise ConnectionFault(frames.PROTOCOL_ERROR, f"a client opened stream {stream_id}")
            self.last_peer_stream = stream_id
            if self._refuse_new:
                return
            if len(self.streams) >= self.limits.max_streams:
                self._penalize()
                self._outbox.add(frames.rst_stream(stream_id, frames.REFUSED_STREAM))
                return
            stream = Stream(stream_id, self.peer.initial_window, self.limits.stream_window)
            self.streams[stream_id] = stream
        if stream.remote_ended:
            self._stray(stream, stream_id, "HEADERS", 0, events)
            return
        trailers = stream.final_headers
        if trailers and not ended:
            self._stream_fault(stream, frames.PROTOCOL_ERROR, "trailers that do not end the stream", events)
            return
        if self.client and not trailers and not ended and _informational(read.headers):
            self._penalize()
            return
        stream.final_headers = True
        if read.problem:
            self._penalize()
        if ended:
            self._remote_end(stream)
        events.append(HeadersReceived(stream_id, read.headers, ended, trailers, read.problem, read.oversized))

    def _other(self, kind: int, payload: bytes, flags: int, stream_id: int, events: list[Event]) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._window_update(payload, stream_id, events)
        elif kind == frames.CONTINUATION:
            self._continuation(payload, flags, stream_id, events)
        elif kind == frames.RST_STREAM:
            self._rst_stream(payload, stream_id, events)
        elif kind == frames.PRIORITY:
            self._penalize()
            if len(payload) != 5 or stream_id == 0:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        elif kind == frames.PUSH_PROMISE:
            raise ConnectionFault(frames.PROTOCOL_ERROR, "PUSH_PROMISE")
        elif kind > frames.CONTINUATION:
            self._penalize()  # unknown kinds are ignored (section 4.1)
        elif stream_id:
            raise ConnectionFault(frames.PROTOCOL_ERROR, f"frame of kind {kind} on a stream")
        elif kind == frames.SETTINGS:
            self._settings(payload, flags, events)
        elif kind == frames.PING:
            self._ping(payload, flags, events)
        else:
            if len(payload) < 8:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
            self._penalize()
            last, code = struct.unpack_from(">LL", payload)
            events.append(GoAwayReceived(last & frames.MAX_STREAM_ID, code, payload[8:]))

    def _settings(self, payload: bytes, flags: int, events: list[Event]) -> None:
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(frames.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            return
        self._penalize()
        before = self.peer.initial_window
        self.peer.apply(payload)
        delta = self.peer.initial_window - before
        if delta:
            for stream in self.streams.values():
                stream.send_window += delta
                if stream.send_window > frames.MAX_WINDOW:
                    raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "SETTINGS make a window too large")
        if self.peer.header_table_size < 4096:
            self._table_update_due = True
        self.ready = True
        self._outbox.add(frames.settings_ack())
        self._outbox.windows_changed()
        events.append(SettingsReceived(0))

    def _ping(self, payload: bytes, flags: int, events: list[Event]) -> None:
        if len(payload) != 8:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        if flags & frames.ACK:
            events.append(PongReceived(payload))
            return
        self._penalize()
        self._outbox.add(frames.ping(payload, True))
        events.append(PingReceived(0))

    def _rst_stream(self, payload: bytes, stream_id: int, events: list[Event]) -> None:
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, f"RST_STREAM of {len(payload)} bytes")
        if self._is_idle(stream_id):
            raise ConnectionFault(frames.PROTOCOL_ERROR, f"RST_STREAM on stream {stream_id}, which nobody opened")
        code = _LONG.unpack(payload)[0]
        if not self.client or code != frames.NO_ERROR:
            self._penalize()
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._outbox.forget(stream)
            events.append(StreamReset(stream_id, code, True))

    def _window_update(self, payload: bytes, stream_id: int, events: list[Event]) -> None:
        if len(payload) != 4:
            raise ConnectionFault(frames.FRAME_SIZE_ERROR, f"WINDOW_UPDATE of {len(payload)} bytes")
        increment = _LONG.unpack(payload)[0] & frames.MAX_WINDOW
        if stream_id == 0:
            if increment == 0:
                raise ConnectionFault(frames.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            if not self._outbox.widen(increment):
                raise ConnectionFault(frames.FLOW_CONTROL_ERROR, "the connection's window passes 2^31-1")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionFault(
                    frames.PROTOCOL_ERROR, f"WINDOW_UPDATE on stream {stream_id}, which nobody opened"
                )
            return
        if increment == 0:
            self._stream_fault(stream, frames.PROTOCOL_ERROR, "WINDOW_UPDATE of 0", events)
            return
        stream.send_window += increment
        if stream.send_window > frames.MAX_WINDOW:
            self._stream_fault(stream, frames.FLOW_CONTROL_ERROR, "the stream's window passes 2^31-1", events)
            return
        if increment < _SMALL:
            self._penalize()
        self._outbox.windows_changed()

    # ------------------------------------------------------------------ streams

    def _is_idle(self, stream_id: int) -> bool:
        """Nobody has opened this stream yet."""
        if stream_id == 0:
            return True
        ours = (stream_id & 1 == 1) == self.client
        return stream_id >= self.next_stream if ours else stream_id > self.last_peer_stream

    def _stray(self, stream: Stream | None, stream_id: int, kind: str, length: int, events: list[Event]) -> None:
        """A frame where none may come: normal while our RST_STREAM is under way, so it only costs a penalty at most."""
        if self._is_idle(stream_id):
            raise ConnectionFault(frames.PROTOCOL_ERROR, f"{kind} on stream {stream_id}, which nobody opened")
        if length < _SMALL:
            self._penalize()
        if stream is not None:
            self._stream_fault(stream, frames.STREAM_CLOSED, f"{kind} after the end of the stream", events)

    def _stream_fault(self, stream: Stream, code: int, reason: str, events: list[Event]) -> None:
        self._penalize()
        self.reset(stream.id, code)
        events.append(StreamReset(stream.id, code, False, reason))

    def _remote_end(self, stream: Stream) -> None:
        stream.remote_ended = True
        if self.client:
            self._penalty -= _FORGIVEN_PER_CALL
        if stream.local_ended and not stream.queued:
            self.streams.pop(stream.id, None)

    def _local_end(self, stream: Stream) -> None:
        stream.local_ended = True
        if not self.client:
            self._penalty -= _FORGIVEN_PER_CALL
        if stream.remote_ended and not stream.queued:
            self.streams.pop(stream.id, None)

    def _penalize(self) -> None:
        elapsed = self._now - self._penalty_time
        self._penalty_time = self._now
        forgiven = elapsed * self.limits.penalties_per_second
        self._penalty = max(0.0, self._penalty - forgiven) + 1.0
        if self._penalty > self.limits.penalties:
            raise ConnectionFault(frames.ENHANCE_YOUR_CALM, "too many frames that do nothing")

    def _fail(self, fault: ConnectionFault, events: list[Event]) -> None:
        self.failed = True
        self._pending = []
        self._outbox.clear()
        self._outbox.add(frames.goaway(self.last_peer_stream, fault.code, fault.reason.encode()[:256]))
        events.append(ConnectionFailed(fault.code, fault.reason))


def _informational(headers: list[tuple[str, str]]) -> bool:
    """Whether a response's headers are those of a 1xx."""
    return bool(headers) and headers[0][0] == ":status" and headers[0][1].startswith("1")
