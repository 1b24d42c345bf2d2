"""The gRPC client: against grpcio's server, and against servers that do what grpcio's does not."""

import asyncio

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from heliograph.net.grpc.client import ClientKeepalive, GrpcError
from heliograph.net.grpc.framing import PREFIX
from heliograph.net.http2 import frames
from heliograph.net.http2.events import DataReceived, HeadersReceived, StreamReset
from heliograph.net.http2.header_block import encode_headers

RESPONSE = encode_headers([(b":status", b"200"), (b"content-type", b"application/grpc")])
OK = encode_headers([(b"grpc-status", b"0")])


async def echo(message, context):
    return message


async def failure(call) -> GrpcError:
    with pytest.raises(GrpcError) as raised:
        await call
    return raised.value


def answer(peer, stream_id: int, message: bytes = b"answer") -> None:
    peer.core.send_headers(stream_id, RESPONSE, False)
    peer.core.send_body(stream_id, PREFIX.pack(0, len(message)) + message, OK)


@pytest.mark.parametrize("compression", ["", "none", "gzip", "deflate"])
@pytest.mark.parametrize("size", [0, 5, 16380, 1_000_000])
async def test_messages_of_every_size_come_back(grpcio_server, channel, size, compression):
    """An echo of grpcio returns the same bytes, compressed or not."""
    port = await grpcio_server({"Echo": echo})
    message = bytes(i % 251 for i in range(1000)) * 1000
    got = await channel(port).unary("/t.T/Echo", message[:size], timeout=10, compression=compression)
    assert got == message[:size]


async def test_fifty_megabytes_both_ways(grpcio_server, channel):
    """The peer's windows are kept, and ours are given back."""
    port = await grpcio_server({"Echo": echo})
    one = channel(port, max_message_bytes=64 << 20)
    message = b"0123456789" * 5_000_000
    assert await one.unary("/t.T/Echo", message, timeout=30) == message
    answers = await asyncio.gather(*[one.unary("/t.T/Echo", message[:9_000_000], timeout=30) for _ in range(4)])
    assert answers == [message[:9_000_000]] * 4


async def test_a_compressed_answer(grpcio_server, channel):
    """grpcio compresses its answer when it is told to."""

    async def packed(message, context):
        context.set_compression(grpc.Compression.Gzip)
        return message * 1000

    port = await grpcio_server({"Packed": packed})
    assert await channel(port).unary("/t.T/Packed", b"abc", timeout=5) == b"abc" * 1000


async def test_more_calls_than_the_peer_has_streams(grpcio_server, channel):
    """Calls over MAX_CONCURRENT_STREAMS wait for their turn."""
    running, most = 0, 0

    async def count(message, context):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return message

    port = await grpcio_server({"Count": count}, grpc__max_concurrent_streams=7)
    one = channel(port)
    calls = [one.unary("/t.T/Count", b"%d" % i, timeout=20) for i in range(200)]
    assert await asyncio.gather(*calls) == [b"%d" % i for i in range(200)]
    assert 1 < most <= 7


async def test_what_the_server_sees(grpcio_server, channel):
    """Metadata, user agent, authority and deadline arrive."""
    seen = {}

    async def look(message, context):
        seen.update(dict(context.invocation_metadata()), left=context.time_remaining(), peer=context)
        return b""

    port = await grpcio_server({"Look": look})
    one = channel(port, user_agent="me/1", authority="other.example:1")
    await one.unary("/t.T/Look", b"", metadata=[("X-Tenant", "a"), ("authorization", "Bearer b")], timeout=7)
    assert seen["x-tenant"] == "a"
    assert seen["authorization"] == "Bearer b"
    assert seen["user-agent"] == "me/1"
    assert 5 < seen["left"] <= 7


async def test_headers_that_are_not_allowed(grpcio_server, channel):
    """Reserved names and line breaks are refused before anything is sent."""
    one = channel(await grpcio_server({"Echo": echo}))
    for header in (("grpc-timeout", "1S"), (":path", "/x"), ("te", "x"), ("a", "b\r\nc: d"), ("", "x")):
        error = await failure(one.unary("/t.T/Echo", b"", metadata=[header], timeout=5))
        assert error.status == 13
        assert "header" in error.message


