"""How connections of the server end: age, idleness, keepalive, shutdown, and peers that misbehave."""

import asyncio
import contextlib
import os

import grpc
import grpc.aio
import pytest

from heliograph.net.grpc.framing import PREFIX
from heliograph.net.grpc.server import ServerKeepalive
from heliograph.net.http2 import frames
from heliograph.net.http2.events import DataReceived, GoAwayReceived, HeadersReceived, PongReceived, StreamReset
from heliograph.net.http2.header_block import encode_headers
from heliograph.net.http2.stream import Stream


def head(path: bytes = b"/t.T/Echo", *more: tuple[bytes, bytes]) -> bytes:
    pseudo = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"a")]
    return encode_headers([*pseudo, (b"te", b"trailers"), (b"content-type", b"application/grpc"), *more])


def status(peer, stream_id: int) -> dict[str, str]:
    """All headers and trailers of an answer."""
    found = {}
    for event in peer.of(HeadersReceived):
        if event.stream_id == stream_id:
            found.update(event.headers)
    return found


async def load(call, seconds: float, workers: int = 8) -> int:
    """Call again and again, from several tasks; every answer must be right. Returns how many there were."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    count = 0

    async def work(number: int) -> None:
        nonlocal count
        while loop.time() < end:
            message = b"%d-%d" % (number, count)
            assert await call(message) == message
            count += 1

    await asyncio.gather(*[work(number) for number in range(workers)])
    return count


async def test_max_connection_age_loses_no_call(serve, channel, grpcio_channel):
    """Connections that end every 0.2 s under load: each call of both clients is answered, on several connections."""
    served = await serve(keepalive=ServerKeepalive(max_connection_age=0.2))
    ours = channel(served.port)
    theirs = grpcio_channel(served.port).unary_unary("/t.T/Echo")
    seen = set()

    async def call_ours(message: bytes) -> bytes:
        seen.add(id(ours._connection))
        return await ours.unary("/t.T/Echo", message, timeout=5)

    async def call_theirs(message: bytes) -> bytes:
        return await theirs(message, timeout=5)

    counts = await asyncio.gather(load(call_ours, 1.2), load(call_theirs, 1.2))
    assert min(counts) > 100
    assert len(seen) >= 4


async def test_age_waits_for_running_calls_up_to_its_grace(serve, channel, eventually):
    """A call that runs longer than the grace ends with UNAVAILABLE."""
    served = await serve(keepalive=ServerKeepalive(max_connection_age=0.1, max_connection_age_grace=0.2))
    with pytest.raises(Exception, match=r"UNAVAILABLE.*maximum age"):
        await channel(served.port).unary("/t.T/Slow", b"", timeout=5)
    assert served.slow.cancelled == 1
    await eventually(lambda: served.server.connections == 0)


async def test_idle_connections_are_closed(serve, raw_client, channel, eventually):
    """max_connection_idle counts from the last call; a running call keeps the connection."""
    served = await serve(keepalive=ServerKeepalive(max_connection_idle=0.2))
    idle = await raw_client(served.port)
    busy = asyncio.ensure_future(channel(served.port).unary("/t.T/Slow", b"x", timeout=5))
    await eventually(lambda: served.slow.running == 1)
    await eventually(lambda: idle.of(GoAwayReceived))
    assert not busy.done()
    await asyncio.sleep(0.3)
    assert not busy.done()
    served.slow.go.set()
    assert await busy == b"x"
    await eventually(lambda: served.server.connections == 0)


async def test_a_peer_that_answers_no_ping_is_cut_off(serve, raw_client, eventually):
    """Pings go out after `time`; one that answers stays, one that does not is gone after `timeout`."""
    served = await serve(keepalive=ServerKeepalive(time=0.1, timeout=0.1))
    deaf, alive = await raw_client(served.port), await raw_client(served.port)
    deaf.flush = lambda: None
    await eventually(lambda: deaf.lost)
    assert not alive.lost
    assert served.server.connections == 1


async def test_pings_more_often_than_allowed(serve, raw_client, eventually):
    """Too many pings: GOAWAY ENHANCE_YOUR_CALM too_many_pings. Where they are permitted they are answered."""
    strict, lenient = await serve(), await serve(keepalive=ServerKeepalive(min_time=0.0, permit_without_stream=True))
    rude, fine = await raw_client(strict.port), await raw_client(lenient.port)
    for peer in (rude, fine):
        for _ in range(6):
            peer.core.ping(b"12345678")
        peer.flush()
    await eventually(lambda: rude.lost)
    (goaway,) = rude.of(GoAwayReceived)
    assert (goaway.code, goaway.debug) == (frames.ENHANCE_YOUR_CALM, b"too_many_pings")
    await eventually(lambda: len(fine.of(PongReceived)) == 6)
    assert not fine.lost


async def test_close_finishes_running_calls(serve, grpcio_channel, eventually):
    """After GOAWAY the running call gets its answer; new ones find nobody."""
    served = await serve()
    peer = grpcio_channel(served.port)
    running = asyncio.ensure_future(peer.unary_unary("/t.T/Slow")(b"x", timeout=10))
    await eventually(lambda: served.slow.running == 1)
    closing = asyncio.ensure_future(served.server.close(5.0))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await load(peer.unary_unary("/t.T/Echo"), 5.0, workers=1)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not closing.done()
    served.slow.go.set()
    assert await running == b"x"
    await closing
    assert served.server.connections == 0
    await served.server.close(1.0)


async def test_close_ends_calls_after_the_grace(serve, grpcio_channel, eventually):
    """They are cancelled and told UNAVAILABLE."""
    served = await serve()
    running = grpcio_channel(served.port).unary_unary("/t.T/Slow")(b"x", timeout=10)
    await eventually(lambda: served.slow.running == 1)
    await served.server.close(0.1)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await running
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert raised.value.details() == "the server is shutting down"
    assert served.slow.cancelled == 1


@pytest.mark.parametrize(
    "raw",
    [
        os.urandom(2000),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        frames.PREFACE * 2,
    ],
    ids=["random", "http1", "tls", "preface twice"],
)
async def test_what_is_no_http2_gets_a_goaway_and_is_closed(serve, raw, caplog):
    """No exception escapes, nothing is logged as an error, and the next client is served."""
    served = await serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(raw)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert bytes([frames.GOAWAY, 0, 0, 0, 0, 0]) in answer
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]


async def test_a_silent_connection_is_closed(serve):
    """Who says nothing, or half a preface, is gone after the handshake timeout."""
    served = await serve(handshake_timeout=0.2)
    for raw in (b"", frames.PREFACE[:10], frames.PREFACE):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(raw)
        try:
            await asyncio.wait_for(reader.read(), 5)
        except ConnectionResetError:
            pass
        writer.close()
    assert served.server.connections == 0


async def test_a_declared_length_over_the_limit_is_refused_at_once(serve, raw_client, eventually):
    """Five bytes are enough for the answer; the body is not waited for."""
    served = await serve(max_message_bytes=1000)
    peer = await raw_client(served.port)
    stream_id = peer.core.open_stream(head(), None)
    peer.core._outbox.clear()
    peer.transport.write(frames.headers(stream_id, head(), False, 16384))
    peer.transport.write(frames.header(5, frames.DATA, 0, stream_id) + PREFIX.pack(0, 4_000_000))
    await eventually(lambda: "grpc-status" in status(peer, stream_id))
    found = status(peer, stream_id)
    assert found["grpc-status"] == "8"
    assert found["grpc-message"] == "grpc: received message larger than max (4000000 vs. 1000)"


@pytest.mark.parametrize(
    ("body", "more", "code", "text"),
    [
        (b"", (), "13", "the body has no message"),
        (b"\0\0\0\0\x05abc", (), "13", "the body ends inside a message"),
        (b"\0\0\0\0\x01a" * 2, (), "13", "more than one message"),
        (b"\x02\0\0\0\x01a", (), "13", "compressed flag 2"),
        (b"\x01\0\0\0\x01a", (), "13", "compressed flag set with identity"),
        (b"\x01\0\0\0\x01a", ((b"grpc-encoding", b"gzip"),), "13", "failed to decompress"),
        (b"\x01\0\0\0\x01a", ((b"grpc-encoding", b"zstd"),), "13", "failed to decompress"),
        (b"\x01\0\0\0\x01a", ((b"grpc-encoding", b"snappy"),), "13", "failed to decompress"),
        (b"\x01\0\0\0\x01a", ((b"grpc-encoding", b"br"),), "12", "Decompressor is not installed"),
        (b"\0\0\0\0\x01a", ((b"grpc-timeout", b"5x"),), "13", "malformed grpc-timeout"),
        (b"\0\0\0\0\x01a", ((b"x-big", b"y" * 20_000),), "8", "header list larger than max"),
    ],
)
async def test_malformed_requests_have_their_answer(serve, raw_client, eventually, body, more, code, text):
    """A status and a message for each; the connection goes on."""
    served = await serve()
    peer = await raw_client(served.port)
    stream_id = peer.core.open_stream(head(b"/t.T/Echo", *more), body)
    peer.flush()
    await eventually(lambda: "grpc-status" in status(peer, stream_id))
    found = status(peer, stream_id)
    assert found["grpc-status"] == code
    assert text in found["grpc-message"].replace("%20", " ")
    if code == "12":
        assert found["grpc-accept-encoding"] == "identity,gzip,deflate,zstd,snappy"
    again = peer.core.open_stream(head(), PREFIX.pack(0, 2) + b"ok")
    peer.flush()
    await eventually(lambda: "grpc-status" in status(peer, again))
    assert status(peer, again)["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ([(b":method", b"GET"), (b":path", b"/"), (b":scheme", b"http")], "405"),
        ([(b":method", b"POST"), (b":path", b"/t.T/Echo"), (b":scheme", b"http"), (b"content-type", b"a/b")], "415"),
        ([(b":method", b"POST"), (b":path", b"/t.T/Echo")], None),
        ([(b":method", b"POST"), (b":path", b"/"), (b":scheme", b"http"), (b"UPPER", b"x")], None),
        ([(b":method", b"POST"), (b":path", b"/"), (b":path", b"/t.T/Echo"), (b":scheme", b"http")], None),
    ],
)
async def test_requests_that_are_not_grpc(serve, raw_client, eventually, headers, answer):
    """HTTP gets an HTTP status, a malformed request a RST_STREAM."""
    served = await serve()
    peer = await raw_client(served.port)
    stream_id = peer.core.open_stream(encode_headers(headers), b"")
    peer.flush()
    if answer is None:
        await eventually(lambda: peer.of(StreamReset))
        assert peer.of(StreamReset)[0].code == frames.PROTOCOL_ERROR
    else:
        await eventually(lambda: status(peer, stream_id))
        assert status(peer, stream_id)[":status"] == answer


async def test_rapid_resets_leave_no_handlers(serve, raw_client, eventually):
    """Thousands of calls that are reset at once: the connection ends, handlers are cancelled, others are served."""
    served = await serve(max_concurrent_streams=100)
    peer = await raw_client(served.port)
    for _ in range(10_000):
        stream_id = peer.core.open_stream(head(b"/t.T/Slow"), PREFIX.pack(0, 0))
        peer.core.reset(stream_id, frames.CANCEL)
    peer.flush()
    await eventually(lambda: peer.lost)
    await eventually(lambda: served.slow.running == 0)
    fresh = await raw_client(served.port)
    ok = fresh.core.open_stream(head(), PREFIX.pack(0, 0))
    fresh.flush()
    await eventually(lambda: "grpc-status" in status(fresh, ok))


async def test_incomplete_messages_cannot_fill_the_memory(serve, raw_client, eventually):
    """One connection holds its budget at most: the youngest incomplete calls are refused, the others end well."""
    budget = 1 << 20
    served = await serve(max_message_bytes=512 << 10, connection_budget=budget)
    peer = await raw_client(served.port)
    whole = PREFIX.pack(0, 400_000) + b"m" * 400_000
    streams = [peer.core.open_stream(head(), whole) for _ in range(20)]
    peer.flush()
    await eventually(lambda: all("grpc-status" in status(peer, stream_id) for stream_id in streams))
    codes = [status(peer, stream_id)["grpc-status"] for stream_id in streams]
    assert set(codes) == {"0", "8"}
    assert codes[0] == "0"
    refused = status(peer, streams[codes.index("8")])
    assert "grpc-status-details-bin" in refused
    assert sum(len(event.data) for event in peer.of(DataReceived)) == codes.count("0") * len(whole)


async def test_all_connections_share_a_budget(serve, raw_client, eventually):
    """What one connection holds is missing for the others, which are told to come again; it comes back at its end."""
    served = await serve(max_message_bytes=512 << 10, server_budget=512 << 10)
    whole = PREFIX.pack(0, 400_000) + b"m" * 400_000
    holder, other = await raw_client(served.port), await raw_client(served.port)
    held = holder.core.open_stream(head(b"/t.T/Slow"), whole)
    holder.flush()
    await eventually(lambda: served.slow.running == 1)
    refused = other.core.open_stream(head(), whole)
    other.flush()
    await eventually(lambda: "grpc-status" in status(other, refused))
    assert status(other, refused)["grpc-status"] == "8"
    assert "grpc-status-details-bin" in status(other, refused)
    served.slow.go.set()
    await eventually(lambda: "grpc-status" in status(holder, held))
    again = other.core.open_stream(head(), whole)
    other.flush()
    await eventually(lambda: "grpc-status" in status(other, again))
    assert status(other, again)["grpc-status"] == "0"


def begin(peer, block: bytes) -> int:
    """Open a stream and leave its body open."""
    core = peer.core
    stream_id = core.next_stream
    core.next_stream += 2
    core.streams[stream_id] = Stream(stream_id, core.peer.initial_window, core.limits.stream_window)
    core.send_headers(stream_id, block, False)
    peer.flush()
    return stream_id


def send(peer, stream_id: int, data: bytes, end: bool = False) -> None:
    """One DATA frame."""
    peer.transport.write(frames.header(len(data), frames.DATA, int(end), stream_id) + data)


async def test_a_body_that_comes_too_slowly_is_ended(serve, raw_client, channel, eventually):
    """Also one of which nothing came; what is quick on the same connection and on others goes on, and the memory that
    was held is there again."""
    served = await serve(max_message_bytes=512 << 10, server_budget=512 << 10, body_grace=0.2)
    peer = await raw_client(served.port)
    slow, empty = begin(peer, head()), begin(peer, head())
    send(peer, slow, PREFIX.pack(0, 400_000) + b"m" * 500)
    await eventually(lambda: all("grpc-status" in status(peer, stream_id) for stream_id in (slow, empty)))
    assert status(peer, slow)["grpc-status"] == status(peer, empty)["grpc-status"] == "14"
    assert "only 505 bytes" in status(peer, slow)["grpc-message"]
    quick = peer.core.open_stream(head(), PREFIX.pack(0, 1) + b"m")
    peer.flush()
    await eventually(lambda: "grpc-status" in status(peer, quick))
    assert status(peer, quick)["grpc-status"] == "0"
    assert await channel(served.port).unary("/t.T/Echo", b"m" * 500_000, timeout=5) == b"m" * 500_000


async def test_a_body_at_a_sufficient_rate_may_take_its_time(serve, raw_client, eventually):
    """Longer than the grace, in pieces; and a handler that works longer than that is not meant at all."""
    served = await serve(body_grace=0.2)
    peer = await raw_client(served.port)
    pieces, size = 12, 4_000
    stream = begin(peer, head(b"/t.T/Slow"))
    send(peer, stream, PREFIX.pack(0, pieces * size))
    for number in range(pieces):
        send(peer, stream, b"m" * size, number == pieces - 1)
        await asyncio.sleep(0.04)
    await eventually(lambda: served.slow.running == 1)
    await asyncio.sleep(0.5)
    assert "grpc-status" not in status(peer, stream)
    served.slow.go.set()
    await eventually(lambda: "grpc-status" in status(peer, stream))
    assert status(peer, stream)["grpc-status"] == "0"


async def test_one_connection_too_many_is_closed_at_once(serve, raw_client, eventually):
    """The others go on; when one of them ends there is room again."""
    served = await serve(max_connections=2)
    first, second = await raw_client(served.port), await raw_client(served.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    second.transport.abort()
    await eventually(lambda: served.server.connections == 1)
    for peer in (first, await raw_client(served.port)):
        call = peer.core.open_stream(head(), PREFIX.pack(0, 1) + b"m")
        peer.flush()
        await eventually(lambda peer=peer, call=call: "grpc-status" in status(peer, call))


async def test_a_peer_that_does_not_read_is_not_read_from(serve, raw_client, eventually):
    """Answers pile up to the transport's limit; then the server stops taking calls, and resumes later."""
    served = await serve(max_message_bytes=1 << 20)
    peer = await raw_client(served.port)
    peer.transport.pause_reading()
    message = PREFIX.pack(0, 20_000) + b"m" * 20_000
    peer.core.receive(frames.window_update(0, 1 << 28) + frames.settings({4: 1 << 20}), 0.0)
    streams = []
    for _ in range(1500):
        streams.append(peer.core.open_stream(head(), message))
    peer.flush()
    await asyncio.sleep(0.3)
    assert peer.transport.get_write_buffer_size() > 0
    peer.transport.resume_reading()
    await eventually(lambda: len(peer.of(HeadersReceived)) >= 1000, 10)
