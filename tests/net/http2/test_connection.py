"""The HTTP/2 core: two of them joined in memory, hostile peers, and windows."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.net.http2 import frames
from heliograph.net.http2 import settings as setting
from heliograph.net.http2.connection import Connection
from heliograph.net.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PongReceived,
    StreamReset,
)
from heliograph.net.http2.header_block import encode_headers
from heliograph.net.http2.limits import Limits

REQUEST = encode_headers(
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/s/m"), (b":authority", b"a"), (b"te", b"trailers")]
)
RESPONSE = encode_headers([(b":status", b"200")])
TRAILERS = encode_headers([(b"grpc-status", b"0")])
GREETING = frames.PREFACE + frames.settings({})


def pump(sender: Connection, receiver: Connection, step: int = 0) -> list[Event]:
    """Carry everything that `sender` has to `receiver`, `step` bytes at a time (0: as it comes)."""
    events: list[Event] = []
    while output := sender.take():
        pieces = [output[i : i + step] for i in range(0, len(output), step)] if step else [output]
        for piece in pieces:
            events += receiver.receive(piece, 0.0)
    return events


def server(**limits: int) -> Connection:
    """A server core that has been greeted."""
    core = Connection(False, Limits(**limits))  # type: ignore[arg-type]
    assert core.receive(GREETING, 0.0)
    core.take()
    return core


def request(stream_id: int, *, ended: bool = False, block: bytes = REQUEST) -> bytes:
    return frames.headers(stream_id, block, ended, 16384)


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frames.header(len(payload), frames.DATA, flags, stream_id) + payload


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream_id: int = 0) -> bytes:
    return frames.header(len(payload), kind, flags, stream_id) + payload


def body(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, DataReceived))


@pytest.mark.parametrize("step", [0, 1, 7, 1000])
def test_a_call_between_two_cores(step: int) -> None:
    """A request and its answer arrive whole, however the bytes are cut."""
    client, server_ = Connection(True, Limits()), Connection(False, Limits())
    message = bytes(range(256)) * 100
    stream_id = client.open_stream(REQUEST, message)
    events = pump(client, server_, step)
    assert isinstance(events[1], HeadersReceived)
    assert dict(events[1].headers)[":path"] == "/s/m"
    assert body(events) == message
    assert isinstance(events[-1], DataReceived)
    assert events[-1].ended
    server_.send_headers(stream_id, RESPONSE, False)
    server_.send_body(stream_id, message[::-1], TRAILERS)
    events = pump(server_, client, step)
    assert body(events) == message[::-1]
    last = events[-1]
    assert isinstance(last, HeadersReceived)
    assert last.trailers
    assert last.ended
    assert not client.streams
    assert not server_.streams
    pump(client, server_)
    assert client.idle
    assert server_.idle


def test_a_body_larger_than_the_windows_goes_on_when_they_open() -> None:
    """The sender stops at the connection's window and resumes with each grant."""
    client, server_ = Connection(True, Limits()), server(connection_window=100_000, stream_window=1 << 20)
    pump(server_, client)
    client.receive(frames.settings({setting.INITIAL_WINDOW_SIZE: 1 << 20}), 0.0)
    client.open_stream(REQUEST, b"z" * 500_000)
    output = client.take()[len(frames.PREFACE) :]
    got = body(server_.receive(output, 0.0))
    assert len(got) == 65535  # the greeting of this server, with its larger window, was not delivered
    while len(got) < 500_000:
        server_.grant(50_000)
        pump(server_, client)
        more = body(pump(client, server_))
        assert len(more) == 50_000 or len(got) + len(more) == 500_000
        got += more
    assert got == b"z" * 500_000
    assert client.idle


