"""The ledger of whole Collectors with real batches, queues and retries: it closes while data waits and after."""

import asyncio
from pathlib import Path

from heliograph import catalog
from heliograph.app.collector import Collector
from heliograph.component.batch import Batch, Completion, Fate, Outcome
from heliograph.component.ids import Kind, Signal
from heliograph.config.decode import from_plain
from heliograph.testing.parts import Parts, configuration
from heliograph.testing.telemetry import Telemetry
from heliograph.testing.wait import until


def config(kind: Kind, type_: str, data: object) -> object:
    return from_plain(catalog.factory(kind, type_).config, data)


def log_batch(seed: int, outcomes: list[Outcome]) -> Batch:
    """Random logs."""
    message = Telemetry(seed).logs()
    parts = tuple(part.SerializeToString() for part in message.resource_logs)
    items = sum(len(scope.log_records) for part in message.resource_logs for scope in part.scope_logs)
    return Batch(Signal.LOGS, parts, items, completion=Completion(outcomes.append))


async def test_batch_processor_and_two_exporters_with_queues(tmp_path: Path) -> None:
    """Every item of 50 requests is batched, copied to two queued exporters, sent and acknowledged once; the ledger
    closes during it and at the end."""
    parts = Parts()
    loaded = configuration(
        {"logs": ("tap", "batch", "file nop")},
        configs={
            "processor/batch": config(Kind.PROCESSOR, "batch", {"timeout": "20ms", "send_batch_size": 40}),
            "exporter/file": config(Kind.EXPORTER, "file", {"path": str(tmp_path / "out.jsonl")}),
            "exporter/nop": config(Kind.EXPORTER, "nop", {}),
        },
    )
    collector = Collector(loaded, factories=parts.factory)
    await collector.start()
    outcomes: list[Outcome] = []
    sent = 0
    for seed in range(50):
        batch = log_batch(seed, outcomes)
        sent += batch.items
        await parts.push("tap", batch)
        assert collector.ledger.closes()
        await asyncio.sleep(0)
    await until(lambda: len(outcomes) == 50, "all acknowledgements")
    await collector.shutdown(5)
    account = collector.ledger[Signal.LOGS]
    assert {outcome.fate for outcome in outcomes} == {Fate.DELIVERED}
    assert (account.received, account.copied, account.sent, account.waiting) == (sent, sent, 2 * sent, 0)
    assert collector.ledger.closes()
