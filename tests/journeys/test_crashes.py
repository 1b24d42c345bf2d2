"""Every line once, whatever is killed meanwhile: files rotated under load, and kill -9 of each tier in turn."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tiers import SECONDS, ContainerWriter, Tiers


def numbers(documents: list[dict[str, object]]) -> Counter[int]:
    """How often each line is there."""
    return Counter(int(document["body"]["text"].split()[1]) for document in documents)  # type: ignore[index]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rotation", ["rename", "copytruncate"])
async def test_rotation_and_kill(rotation: str, tmp_path: Path) -> None:
    """20,000 lines a second, rotated; the daemon, the gateway and the backend are killed in turn: in the store no line
    is missing and none is twice."""
    writer = ContainerWriter(tmp_path / "pods", rotation)
    async with Tiers(tmp_path / "data", tmp_path / "pods") as tiers:
        writing = asyncio.create_task(writer.run(SECONDS, rotate_every=SECONDS / 5))
        for name in ("daemon", "gateway", "backend"):
            await asyncio.sleep(SECONDS / 4)
            tiers.kill(name)
        await writing
        total = await tiers.arrived("logs", writer.lines)
        found = numbers(tiers.documents("logs"))
        assert tiers.restarts == 3
    assert writer.rotations >= 3
    missing = [number for number in range(writer.lines) if number not in found]
    twice = [number for number, count in found.items() if count > 1]
    assert (missing[:5], len(missing), twice[:5], len(twice)) == ([], 0, [], 0)
    assert total == writer.lines
