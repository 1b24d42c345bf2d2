"""The nop exporter: what it takes counts as sent."""

from typing import Any

from heliograph.component.batch import Batch, Completion, Fate, Outcome
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.exporters.nop import FACTORY
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings


async def test_what_is_taken_is_sent() -> None:
    given = settings("exporter", "nop", "traces")
    exporter: Any = FACTORY.create(given, from_plain(FACTORY.config, {}))
    outcomes: list[Outcome] = []
    async with TestHost() as host:
        await exporter.start(host)
        await exporter.consume(Batch(Signal.TRACES, [b""], 4, completion=Completion(outcomes.append)))
        await exporter.shutdown(0)
    assert outcomes == [Outcome(Fate.DELIVERED)]
    assert given.telemetry.ledger[Signal.TRACES].sent == 4