def test_streams_take_turns() -> None:
    """Two large bodies are interleaved frame by frame."""
    client, server_ = Connection(True, Limits()), Connection(False, Limits(max_frame=16384))
    pump(client, server_)
    pump(server_, client)
    client.open_stream(REQUEST, b"a" * 200_000)
    client.open_stream(REQUEST, b"b" * 200_000)
    order = [event.stream_id for event in pump(client, server_) if isinstance(event, DataReceived)]
    assert order[:6] == [1, 3, 1, 3, 1, 3]


def test_a_smaller_initial_window_can_make_a_window_negative() -> None:
    """SETTINGS that shrink windows of open streams hold the rest back until they are positive again."""
    client = Connection(True, Limits())
    client.receive(frames.settings({}), 0.0)
    client.open_stream(REQUEST, b"a" * 70_000)
    client.take()
    client.receive(frames.window_update(0, 1 << 20) + frames.settings({setting.INITIAL_WINDOW_SIZE: 10_000}), 0.0)
    client.receive(frames.window_update(1, 55_535), 0.0)
    assert client.take() == frames.settings_ack()
    client.receive(frames.window_update(1, 4_465), 0.0)
    assert len(client.take()) == 4_465 + 9
    assert client.idle


def test_a_peer_without_a_table_is_told_that_ours_is_empty() -> None:
    """SETTINGS_HEADER_TABLE_SIZE 0 must be answered by a table size update (RFC 7541 section 4.2)."""
    client = Connection(True, Limits())
    client.take()
    client.receive(frames.settings({setting.HEADER_TABLE_SIZE: 0}), 0.0)
    client.open_stream(REQUEST, None)
    assert client.take() == frames.settings_ack() + frames.headers(1, b"\x20" + REQUEST, True, 16384)


def test_ping_and_goaway_arrive() -> None:
    """A ping comes back with its payload; GOAWAY tells the last stream and the reason."""
    client, server_ = Connection(True, Limits()), Connection(False, Limits())
    client.ping(b"12345678")
    pump(client, server_)
    pongs = [event.payload for event in pump(server_, client) if isinstance(event, PongReceived)]
    assert pongs == [b"12345678"]
    server_.goaway(5, frames.NO_ERROR, b"bye")
    (event,) = pump(server_, client)
    assert isinstance(event, GoAwayReceived)
    assert (event.last_stream_id, event.code, event.debug) == (5, 0, b"bye")


def test_padding_and_priority_are_taken_off() -> None:
    """PADDED and PRIORITY flags, and PRIORITY frames, change nothing in what is read."""
    core = server()
    padded = b"\x03" + b"\0\0\0\x05\x10" + REQUEST + b"\0\0\0"
    events = core.receive(
        frame(frames.HEADERS, padded, frames.PADDED | frames.HAS_PRIORITY | frames.END_HEADERS, 1)
        + frame(frames.PRIORITY, b"\0\0\0\0\0", 0, 1)
        + frame(frames.DATA, b"\x02abc\0\0", frames.PADDED | frames.END_STREAM, 1)
        + frame(99, b"unknown"),
        0.0,
    )
    assert dict(events[0].headers)[":path"] == "/s/m"  # type: ignore[attr-defined]
    assert body(events) == b"abc"
    assert core.limits.connection_window - core.credit == 6


def test_continuation_joins_a_block() -> None:
    """A block in three frames is one HeadersReceived."""
    core = server()
    events = core.receive(
        frame(frames.HEADERS, REQUEST[:5], frames.END_STREAM, 1)
        + frame(frames.CONTINUATION, REQUEST[5:9], 0, 1)
        + frame(frames.CONTINUATION, REQUEST[9:], frames.END_HEADERS, 1),
        0.0,
    )
    (event,) = events
    assert isinstance(event, HeadersReceived)
    assert event.ended
    assert dict(event.headers)["te"] == "trailers"