async def test_status_and_retry_info_of_a_server(grpcio_server, channel):
    """The status, the decoded message, and the delay of a RetryInfo made by the official classes."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=3, nanos=250_000_000)))
    details = status_pb2.Status(code=14, message="später", details=[any_pb2.Any(), detail]).SerializeToString()

    async def refuse(message, context):
        context.set_trailing_metadata([("grpc-status-details-bin", details)])
        await context.abort(grpc.StatusCode.UNAVAILABLE, "später: 100 %")

    one = channel(await grpcio_server({"Refuse": refuse}))
    error = await failure(one.unary("/t.T/Refuse", b"", timeout=5))
    assert (error.status, error.message, error.retry_after) == (14, "später: 100 %", 3.25)
    error = await failure(one.unary("/t.T/None", b"", timeout=5))
    assert (error.status, error.retry_after) == (12, None)


async def test_an_answer_over_the_limit(grpcio_server, channel):
    """RESOURCE_EXHAUSTED, and the connection goes on."""
    one = channel(await grpcio_server({"Echo": echo}), max_message_bytes=1000)
    error = await failure(one.unary("/t.T/Echo", b"x" * 2_000_000, timeout=5))
    assert (error.status, error.message) == (8, "grpc: received message larger than max (2000000 vs. 1000)")
    assert await one.unary("/t.T/Echo", b"x", timeout=5) == b"x"


async def test_a_connect_that_fails(free_port, grpcio_server, channel, eventually):
    """UNAVAILABLE at once with address and cause, the same during the back-off, and success after the server came."""
    port = free_port()
    one = channel(port)
    told = set()
    for _ in range(2):
        error = await failure(one.unary("/t.T/Echo", b"", timeout=5))
        assert error.status == 14
        told.add(error.message)
        assert f"127.0.0.1:{port}" in error.message
        assert "Connect call failed" in error.message or "refused" in error.message.lower()
    assert len(told) == 1, "a health that is told with another text is a change that is logged"
    await grpcio_server({"Echo": echo}, port=port)
    async with asyncio.timeout(5):
        while True:
            try:
                assert await one.unary("/t.T/Echo", b"x", timeout=5) == b"x"
                return
            except GrpcError:
                await asyncio.sleep(0.05)


async def test_a_name_that_does_not_resolve(channel):
    """The error names the host."""
    error = await failure(channel(4317, host="nowhere.invalid").unary("/t.T/Echo", b"", timeout=10))
    assert error.status == 14
    assert "cannot resolve nowhere.invalid" in error.message


async def test_each_address_of_a_host_is_tried(free_port, grpcio_server, channel):
    """The first address is dead, the second one serves."""
    port = await grpcio_server({"Echo": echo})
    dead = free_port()

    async def addresses(host, port_):
        return [("127.0.0.1", dead), ("127.0.0.1", port)]

    assert await channel(1, host="two.example", resolve=addresses).unary("/t.T/Echo", b"x", timeout=5) == b"x"


async def test_a_deadline(grpcio_server, channel, eventually):
    """The caller has DEADLINE_EXCEEDED naming endpoint and duration; the server sees the call cancelled."""
    ended = asyncio.Event()

    async def never(message, context):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    port = await grpcio_server({"Never": never, "Echo": echo})
    one = channel(port)
    error = await failure(one.unary("/t.T/Never", b"", timeout=0.2))
    assert error.status == 4
    assert error.message == f"no answer from 127.0.0.1:{port} to /t.T/Never within 0.2 s"
    await asyncio.wait_for(ended.wait(), 5)
    assert await one.unary("/t.T/Echo", b"x", timeout=5) == b"x"


async def test_a_cancelled_caller_resets_its_stream(raw_server, channel, eventually):
    """The server gets RST_STREAM CANCEL."""
    port, peers = await raw_server(lambda peer, event: None)
    call = asyncio.ensure_future(channel(port).unary("/t.T/Echo", b"x", timeout=5))
    await eventually(lambda: peers and peers[0].of(DataReceived))
    call.cancel()
    await eventually(lambda: peers[0].of(StreamReset))
    assert peers[0].of(StreamReset)[0].code == frames.CANCEL


async def test_goaway_sends_unprocessed_calls_again(raw_server, channel):
    """Streams above the last one of a GOAWAY go out on a new connection, those below are finished on the old one."""
    peers_seen = []

    def react(peer, event):
        if peer not in peers_seen:
            peers_seen.append(peer)
        if not isinstance(event, DataReceived) or not event.ended:
            return
        if peer is not peers_seen[0]:
            answer(peer, event.stream_id, b"second")
        elif event.stream_id == 5:
            peer.core.goaway(3, frames.NO_ERROR, b"moving")
            answer(peer, 1, b"first")
            answer(peer, 3, b"first")

    port, peers = await raw_server(react)
    one = channel(port)
    got = await asyncio.gather(*[one.unary("/t.T/Echo", b"x", timeout=5) for _ in range(4)])
    assert sorted(got) == [b"first", b"first", b"second", b"second"]
    assert len(peers) == 2


async def test_a_refused_stream_is_sent_again(raw_server, channel):
    """REFUSED_STREAM is safe to repeat; a server that always refuses ends in UNAVAILABLE."""
    refused = 0

    def react(peer, event):
        nonlocal refused
        if isinstance(event, HeadersReceived):
            refused += 1
            if refused <= 2:
                peer.core.reset(event.stream_id, frames.REFUSED_STREAM)
        elif isinstance(event, DataReceived) and event.ended:
            answer(peer, event.stream_id)

    port, _ = await raw_server(react)
    assert await channel(port).unary("/t.T/Echo", b"x", timeout=5) == b"answer"
    refused = -100
    error = await failure(channel(port).unary("/t.T/Echo", b"x", timeout=5))
    assert error.status == 14
    assert "REFUSED_STREAM" in error.message


async def test_a_lost_connection_fails_its_calls_and_the_next_one_reconnects(raw_server, channel):
    """A call whose fate is unknown is not repeated: UNAVAILABLE; the next call uses a new connection."""

    def react(peer, event):
        if isinstance(event, DataReceived):
            if len(peers) == 1:
                peer.transport.abort()
            else:
                answer(peer, event.stream_id)

    port, peers = await raw_server(react)
    one = channel(port)
    error = await failure(one.unary("/t.T/Echo", b"x", timeout=5))
    assert error.status == 14
    assert f"127.0.0.1:{port}" in error.message
    assert await one.unary("/t.T/Echo", b"x", timeout=5) == b"answer"
    assert len(peers) == 2


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ([(b":status", b"503"), (b"content-type", b"text/html")], 14, "HTTP status '503'"),
        ([(b":status", b"401")], 16, "HTTP status '401'"),
        ([(b":status", b"200"), (b"content-type", b"text/html")], 2, "content-type 'text/html'"),
        ([(b":status", b"200"), (b"content-type", b"application/grpc")], 2, "no grpc-status"),
        ([(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0")], 13, "no message"),
        ([(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"7")], 7, "no reason"),
        ([(b"UPPER", b"x")], 13, "malformed answer"),
    ],
)
async def test_answers_that_are_not_grpc(raw_server, channel, headers, status, text):
    """A proxy's or a broken server's answer becomes the status of gRPC's table, and the message says what came."""

    def react(peer, event):
        if isinstance(event, HeadersReceived):
            peer.core.send_headers(event.stream_id, encode_headers(headers), True)

    port, _ = await raw_server(react)
    error = await failure(channel(port).unary("/t.T/Echo", b"x", timeout=5))
    assert error.status == status
    assert text in error.message


