"""A crash in one component of a running Collector, seen through the real health page."""

import asyncio
import json

from heliograph.app.collector import Collector
from heliograph.component.batch import Batch
from heliograph.component.ids import Kind, Signal
from heliograph.config.decode import from_plain
from heliograph.extensions.health_check import HealthCheck
from heliograph.extensions.health_check.config import HealthCheckConfig
from heliograph.testing.parts import Parts, configuration
from heliograph.testing.wait import until


async def page(port: int) -> tuple[int, dict[str, object]]:
    """Status and JSON of the page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(body)


async def test_a_crash_is_named_by_the_health_page_while_siblings_work() -> None:
    """200 before; then 503 with component, status and message; data still flows to the sibling."""
    parts = Parts()
    port: list[int] = []

    class Seen(HealthCheck):
        async def start(self, host: object) -> None:
            await super().start(host)  # type: ignore[arg-type]
            port.append(self.port)

    def factories(kind: Kind, type_: str):  # type: ignore[no-untyped-def]
        found = parts.factory(kind, type_)
        if type_ == "health_check":
            return type(found)(found.kind, found.type, found.config, Seen, frozenset())
        return found

    config = from_plain(HealthCheckConfig, {"endpoint": "127.0.0.1:0"})
    loaded = configuration(
        {"logs": ("tap", "", "sink sink/2")},
        extensions="health_check",
        configs={"extension/health_check": config},
    )
    collector = Collector(loaded, factories=factories)
    await collector.start()
    assert (await page(port[0]))[0] == 200
    crash = parts.sink("sink", "logs").crash
    assert crash is not None
    crash.set_exception(RuntimeError("its bug"))
    await until(lambda: "Permanent" in str(collector.health.statuses()), "the crash in health")
    status, report = await page(port[0])
    assert status == 503
    message = "exporter/sink/logs work crashed: RuntimeError: its bug"
    assert report["components"] == {"exporter/sink": {"status": "StatusPermanentError", "message": message}}
    await parts.push("tap", Batch(Signal.LOGS, (b"",), 1))
    assert parts.sink("sink/2", "logs").items == 1
    await collector.shutdown(1)
