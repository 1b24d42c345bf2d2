"""kill -9 under load, again and again, with the state in a directory.

Every request is of a service of its own, so that each can be looked at alone: what was acknowledged is counted exactly
once in every interval, what was not is counted wholly or not at all. A window that was sent twice, because the process
died before it saw the acknowledgement, has the same dimensions, times and values: Elasticsearch keeps one.
HELIOGRAPH_KILLS sets how often (the acceptance runs use 20).
"""

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apm_metrics import INSTANCE, resource_spans, rows, transaction
from heliograph.net.grpc.client import GrpcChannel, GrpcError
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.wait import until
from tiers import EXPORT, free_ports

KILLS = int(os.environ.get("HELIOGRAPH_KILLS", "2"))
SPANS = 50


class Gateway:
    """A process with the connector between an otlp receiver and an otlp_grpc exporter."""

    def __init__(self, folder: Path, port: int, to: int) -> None:
        self.config = folder / "gateway.yaml"
        self.log = folder / "log"
        self.port = port
        self.process: asyncio.subprocess.Process | None = None
        configuration: dict[str, Any] = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}},
            "connectors": {
                "elasticapm": {"aggregation": {"directory": str(folder / "state"), "intervals": ["1s", "60s"]}}
            },
            "exporters": {"otlp_grpc": {"endpoint": f"127.0.0.1:{to}", "tls": {"insecure": True}}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": ["elasticapm"]},
                    "metrics": {"receivers": ["elasticapm"], "exporters": ["otlp_grpc"]},
                },
            },
        }
        self.config.write_text(yaml.safe_dump(configuration))

    async def start(self) -> None:
        """Start it and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "heliograph", f"--config={self.config}", stdout=log, stderr=log
            )
        end = time.monotonic() + 20
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                assert self.process.returncode is None, self.log.read_text()
                assert time.monotonic() < end, self.log.read_text()
                await asyncio.sleep(0.02)

    async def stop(self, how: signal.Signals) -> None:
        """End it."""
        assert self.process is not None
        self.process.send_signal(how)
        await self.process.wait()


class Sender:
    """Sends requests, several at once, and notes which were acknowledged. A refused one is not sent again."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.acknowledged: set[str] = set()
        self.unsure: set[str] = set()
        self.running = True

    async def run(self, name: str) -> None:
        """Until `running` is no more."""
        channel = GrpcChannel("127.0.0.1", self.port)
        number = 0
        while self.running:
            number += 1
            service = f"{name}-{number}"
            spans = [transaction(us=us, end=time.time_ns()) for us in range(1, SPANS + 1)]
            request = ExportTraceServiceRequest(
                resource_spans=[resource_spans(*spans, resource={"service.name": service})]
            )
            try:
                await channel.unary(EXPORT, request.SerializeToString(), metadata=[], timeout=10.0, compression="none")
                self.acknowledged.add(service)
            except (GrpcError, OSError):
                self.unsure.add(service)
                await asyncio.sleep(0.2)
        await channel.close()


@pytest.mark.timeout(90 + 15 * KILLS)
async def test_what_was_acknowledged_is_counted_exactly_once(tmp_path: Path) -> None:
    """Killed at random moments, boundaries of windows included; at the end stopped in peace, which writes the rest."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with OTLPServer(signals=["metrics"]) as server:
        gateway = Gateway(tmp_path, free_ports(1), server.ports["grpc"])
        await gateway.start()
        sender = Sender(gateway.port)
        tasks = [asyncio.create_task(sender.run(f"s{worker}")) for worker in range(3)]
        for _ in range(KILLS):
            before = len(sender.acknowledged)
            await until(lambda before=before: len(sender.acknowledged) > before + 5, "requests", 20)
            await asyncio.sleep(chance.uniform(0.05, 1.5))
            await gateway.stop(signal.SIGKILL)
            await gateway.start()
        before = len(sender.acknowledged)
        await until(lambda: len(sender.acknowledged) > before + 5, "requests", 20)
        sender.running = False
        await asyncio.gather(*tasks)
        await gateway.stop(signal.SIGTERM)
        found = rows(server.sinks["metrics"].messages)
    assert len({row.resource[INSTANCE] for row in found}) == 1
    points: dict[tuple[Any, ...], bytes] = {}
    counts: dict[tuple[str, str, str], int] = {}
    for row in found:
        key = (row.resource["service.name"], row.metric, row.dataset, str(row.attributes), row.time)
        value = row.point.SerializeToString()
        if key in points:
            assert points[key] == value, f"written twice, and not alike: {key}"
            continue
        points[key] = value
        place = (row.resource["service.name"], row.metric, row.dataset)
        counts[place] = counts.get(place, 0) + row.count
    series = [
        ("service_summary", "service_summary"),
        ("event.success_count", "transaction"),
        ("transaction.duration.histogram", "service_transaction"),
    ]
    wrong = {
        (service, metric, interval): count
        for service in sender.acknowledged | sender.unsure
        for metric, metricset in series
        for interval in ("0m", "1m")
        if (count := counts.get((service, metric, f"{metricset}.{interval}"), 0)) != SPANS
        and (count != 0 or service in sender.acknowledged)
    }
    print(
        f"{len(sender.acknowledged)} requests acknowledged, {len(sender.unsure)} not,"
        f" {len(found) - len(points)} points written twice"
    )
    assert wrong == {}
    assert len(sender.acknowledged) > 6 * KILLS
