"""The ledger of whole Collectors with real batches, queues and retries: it closes while data waits and after."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from heliograph import catalog
from heliograph.app.collector import Collector
from heliograph.component.batch import Batch, Completion, Fate, Outcome
from heliograph.component.errors import Overloaded
from heliograph.component.ids import Kind, Signal
from heliograph.config.decode import from_plain
from heliograph.otlp.count import count
from heliograph.testing.clock import ManualClock
from heliograph.testing.parts import Parts, configuration
from heliograph.testing.telemetry import Telemetry
from heliograph.testing.wait import until


def config(kind: Kind, type_: str, data: object) -> object:
    return from_plain(catalog.factory(kind, type_).config, data)


def log_batch(seed: int, outcomes: list[Outcome]) -> Batch:
    """Random logs."""
    parts = Telemetry(seed).parts("logs")
    return Batch(Signal.LOGS, parts, sum(count("logs", part) for part in parts), completion=Completion(outcomes.append))


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
        assert collector.ledger[Signal.LOGS].received == sent
        await asyncio.sleep(0)
    await until(lambda: len(outcomes) == 50, "all acknowledgements")
    await collector.shutdown(5)
    account = collector.ledger[Signal.LOGS]
    assert {outcome.fate for outcome in outcomes} == {Fate.DELIVERED}
    assert (account.received, account.copied, account.sent, account.waiting) == (sent, sent, 2 * sent, 0)
    assert collector.ledger.closes()


async def test_backend_away_at_shutdown(free_port: Callable[[], int]) -> None:
    """Two exporters, one of them without its backend: at the end of the time its items are dropped{shutdown}, senders
    hear so once, the other's are sent; the ledger closes while they wait and at the end."""
    parts = Parts()
    retry = {"initial_interval": "50ms"}
    loaded = configuration(
        {"logs": ("tap", "batch", "otlp_http nop")},
        configs={
            "processor/batch": config(Kind.PROCESSOR, "batch", {"timeout": "10ms"}),
            "exporter/otlp_http": config(
                Kind.EXPORTER,
                "otlp_http",
                {"endpoint": f"http://127.0.0.1:{free_port()}", "retry_on_failure": retry},
            ),
            "exporter/nop": config(Kind.EXPORTER, "nop", {}),
        },
    )
    collector = Collector(loaded, factories=parts.factory)
    await collector.start()
    outcomes: list[Outcome] = []
    batches = [log_batch(seed, outcomes) for seed in range(5)]
    sent = sum(batch.items for batch in batches)
    for batch in batches:
        await parts.push("tap", batch)
    account = collector.ledger[Signal.LOGS]
    await until(lambda: account.sent == sent, "the items in nop")
    assert account.waiting == sent
    assert collector.ledger.closes()
    assert outcomes == []
    await collector.shutdown(0.4)
    assert [outcome.fate for outcome in outcomes] == [Fate.DROPPED] * 5
    assert (account.sent, account.dropped["shutdown"], account.waiting) == (sent, sent, 0)
    assert collector.ledger.closes()


async def test_a_full_queue_beside_one_with_room(free_port: Callable[[], int]) -> None:
    """The first exporter takes it, the second has no room: the sender is refused after the bounded time and keeps the
    data; the ledger closes."""
    parts = Parts()
    clock = ManualClock()
    loaded = configuration(
        {"logs": ("tap", "", "nop otlp_http")},
        configs={
            "exporter/otlp_http": config(
                Kind.EXPORTER,
                "otlp_http",
                {"endpoint": f"http://127.0.0.1:{free_port()}", "sending_queue": {"queue_size": 1}},
            ),
            "exporter/nop": config(Kind.EXPORTER, "nop", {}),
        },
    )
    collector = Collector(loaded, factories=parts.factory, clock=clock)
    await collector.start()
    outcomes: list[Outcome] = []
    await parts.push("tap", log_batch(1, outcomes))
    pushing = asyncio.ensure_future(parts.push("tap", log_batch(2, outcomes)))
    for _ in range(8):
        await clock.advance(1)
    with pytest.raises(Overloaded):
        await pushing
    assert collector.ledger[Signal.LOGS].refused > 0
    assert outcomes == []
    assert collector.ledger.closes()
    shutdown = asyncio.ensure_future(collector.shutdown(1))
    while not shutdown.done():
        await clock.advance(0.5)
        await asyncio.sleep(0.001)
    assert len(outcomes) == 1
    assert collector.ledger.closes()
