"""A tier that is away: memory and disk stay bounded, senders are told to keep their data, and nothing is lost."""

import asyncio
import importlib.util
import time
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from heliograph.delivery.spool import SEGMENT_BYTES
from heliograph.net.grpc.client import GrpcChannel, GrpcError
from heliograph.net.grpc.status import RESOURCE_EXHAUSTED, UNAVAILABLE

spec = importlib.util.spec_from_file_location("tiers", Path(__file__).with_name("tiers.py"))
assert spec is not None
assert spec.loader is not None
tiers_module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiers_module)
Tiers, ContainerWriter, SECONDS = tiers_module.Tiers, tiers_module.ContainerWriter, tiers_module.SECONDS

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
QUEUE_BYTES = 3_000_000
SPANS = 400
PADDING = "x" * 200
RESIDENT_LIMIT = 200 * 1024 * 1024


class SpanSender:
    """Sends requests of numbered spans, one after the other, and again when it is told to keep them."""

    def __init__(self, port: int) -> None:
        self.channel = GrpcChannel("127.0.0.1", port)
        self.acknowledged = 0
        self.refusals: list[GrpcError] = []

    async def run(self, seconds: float) -> None:
        """Send for a time; return when everything that was begun is acknowledged."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self._send(self._request(self.acknowledged))
            self.acknowledged += SPANS
            await asyncio.sleep(0.05)
        await self.channel.close()

    async def _send(self, body: bytes) -> None:
        while True:
            try:
                await self.channel.unary(EXPORT, body, metadata=[], timeout=10.0, compression="none")
                return
            except GrpcError as error:
                if error.status not in (RESOURCE_EXHAUSTED, UNAVAILABLE):
                    raise
                self.refusals.append(error)
                await asyncio.sleep(error.retry_after or 0.2)

    def _request(self, first: int) -> bytes:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "sender"
        scope = resource.scope_spans.add()
        now = time.time_ns()
        for number in range(first, first + SPANS):
            scope.spans.add(
                trace_id=number.to_bytes(16, "big"),
                span_id=(number + 1).to_bytes(8, "big"),
                name=f"span {number} {PADDING}",
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1000,
            )
        return bytes(request.SerializeToString())


@pytest.mark.timeout(400)
async def test_the_gateway_is_away(tmp_path: Path) -> None:
    """Under load of logs and spans the gateway stops and comes back: the daemon's queue fills to its bound, its memory
    stays bounded, senders get RESOURCE_EXHAUSTED or UNAVAILABLE with a time to wait, and everything arrives."""
    sets = [
        f"exporters.otlp_grpc/gateway.sending_queue.queue_size={QUEUE_BYTES}",
        "exporters.otlp_grpc/gateway.sending_queue.batch.min_size=100000",
        "exporters.otlp_grpc/gateway.sending_queue.batch.max_size=300000",
    ]
    writer = ContainerWriter(tmp_path / "pods", "rename", rate=5_000)
    async with Tiers(tmp_path / "data", tmp_path / "pods", sets) as tiers:
        sender = SpanSender(tiers.arguments.otlp_grpc_port)
        load = asyncio.gather(writer.run(1.5 * SECONDS, rotate_every=SECONDS), sender.run(1.5 * SECONDS))
        await asyncio.sleep(SECONDS / 4)
        await tiers.processes["gateway"].stop()
        await asyncio.sleep(SECONDS)
        on_disk = sum(path.stat().st_size for path in (tmp_path / "data" / "daemon").rglob("*") if path.is_file())
        await tiers.processes["gateway"].start()
        await load
        spans = await tiers.arrived("traces", sender.acknowledged)
        lines = await tiers.arrived("logs", writer.lines)
        resident = tiers.resident("daemon")
        names = Counter(str(document["name"]) for document in tiers.documents("traces"))
    assert lines == writer.lines
    assert set(names) == {f"span {number} {PADDING}" for number in range(sender.acknowledged)}
    assert spans >= sender.acknowledged
    assert sender.refusals, "the queue never filled: the load is too small for this test"
    assert any(error.retry_after for error in sender.refusals)
    # one queue for each signal (three), each with a segment that is only partly acknowledged
    assert on_disk < 3 * (QUEUE_BYTES + SEGMENT_BYTES)
    assert resident < RESIDENT_LIMIT
