"""What the connector makes is taken by a real Elasticsearch with Elastic's templates, and adds up to the spans."""

import time
import uuid
from typing import Any

import aiohttp
import pytest

from apm_metrics import DESTINATION, Bench, resource_spans, transaction
from heliograph.component.clock import SystemClock
from heliograph.config.decode import from_plain
from heliograph.exporters.elasticsearch import FACTORY as EXPORTER
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

pytestmark = [pytest.mark.elasticsearch, pytest.mark.timeout(180)]
SPANS = 300


class Index(SinkConsumer):
    """Keeps what comes, and hands it to an exporter."""

    def __init__(self, exporter: Any) -> None:
        super().__init__()
        self.exporter = exporter

    async def consume(self, batch: Any) -> None:
        self.batches.append(batch.without_completion())
        await self.exporter.consume(batch)


async def counts(url: str, namespace: str) -> dict[str, tuple[int, float]]:
    """Documents and spans by data stream of this namespace. The lab's server has no field type for histograms, so the
    documents themselves are read: `_doc_count` says how many spans are in one."""
    found = {}
    calls = "span.destination.service.response_time.count"
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        for metricset in ("service_summary", "transaction", "service_transaction", "service_destination"):
            for interval in ("1m", "10m", "60m"):
                name = f"{metricset}.{interval}"
                index = f"{url}/metrics-{name}.otel-{namespace}"
                await session.post(f"{index}/_refresh")
                async with session.post(f"{index}/_search", json={"size": 1000}) as response:
                    hits = (await response.json())["hits"]["hits"]
                spans = 0
                for hit in hits:
                    metrics = hit["_source"]["metrics"]
                    number = metrics.get("service_summary", metrics.get(calls))
                    if "transaction" in name:
                        number = hit["_source"]["_doc_count"]
                    spans += int(number or 0)
                found[name] = len(hits), spans
    return found


async def test_every_document_is_taken_and_a_second_writing_changes_nothing(elasticsearch_url: str) -> None:
    """All metricsets and intervals; late spans; then everything once more, as after a crash."""
    namespace = f"apm{uuid.uuid4().hex[:8]}"
    made = settings("exporter", "elasticsearch", "metrics")
    host = TestHost()
    config = {"endpoint": elasticsearch_url, "sending_queue": {"enabled": False}, "retry": {"enabled": False}}
    exporter: Any = EXPORTER.create(made, from_plain(ElasticsearchConfig, config))
    await exporter.start(host)
    bench = Bench()
    bench.clock = SystemClock()  # type: ignore[assignment]
    bench.host = TestHost()
    bench.sink = Index(exporter)
    await bench.start()
    service = {"service.name": "shop", "agent.name": "otlp/go", "data_stream.namespace": namespace, "host.name": "h"}
    now = time.time_ns()
    spans = [
        transaction(
            {**DESTINATION, "transaction.name": f"t{number % 7}", "event.outcome": ("success", "failure")[number % 2]},
            us=number * number,
            end=now - number % 3 * 20 * 60 * 10**9,
            name=f"call {number % 5}",
        )
        for number in range(SPANS)
    ]
    await bench.send(resource_spans(*spans, resource=service))
    await bench.connector.shutdown(bench.clock.monotonic() + 60)
    once = await counts(elasticsearch_url, namespace)
    assert {name: number for name, (_, number) in once.items()} == dict.fromkeys(once, SPANS)
    batches = list(bench.sink.batches)
    for batch in batches:
        await exporter.consume(batch)
    await until(lambda: made.telemetry.ledger["metrics"].sent == 2 * bench.sink.items, "answers", 30)
    assert await counts(elasticsearch_url, namespace) == once
    assert not made.telemetry.ledger["metrics"].dropped
    await exporter.shutdown(host.clock.monotonic() + 5)
    await host.close()
    await bench.host.close()
    async with aiohttp.ClientSession() as session:
        await session.delete(f"{elasticsearch_url}/_data_stream/metrics-*-{namespace}")