def test_streams_over_the_limit_are_refused_and_the_others_live() -> None:
    """REFUSED_STREAM for the one too many; its header block still counts for the table."""
    core = server(max_streams=2)
    events = core.receive(request(1) + request(3) + request(5, block=b"\x40\x01a\x011") + data(3, b"x"), 0.0)
    assert [event.stream_id for event in events] == [1, 3, 3]
    assert core.take() == frames.rst_stream(5, frames.REFUSED_STREAM)
    core.reset(1, frames.CANCEL)
    (event,) = core.receive(request(7, block=REQUEST + b"\xbe"), 0.0)
    assert isinstance(event, HeadersReceived)
    assert event.headers[-1] == ("a", "1")


def test_frames_of_a_stream_that_was_reset_are_forgiven() -> None:
    """What was under way when we reset a stream is dropped, and the connection goes on."""
    core = server()
    core.receive(request(1), 0.0)
    core.reset(1, frames.CANCEL)
    core.take()
    late = data(1, b"x" * 1000) + frames.window_update(1, 5) + frames.rst_stream(1, frames.CANCEL)
    assert core.receive(late, 0.0) == []
    assert not core.failed


def test_new_streams_after_the_last_goaway_are_ignored() -> None:
    """refuse_new_streams names the last stream that was taken; later ones get neither events nor answers."""
    core = server()
    core.receive(request(1), 0.0)
    assert core.refuse_new_streams() == 1
    assert core.receive(request(3) + data(3, b"x" * 500, frames.END_STREAM), 0.0) == []
    assert core.take() == b""
    assert body(core.receive(data(1, b"y"), 0.0)) == b"y"


BROKEN: list[tuple[str, bytes, int]] = [
    ("frame larger than announced", frames.header(65537, frames.DATA, 0, 1), frames.FRAME_SIZE_ERROR),
    ("DATA on stream 0", data(0, b"x"), frames.PROTOCOL_ERROR),
    ("DATA on an idle stream", data(1, b"x"), frames.PROTOCOL_ERROR),
    ("HEADERS on stream 0", request(0), frames.PROTOCOL_ERROR),
    ("HEADERS on an even stream", request(2), frames.PROTOCOL_ERROR),
    ("a stream below an older one", request(5) + frames.rst_stream(3, 0) + request(7) + data(9, b""), 1),
    ("CONTINUATION alone", frame(frames.CONTINUATION, b"", 4, 1), frames.PROTOCOL_ERROR),
    ("DATA inside a block", frame(frames.HEADERS, REQUEST, 0, 1) + data(1, b""), frames.PROTOCOL_ERROR),
    ("unreadable block", request(1, block=b"\x80"), frames.COMPRESSION_ERROR),
    ("padding longer than DATA", request(1) + data(1, b"\x05ab", frames.PADDED), frames.PROTOCOL_ERROR),
    ("padded without length", request(1) + data(1, b"", frames.PADDED), frames.FRAME_SIZE_ERROR),
    ("PUSH_PROMISE", frame(frames.PUSH_PROMISE, b"\0\0\0\2", 4, 1), frames.PROTOCOL_ERROR),
    ("PING of 7 bytes", frame(frames.PING, b"1234567"), frames.FRAME_SIZE_ERROR),
    ("PING on a stream", frame(frames.PING, b"12345678", 0, 1), frames.PROTOCOL_ERROR),
    ("SETTINGS of 5 bytes", frame(frames.SETTINGS, b"12345"), frames.FRAME_SIZE_ERROR),
    ("SETTINGS ACK with payload", frame(frames.SETTINGS, b"123456", frames.ACK), frames.FRAME_SIZE_ERROR),
    ("SETTINGS with 65 entries", frame(frames.SETTINGS, b"\0\x63\0\0\0\0" * 65), frames.PROTOCOL_ERROR),
    ("window setting too large", frames.settings({4: 1 << 31}), frames.FLOW_CONTROL_ERROR),
    ("frame size setting too small", frames.settings({5: 100}), frames.PROTOCOL_ERROR),
    ("push setting", frames.settings({2: 2}), frames.PROTOCOL_ERROR),
    ("WINDOW_UPDATE of 0", frames.window_update(0, 0), frames.PROTOCOL_ERROR),
    ("WINDOW_UPDATE of 3 bytes", frame(frames.WINDOW_UPDATE, b"123"), frames.FRAME_SIZE_ERROR),
    ("connection window overflow", frames.window_update(0, frames.MAX_WINDOW), frames.FLOW_CONTROL_ERROR),
    ("WINDOW_UPDATE on an idle stream", frames.window_update(1, 1), frames.PROTOCOL_ERROR),
    ("RST_STREAM on an idle stream", frames.rst_stream(1, 0), frames.PROTOCOL_ERROR),
    ("RST_STREAM of 3 bytes", request(1) + frame(frames.RST_STREAM, b"123", 0, 1), frames.FRAME_SIZE_ERROR),
    ("PRIORITY of 4 bytes", frame(frames.PRIORITY, b"1234", 0, 1), frames.FRAME_SIZE_ERROR),
    ("GOAWAY of 4 bytes", frame(frames.GOAWAY, b"1234"), frames.FRAME_SIZE_ERROR),
    ("more data than the window", request(1) + data(1, b"x" * 40_000) * 2, frames.FLOW_CONTROL_ERROR),
]


