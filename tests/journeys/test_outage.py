"""A tier that is away: memory and disk stay bounded, senders are told to keep their data, and nothing is lost."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from heliograph.delivery.spool import SEGMENT_BYTES
from tiers import PADDING, SECONDS, ContainerWriter, SpanSender, Tiers

QUEUE_BYTES = 3_000_000
QUEUES = 3
"""One for each signal."""
IN_MEMORY = 8
"""What a loaded process may hold above an idle one, for each of its queues and in QUEUE_BYTES: requests that are read,
cut, compressed and sent, the code for that, and what the allocator keeps; the queues themselves are on disk."""


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
        idle = tiers.resident("daemon")
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
    # each queue has a segment that is only partly acknowledged
    assert on_disk < QUEUES * (QUEUE_BYTES + SEGMENT_BYTES)
    assert resident < idle + QUEUES * IN_MEMORY * QUEUE_BYTES
