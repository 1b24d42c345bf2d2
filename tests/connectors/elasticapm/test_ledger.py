"""What the connector took is in the ledger, whatever became of the one who handed it in."""

import asyncio
from pathlib import Path

import pytest

from apm_metrics import Bench, resource_spans, span
from heliograph.component.ids import Signal


async def test_a_sender_that_went_away_while_its_batch_was_written(bench: Bench, tmp_path: Path) -> None:
    """The batch is counted all the same; the sender, which was not told, will send a copy of it."""
    await bench.start({"aggregation": {"directory": str(tmp_path / "state")}})
    handing = asyncio.create_task(bench.send(resource_spans(span(), span())))
    await asyncio.sleep(0)
    handing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handing
    await bench.send(resource_spans(span()))
    account = bench.settings.telemetry.ledger[Signal.TRACES]
    account.received += 1
    assert (account.consumed, account.copied) == (3, 2)
    assert account.difference == 0