async def test_a_server_that_is_no_http2_server(channel):
    """The error says so and names the address, without waiting for the timeout."""

    async def http1(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(http1, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    error = await failure(channel(port).unary("/t.T/Echo", b"x", timeout=5))
    listener.close()
    assert error.status == 14
    assert f"127.0.0.1:{port}: the connection ended before the server spoke HTTP/2" in error.message


async def test_a_server_that_accepts_and_is_silent(channel):
    """The connect timeout ends the wait for SETTINGS."""
    connections = []

    async def silent(reader, writer):
        connections.append(writer)

    listener = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    error = await failure(channel(port, connect_timeout=0.2).unary("/t.T/Echo", b"x", timeout=5))
    listener.close()
    for writer in connections:
        writer.close()
    assert error.status == 14
    assert f"127.0.0.1:{port}: no answer within 0.2 s" in error.message


async def test_keepalive_finds_a_dead_connection(raw_server, channel, eventually):
    """A server that does not answer a ping during a call: UNAVAILABLE long before the deadline."""
    port, peers = await raw_server(lambda peer, event: None)
    one = channel(port, keepalive=ClientKeepalive(time=0.1, timeout=0.1))
    call = asyncio.ensure_future(one.unary("/t.T/Echo", b"x", timeout=20))
    await eventually(lambda: peers and peers[0].of(DataReceived))
    peers[0].flush = lambda: None
    error = await failure(asyncio.wait_for(call, 5))
    assert error.status == 14
    assert "keepalive ping within 0.1 s" in error.message


async def test_tls(grpcio_server, channel, certificates):
    """With the CA it works, by the certificate's name; without it the error says why."""
    pair = (certificates.read("server.key"), certificates.read("server.crt"))
    port = await grpcio_server({"Echo": echo}, credentials=grpc.ssl_server_credentials([pair]))
    one = channel(port, ssl=certificates.client_context(), max_message_bytes=32 << 20)
    assert await one.unary("/t.T/Echo", b"x" * 20_000_000, timeout=20) == b"x" * 20_000_000
    error = await failure(
        channel(port, ssl=certificates.client_context(trust=False)).unary("/t.T/Echo", b"", timeout=5)
    )
    assert error.status == 14
    assert "certificate is not accepted" in error.message
    wrong = channel(port, ssl=certificates.client_context(), server_name="other.example")
    assert "certificate is not accepted" in (await failure(wrong.unary("/t.T/Echo", b"", timeout=5))).message


async def test_mutual_tls(grpcio_server, channel, certificates):
    """A server that asks for a client certificate serves the one of its CA only."""
    pair = (certificates.read("server.key"), certificates.read("server.crt"))
    credentials = grpc.ssl_server_credentials([pair], certificates.read("ca.crt"), require_client_auth=True)
    port = await grpcio_server({"Echo": echo}, credentials=credentials)
    good = channel(port, ssl=certificates.client_context(mutual=True))
    assert await good.unary("/t.T/Echo", b"x", timeout=5) == b"x"
    bad = channel(port, ssl=certificates.client_context())
    assert (await failure(bad.unary("/t.T/Echo", b"x", timeout=5))).status == 14


@pytest.mark.parametrize("compression", ["gzip", "deflate", "zstd", "snappy"])
async def test_every_compression_to_our_own_server(serve, channel, compression):
    """What one side packs the other unpacks."""
    served = await serve()
    message = bytes(range(256)) * 1000
    assert await channel(served.port).unary("/t.T/Echo", message, timeout=5, compression=compression) == message


async def test_close_ends_calls(serve, channel, eventually):
    """Calls that run get UNAVAILABLE, later ones too; the server has no connection left."""
    served = await serve()
    one = channel(served.port)
    call = asyncio.ensure_future(one.unary("/t.T/Slow", b"", timeout=5))
    await eventually(lambda: served.slow.running == 1)
    await one.close()
    assert (await failure(call)).status == 14
    assert "closed" in (await failure(one.unary("/t.T/Echo", b"", timeout=5))).message
    await eventually(lambda: served.server.connections == 0 and served.slow.running == 0)
