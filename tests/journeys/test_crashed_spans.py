"""Spans through kill -9 of each tier: none is missing. They have no uid, so one on its way may be there twice."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tiers import SECONDS, SpanSender, Tiers


@pytest.mark.timeout(300)
async def test_no_span_is_missing(tmp_path: Path) -> None:
    """A sender that repeats what was not acknowledged; daemon, gateway and backend are killed in turn: every
    acknowledged span is in the store. How many are there twice is printed."""
    (tmp_path / "pods").mkdir()
    async with Tiers(tmp_path / "data", tmp_path / "pods") as tiers:
        sender = SpanSender(tiers.arguments.otlp_grpc_port)
        sending = asyncio.create_task(sender.run(SECONDS))
        for name in ("daemon", "gateway", "backend"):
            await asyncio.sleep(SECONDS / 4)
            tiers.kill(name)
        await sending
        await tiers.arrived("traces", sender.acknowledged, 60)
        assert tiers.restarts == 3
        found = Counter(int(str(document["name"]).split()[1]) for document in tiers.documents("traces"))
    print(f"{sender.acknowledged} spans, {found.total() - len(found)} twice, {len(sender.refusals)} refusals")
    assert sender.refusals, "the daemon was never away while something was sent"
    missing = [number for number in range(sender.acknowledged) if number not in found]
    assert (missing[:5], len(missing)) == ([], 0)
