"""The gRPC server, called by grpcio's client."""

import asyncio
import ssl

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from heliograph.component.auth import PermissionDenied, Unauthenticated


async def failure(call: grpc.aio.UnaryUnaryCall) -> grpc.aio.AioRpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


@pytest.mark.parametrize("size", [0, 1, 16384, 100_000, 5_000_000])
async def test_messages_of_every_size_come_back(serve, grpcio_channel, size):
    """An echo returns the same bytes."""
    served = await serve(max_message_bytes=8 << 20)
    message = bytes(i % 251 for i in range(1000)) * (size // 1000 + 1)
    echo = grpcio_channel(served.port).unary_unary("/t.T/Echo")
    assert await echo(message[:size], timeout=10) == message[:size]


async def test_fifty_megabytes_both_ways(serve, grpcio_channel):
    """Windows open and close many times, in both directions, for several streams at a time."""
    served = await serve(max_message_bytes=64 << 20, connection_budget=200 << 20)
    message = b"0123456789" * 5_000_000
    echo = grpcio_channel(served.port).unary_unary("/t.T/Echo")
    assert await echo(message, timeout=30) == message
    answers = await asyncio.gather(*[echo(message[: 7_000_000 + i], timeout=30) for i in range(4)])
    assert [len(answer) for answer in answers] == [7_000_000 + i for i in range(4)]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests(serve, grpcio_channel, compression):
    """gzip and deflate as grpcio sends them."""
    served = await serve()
    echo = grpcio_channel(served.port).unary_unary("/t.T/Echo")
    assert await echo(b"abc" * 50_000, compression=compression, timeout=5) == b"abc" * 50_000


async def test_two_hundred_calls_at_once(serve, grpcio_channel, eventually):
    """They all run at the same time on one connection and get their own answers."""
    served = await serve()
    slow = grpcio_channel(served.port).unary_unary("/t.T/Slow")
    calls = [asyncio.ensure_future(slow(b"%d" % i, timeout=20)) for i in range(200)]
    await eventually(lambda: served.slow.running == 200)
    assert served.server.connections == 1
    served.slow.go.set()
    assert await asyncio.gather(*calls) == [b"%d" % i for i in range(200)]


async def test_more_calls_than_streams(serve, grpcio_channel):
    """max_concurrent_streams is announced, and a client keeps to it."""
    served = await serve(max_concurrent_streams=3)
    echo = grpcio_channel(served.port).unary_unary("/t.T/Echo")
    assert len(await asyncio.gather(*[echo(b"x", timeout=10) for _ in range(100)])) == 100


async def test_an_error_carries_status_message_and_retry_info(serve, grpcio_channel):
    """GrpcError with retry_after becomes RESOURCE_EXHAUSTED with a RetryInfo that the official classes read."""
    served = await serve()
    error = await failure(grpcio_channel(served.port).unary_unary("/t.T/Fail")(b"", timeout=5))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "queue full: 100 % of 'größe'"
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    assert (status.code, status.message) == (8, "queue full: 100 % of 'größe'")
    info = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert info.retry_delay.ToNanoseconds() == 2_500_000_000


@pytest.mark.parametrize(
    ("path", "details"),
    [("/t.T/None", "unknown method None for service t.T"), ("/u.U/Echo", "unknown service u.U")],
)
async def test_unknown_methods_are_unimplemented(serve, grpcio_channel, path, details):
    """The answer says whether the service or the method is unknown."""
    served = await serve()
    error = await failure(grpcio_channel(served.port).unary_unary(path)(b"x" * 100_000, timeout=5))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error.details() == details


async def test_a_crash_in_a_handler_is_answered_without_its_text(serve, grpcio_channel, caplog):
    """UNKNOWN for the sender, the traceback in the log, and the connection goes on."""
    served = await serve()
    peer = grpcio_channel(served.port)
    error = await failure(peer.unary_unary("/t.T/Crash")(b"", timeout=5))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "secret" not in error.details()
    assert "a secret detail" in caplog.text
    assert await peer.unary_unary("/t.T/Echo")(b"x", timeout=5) == b"x"


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
async def test_messages_over_the_limit(serve, grpcio_channel, compression):
    """RESOURCE_EXHAUSTED with both sizes; after decompression too; other calls of the connection go on."""
    served = await serve(max_message_bytes=100_000)
    peer = grpcio_channel(served.port)
    error = await failure(peer.unary_unary("/t.T/Echo")(b"x" * 20_000_000, compression=compression, timeout=5))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    if compression is None:
        assert error.details() == "grpc: received message larger than max (20000000 vs. 100000)"
    else:
        assert error.details() == "grpc: received message after decompression larger than max 100000"
    assert await peer.unary_unary("/t.T/Echo")(b"x" * 100_000, timeout=5) == b"x" * 100_000


async def test_a_deadline_cancels_the_handler(serve, grpcio_channel, eventually):
    """The client has DEADLINE_EXCEEDED, the handler is cancelled and nothing is left."""
    served = await serve()
    error = await failure(grpcio_channel(served.port).unary_unary("/t.T/Slow")(b"", timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: served.slow.cancelled == 1 and served.slow.running == 0)


async def test_a_cancelled_call_cancels_its_handler_alone(serve, grpcio_channel, eventually):
    """RST_STREAM reaches the handler; the other call on the connection ends well."""
    served = await serve()
    slow = grpcio_channel(served.port).unary_unary("/t.T/Slow")
    first, second = slow(b"1"), asyncio.ensure_future(slow(b"2"))
    await eventually(lambda: served.slow.running == 2)
    first.cancel()
    await eventually(lambda: served.slow.cancelled == 1)
    served.slow.go.set()
    assert await second == b"2"


async def test_a_handler_sees_peer_metadata_and_deadline(serve, grpcio_channel):
    """Names in lower case, repeated headers as a tuple, no pseudo-headers."""
    served = await serve()
    look = grpcio_channel(served.port).unary_unary("/t.T/Look")
    await look(b"", metadata=[("x-tenant", "a"), ("x-tenant", "b"), ("key-bin", b"\x01\x02")], timeout=5)
    (call,) = served.calls
    assert call.peer == "127.0.0.1"
    assert call.path == "/t.T/Look"
    assert call.metadata["x-tenant"] in (("a", "b"), ("a,b",))
    assert not any(name.startswith(":") for name in call.metadata)
    assert call.deadline is not None


async def test_tls(serve, grpcio_channel, certificates):
    """A client that trusts the CA is served; one that does not is not."""
    served = await serve(ssl=certificates.server_context())
    good = grpc.ssl_channel_credentials(certificates.read("ca.crt"))
    assert await grpcio_channel(served.port, good).unary_unary("/t.T/Echo")(b"x", timeout=5) == b"x"
    bad = grpc.ssl_channel_credentials(certificates.read("client.crt"))
    error = await failure(grpcio_channel(served.port, bad).unary_unary("/t.T/Echo")(b"x", timeout=5))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_mutual_tls(serve, grpcio_channel, certificates):
    """Without a client certificate of the CA nobody is served; 20 MB pass with it."""
    served = await serve(ssl=certificates.server_context(mutual=True), max_message_bytes=32 << 20)
    files = [certificates.read(name) for name in ("ca.crt", "client.key", "client.crt")]
    echo = grpcio_channel(served.port, grpc.ssl_channel_credentials(*files)).unary_unary("/t.T/Echo")
    assert await echo(b"x" * 20_000_000, timeout=20) == b"x" * 20_000_000
    without = grpc.ssl_channel_credentials(files[0])
    error = await failure(grpcio_channel(served.port, without).unary_unary("/t.T/Echo")(b"x", timeout=5))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_tls_without_http2_is_refused(serve, certificates):
    """A client that negotiates HTTP/1.1 by ALPN finds no protocol in common."""
    served = await serve(ssl=certificates.server_context())
    context = certificates.client_context()
    context.set_alpn_protocols(["http/1.1"])
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context, server_hostname="localhost")
    except ssl.SSLError:
        return
    assert writer.get_extra_info("ssl_object").selected_alpn_protocol() is None
    writer.close()


async def test_authentication_comes_before_the_body(serve, grpcio_channel):
    """Its answers are UNAUTHENTICATED and PERMISSION_DENIED, a crash is INTERNAL; its result reaches the handler."""
    seen = []

    async def authenticate(headers, path):
        seen.append(path)
        token = headers.get("authorization", ("",))[0]
        if token == "crash":
            raise KeyError(token)
        if token == "known":
            raise PermissionDenied("not for you")
        if token != "good":
            raise Unauthenticated("no such token")
        return {"subject": "me"}

    served = await serve(authenticate=authenticate)
    peer = grpcio_channel(served.port)
    look = peer.unary_unary("/t.T/Look")
    await look(b"x" * 100_000, metadata=[("authorization", "good")], timeout=5)
    assert served.calls[0].auth == {"subject": "me"}
    for token, code in (
        ("bad", grpc.StatusCode.UNAUTHENTICATED),
        ("known", grpc.StatusCode.PERMISSION_DENIED),
        ("crash", grpc.StatusCode.INTERNAL),
    ):
        error = await failure(look(b"x" * 100_000, metadata=[("authorization", token)], timeout=5))
        assert error.code() is code
    assert len(served.calls) == 1
    assert seen == ["/t.T/Look"] * 4
    error = await failure(peer.unary_unary("/u.U/X")(b"", timeout=5))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