@pytest.mark.parametrize(("what", "raw", "code"), BROKEN, ids=[what for what, _, _ in BROKEN])
def test_a_broken_rule_ends_the_connection_with_its_code(what: str, raw: bytes, code: int) -> None:
    """ConnectionFailed with the RFC's code, the same code in a GOAWAY, and silence afterwards; so too byte by byte."""
    for step in (len(raw), 1):
        core = server(connection_window=65535)
        events: list[Event] = []
        for start in range(0, len(raw), step):
            events += core.receive(raw[start : start + step], 0.0)
        last = events[-1]
        assert isinstance(last, ConnectionFailed)
        assert last.code == code
        goaway = core.take()
        assert goaway[3] == frames.GOAWAY
        assert struct.unpack_from(">L", goaway, 13) == (code,)
        assert core.receive(request(99), 0.0) == []


BAD_STREAM: list[tuple[str, bytes, int]] = [
    ("stream window", request(1) + data(1, b"x" * 50_000) * 2, frames.FLOW_CONTROL_ERROR),
    ("window update of 0", request(1) + frames.window_update(1, 0), frames.PROTOCOL_ERROR),
    ("window overflow", request(1) + frames.window_update(1, frames.MAX_WINDOW), frames.FLOW_CONTROL_ERROR),
    ("data after the end", request(1, ended=True) + data(1, b"x"), frames.STREAM_CLOSED),
    ("headers after the end", request(1, ended=True) + request(1), frames.STREAM_CLOSED),
    ("trailers without end", request(1) + request(1, block=TRAILERS), frames.PROTOCOL_ERROR),
]


@pytest.mark.parametrize(("what", "raw", "code"), BAD_STREAM, ids=[what for what, _, _ in BAD_STREAM])
def test_a_mistake_in_a_stream_ends_only_the_stream(what: str, raw: bytes, code: int) -> None:
    """StreamReset with the code, RST_STREAM to the peer, and the next stream works."""
    core = server(stream_window=65535)
    event = core.receive(raw, 0.0)[-1]
    assert isinstance(event, StreamReset)
    assert (event.code, event.by_peer) == (code, False)
    assert core.take().endswith(frames.rst_stream(1, code))
    assert isinstance(core.receive(request(3), 0.0)[0], HeadersReceived)


def _rapid_resets() -> bytes:
    return b"".join(request(i) + frames.rst_stream(i, frames.CANCEL) for i in range(1, 5001, 2))


def _continuations() -> bytes:
    return frame(frames.HEADERS, b"", 0, 1) + frame(frames.CONTINUATION, b"", 0, 1) * 100


