"""OTLP over gRPC, driven by the official gRPC library: what is taken, and the answer to everything that is not."""

import asyncio
import random
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from heliograph.component.auth import Unauthenticated
from heliograph.component.errors import Overloaded, Permanent, Retryable
from heliograph.component.ids import Signal
from heliograph.net.grpc.status import decode_retry_after
from heliograph.otlp.request import request
from heliograph.testing.memory import PeakMemory
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.telemetry import Telemetry

SIGNALS = ("traces", "metrics", "logs")
PATHS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "profiles": "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
}


@pytest.fixture
async def server() -> AsyncIterator[OTLPServer]:
    async with OTLPServer({"grpc": {}}) as server:
        yield server


def spans() -> bytes:
    """A small valid request."""
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.add(name="a span", trace_id=b"t" * 16, span_id=b"s" * 8)
    return message.SerializeToString()


async def export(
    server: OTLPServer,
    signal: str,
    body: bytes,
    *,
    compression: grpc.Compression = grpc.Compression.NoCompression,
    metadata: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """One call. Raises grpc.aio.AioRpcError."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports['grpc']}", compression=compression) as channel:
        answer: bytes = await channel.unary_unary(PATHS[signal])(body, timeout=40, metadata=metadata)
        return answer


async def refused(server: OTLPServer, signal: str, body: bytes, **options: object) -> grpc.aio.AioRpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(server, signal, body, **options)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
async def test_messages_are_taken_as_they_are(signal: str, compression: grpc.Compression, server: OTLPServer) -> None:
    """Every signal and compression of the library: the same bytes come out."""
    parts = Telemetry(8).parts(signal)
    assert await export(server, signal, request(parts), compression=compression) == b"\x0a\x00"
    sink = server.sinks[Signal(signal)]
    assert sink.parts == parts
    assert sink.batches[0].context.peer == "127.0.0.1"
    assert sink.batches[0].context.transport == "grpc"
    assert sink.batches[0].context.metadata == {}


async def test_an_empty_request_is_a_success_that_goes_no_further(server: OTLPServer) -> None:
    """Nothing, and a resource without spans."""
    for body in (b"", request([ResourceSpans().SerializeToString()])):
        assert await export(server, "traces", body) == b"\x0a\x00"
    assert server.sinks[Signal.TRACES].batches == []


async def test_malformed_messages_are_invalid_argument_and_counted(server: OTLPServer) -> None:
    """Truncated and random messages; no RetryInfo, so that nobody sends them again; the server goes on."""
    source = random.Random(4)
    for body in (
        spans()[:-2],
        b"\xff" * 50,
        b"\x0a\x05\x0a\x7f",
        *(b"\x0a\x28" + source.randbytes(40) for _ in range(50)),
    ):
        error = await refused(server, "traces", body)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details()
        assert retry_after(error) is None
    assert server.malformed("grpc", "traces") == 53
    assert await export(server, "traces", spans()) == b"\x0a\x00"


async def test_a_signal_without_a_pipeline_is_unimplemented() -> None:
    """Also profiles."""
    async with OTLPServer({"grpc": {}}, signals=["traces"]) as server:
        for signal in ("logs", "profiles"):
            assert (await refused(server, signal, b"")).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_above_the_limit_is_resource_exhausted() -> None:
    """`max_recv_msg_size_mib`, also when it is only large after decompression; without RetryInfo."""
    async with OTLPServer({"grpc": {"max_recv_msg_size_mib": 1}}) as server:
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            error = await refused(server, "traces", bytes(2 << 20), compression=compression)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "larger than max" in str(error.details())
            assert retry_after(error) is None


async def test_a_gzip_bomb_costs_no_memory(server: OTLPServer) -> None:
    """200 MB of zeros, compressed by the client, whose own copy of them counts here; the server adds nothing to it."""
    body = bytes(200 << 20)
    with PeakMemory() as memory:
        error = await refused(server, "traces", body, compression=grpc.Compression.Gzip)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert memory.grown < 264 << 20
    assert await export(server, "traces", spans()) == b"\x0a\x00"


@pytest.mark.parametrize(
    ("error", "code", "after"),
    [
        (Overloaded("the queue is full"), grpc.StatusCode.RESOURCE_EXHAUSTED, 1.0),
        (Overloaded("the queue is full", 7.25), grpc.StatusCode.RESOURCE_EXHAUSTED, 7.25),
        (Retryable("the backend is away", 30), grpc.StatusCode.UNAVAILABLE, 30.0),
        (Retryable("the backend is away"), grpc.StatusCode.UNAVAILABLE, 1.0),
        (Permanent("not that", 3), grpc.StatusCode.INVALID_ARGUMENT, None),
        (Permanent("who are you", 16), grpc.StatusCode.UNAUTHENTICATED, None),
    ],
)
async def test_refused_data_is_answered_so_that_the_sender_keeps_it_or_not(
    error: Exception, code: grpc.StatusCode, after: float | None, server: OTLPServer
) -> None:
    """Each delivery error has its code; RetryInfo where trying again may help."""
    server.sinks[Signal.TRACES].refuse = error  # type: ignore[assignment]
    got = await refused(server, "traces", spans())
    assert (got.code(), got.details(), retry_after(got)) == (code, str(error), after)


async def test_random_bytes_to_the_port_do_no_harm(server: OTLPServer) -> None:
    """Many connections that speak no HTTP/2; calls go on beside them."""
    source = random.Random(9)
    with PeakMemory() as memory:
        for number in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["grpc"])
            preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if number % 2 else b""
            writer.write(preface + source.randbytes(20_000))
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
    assert memory.grown < 32 << 20
    assert await export(server, "traces", spans()) == b"\x0a\x00"


class OneToken:
    """A ServerAuth that knows one token."""

    async def authenticate(self, headers: dict[str, tuple[str, ...]], path: str) -> dict[str, str]:
        if headers.get("token") != ("right",):
            raise Unauthenticated("wrong token")
        return {"subject": "me"}


async def test_senders_are_authenticated_and_their_metadata_goes_along() -> None:
    """`auth` and `include_metadata`."""
    keys = {"auth": {"authenticator": "tokens"}, "include_metadata": True}
    async with OTLPServer({"grpc": keys}, extensions={"tokens": OneToken()}) as server:
        error = await refused(server, "traces", spans())
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "wrong token")
        await export(server, "traces", spans(), metadata=(("token", "right"), ("x-tenant", "acme")))
        context = server.sinks[Signal.TRACES].batches[0].context
        assert context.auth == {"subject": "me"}
        assert context.metadata["x-tenant"] == ("acme",)


def retry_after(error: grpc.aio.AioRpcError) -> float | None:
    """Seconds of the RetryInfo in an error."""
    import base64

    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            return decode_retry_after(base64.b64encode(value).decode())  # type: ignore[arg-type]
    return None
