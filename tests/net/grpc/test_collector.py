"""The upstream Collector (grpc-go) between our client and our server."""

import asyncio

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from heliograph.net.grpc.server import GrpcServer

PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def request(spans: int, size: int) -> bytes:
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for number in range(spans):
        span = scope.spans.add(name=f"span {number}", trace_id=b"t" * 16, span_id=number.to_bytes(8, "big"))
        attribute = span.attributes.add(key="filler")
        attribute.value.string_value = "x" * size
    return message.SerializeToString()


@pytest.mark.peer
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "snappy"])
async def test_through_the_collector(upstream_collector, free_port, channel, compression):
    """Requests of our client, small ones and 3 MB, pass grpc-go's server and client in every compression they have."""
    received: list[int] = []
    encodings: set[str] = set()

    async def export(message, call):
        encodings.update(call.metadata.get("grpc-encoding", ("none",)))
        parsed = ExportTraceServiceRequest.FromString(message)
        received.append(sum(len(scope.spans) for entry in parsed.resource_spans for scope in entry.scope_spans))
        return b""

    server = GrpcServer({PATH: export}, max_message_bytes=16 << 20)
    port = await server.listen("127.0.0.1", 0)
    entrance = free_port()
    config = f"""
        receivers: {{otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{entrance}", max_recv_msg_size_mib: 16}}}}}}}}
        exporters:
          otlp_grpc: {{endpoint: "127.0.0.1:{port}", tls: {{insecure: true}}, compression: {compression}}}
        service:
          telemetry: {{metrics: {{level: none}}}}
          pipelines: {{traces: {{receivers: [otlp], exporters: [otlp_grpc]}}}}
    """
    collector = await asyncio.to_thread(upstream_collector, config)
    one = channel(entrance)
    small, large = request(10, 50), request(1000, 3000)
    calls = [one.unary(PATH, small, timeout=20, compression=compression) for _ in range(200)]
    calls += [one.unary(PATH, large, timeout=20, compression=compression) for _ in range(4)]
    await asyncio.gather(*calls)
    assert await collector.stopped() == 0
    await server.close(1.0)
    assert sum(received) == 200 * 10 + 4 * 1000
    assert encodings == {compression}
