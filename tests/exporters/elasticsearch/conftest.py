"""A bulk server that records, and exporters that are started against it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.batch import Batch, Completion, Context, Outcome
from heliograph.component.clock import Clock
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.delivery.delivery import Delivery
from heliograph.exporters.elasticsearch import FACTORY
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.otlp.messages import resource_message_class
from heliograph.testing.bulk_server import BulkServer
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings


class RunningExporter:
    """An exporter with its host, its settings (for ledger and metrics) and the outcomes of its batches."""

    def __init__(self, exporter: Delivery, host: TestHost, made: Settings) -> None:
        self.exporter = exporter
        self.host = host
        self.settings = made
        self.outcomes: list[Outcome] = []

    @property
    def account(self) -> Any:
        """The ledger's account of the signal."""
        assert self.settings.signal is not None
        return self.settings.telemetry.ledger[self.settings.signal]

    async def send(self, parts: list[bytes], **context: Any) -> None:
        """Hand a batch over; with `sending_queue: {enabled: false}` until it is delivered."""
        assert self.settings.signal is not None
        signal = self.settings.signal
        items = count(signal, parts)
        self.account.received += items
        batch = Batch(signal, parts, items, completion=Completion(self.outcomes.append), context=Context(**context))
        await self.exporter.consume(batch)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric with the exporter's labels."""
        own = {"exporter": str(self.settings.id), "data_type": str(self.settings.signal), **labels}
        return self.settings.telemetry.metrics.value(name, own)


def count(signal: str, parts: list[bytes]) -> int:
    """Spans, log records or data points, by the official classes."""
    total = 0
    for part in parts:
        message = resource_message_class(str(signal)).FromString(part)
        if signal == "logs":
            total += sum(len(scope.log_records) for scope in message.scope_logs)
        elif signal == "traces":
            total += sum(len(scope.spans) for scope in message.scope_spans)
        else:
            for scope in message.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data")
                    total += len(getattr(metric, kind).data_points) if kind else 0
    return total


Start = Callable[..., Awaitable[RunningExporter]]


@pytest.fixture
async def server() -> AsyncIterator[BulkServer]:
    """A recording bulk server."""
    async with BulkServer() as running:
        yield running


@pytest.fixture
async def start(server: BulkServer, tmp_path: Path) -> AsyncIterator[Start]:
    """start(signal, clock=..., **configuration): an exporter against the server, without a queue by default."""
    running: list[RunningExporter] = []

    async def make(
        signal: str, *, clock: Clock | None = None, extensions: dict[str, object] | None = None, **configuration: Any
    ) -> RunningExporter:
        plain = {
            "endpoint": server.url,
            "sending_queue": {"enabled": False},
            "dead_letters": {"directory": str(tmp_path / "dead")},
            **configuration,
        }
        if "endpoints" in plain:
            del plain["endpoint"]
        config = from_plain(ElasticsearchConfig, plain)
        made = settings("exporter", "elasticsearch/es", Signal(signal))
        host = TestHost(clock=clock, extensions=extensions)
        exporter = FACTORY.create(made, config)
        assert isinstance(exporter, Delivery)
        await exporter.start(host)
        running.append(RunningExporter(exporter, host, made))
        return running[-1]

    yield make
    for one in running:
        await one.exporter.shutdown(one.host.clock.monotonic() + 1)
        await one.host.close()