FLOODS: list[tuple[str, Callable[[], bytes]]] = [
    ("pings", lambda: frame(frames.PING, b"12345678") * 2500),
    ("settings", lambda: frames.settings({3: 1}) * 2500),
    ("priority", lambda: request(1) + frame(frames.PRIORITY, b"\0\0\0\0\0", 0, 1) * 2500),
    ("unknown frames", lambda: frame(77) * 2500),
    ("empty data", lambda: request(1) + data(1, b"") * 2500),
    ("padding only", lambda: request(1) + data(1, b"\x02ab", frames.PADDED) * 2500),
    ("rapid reset", _rapid_resets),
    ("continuations", _continuations),
    ("tiny window updates", lambda: request(1) + frames.window_update(1, 1) * 2500),
    ("headers of dead streams", lambda: request(1) + frames.rst_stream(1, 8) + request(1) * 2500),
]


@pytest.mark.parametrize(("what", "flood"), FLOODS, ids=[what for what, _ in FLOODS])
def test_floods_end_the_connection(what: str, flood: Callable[[], bytes]) -> None:
    """Frames that cost a peer nothing are bounded: ENHANCE_YOUR_CALM."""
    event = server(penalties=2000).receive(flood(), 0.0)[-1]
    assert isinstance(event, ConnectionFailed)
    assert event.code == frames.ENHANCE_YOUR_CALM


def test_the_same_frames_spread_over_time_are_fine() -> None:
    """Pings every second, for hours, are no flood."""
    core = server()
    for second in range(10_000):
        core.receive(frame(frames.PING, b"12345678"), float(second))
        core.take()
    assert not core.failed


def test_no_preface_is_no_http2() -> None:
    """The first byte that does not fit ends it: a TLS or HTTP/1 client gets a GOAWAY at once."""
    core = Connection(False, Limits())
    (event,) = core.receive(b"GET / HTTP/1.1\r\n", 0.0)
    assert isinstance(event, ConnectionFailed)
    core = Connection(False, Limits())
    assert core.receive(b"PRI ", 0.0) == []
    (event,) = core.receive(b"x", 0.0)
    assert isinstance(event, ConnectionFailed)


def _session() -> bytes:
    parts = [GREETING]
    for stream_id in range(1, 12, 2):
        parts += [request(stream_id), data(stream_id, b"\0\0\0\0\x03abc", frames.END_STREAM)]
        parts += [frames.window_update(0, 1000), frame(frames.PING, b"12345678"), frames.settings({4: 70_000})]
    return b"".join(parts)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_sessions_never_raise(draw: st.DataObject) -> None:
    """A session with bytes changed, dropped and inserted, cut anywhere, followed by junk, gives events only."""
    raw = bytearray(_session())
    for _ in range(draw.draw(st.integers(1, 6))):
        at = draw.draw(st.integers(0, len(raw) - 1))
        action = draw.draw(st.sampled_from("cdi"))
        if action == "c":
            raw[at] = draw.draw(st.integers(0, 255))
        elif action == "d":
            del raw[at : at + draw.draw(st.integers(1, 20))]
        else:
            raw[at:at] = draw.draw(st.binary(max_size=30))
    raw += draw.draw(st.binary(max_size=50))
    core = Connection(False, Limits())
    position = 0
    while position < len(raw):
        size = draw.draw(st.integers(1, 400))
        for event in core.receive(bytes(raw[position : position + size]), 0.0):
            if isinstance(event, DataReceived) and event.ended:
                core.send_headers(event.stream_id, RESPONSE, False)
                core.send_body(event.stream_id, b"answer", TRAILERS)
        core.take()
        position += size
    assert core.credit <= core.limits.connection_window


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_random_bytes_never_raise(raw: bytes) -> None:
    """Neither as the first bytes, nor after the greeting, nor towards a client."""
    Connection(False, Limits()).receive(raw, 0.0)
    server().receive(raw, 0.0)
    client = Connection(True, Limits())
    client.receive(frames.settings({}), 0.0)
    client.open_stream(REQUEST, b"x" * 100)
    client.receive(raw, 0.0)
    client.take()
