"""What may not be read: named in health and in the log, and the rest is read; very many files at once."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.lifecycle import Status
from heliograph.testing.wait import until

NOBODY = 65534


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder below which nobody can read, outside of pytest's own, which is closed."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


async def test_files_and_folders_that_may_not_be_read_show_in_health(lab_of_files: Any, folder: Path) -> None:
    """With path and reason, until they may be read."""
    (folder / "open.log").write_text("one\n")
    secret, closed = folder / "secret.log", folder / "closed"
    closed.mkdir()
    secret.write_text("two\n")
    (closed / "below.log").write_text("three\n")
    secret.chmod(0)
    closed.chmod(0)
    with as_nobody():
        running = await lab_of_files.run(include=[f"{folder}/**/*.log"])
        await running.sink.wait_for(1)
        await until(lambda: running.host.status is Status.RECOVERABLE_ERROR, "the status")
        told = running.host.reports[-1][1]
        assert f"{secret}: Permission denied" in told
        assert f"{closed}: Permission denied" in told
    secret.chmod(0o644)
    closed.chmod(0o755)
    with as_nobody():
        await running.sink.wait_for(3)
        await until(lambda: running.host.status is Status.OK, "that all is well again")
        await running.stop()
    assert sorted(running.bodies) == ["one", "three", "two"]


async def test_many_files_that_may_not_be_read_keep_nobody_busy(lab_of_files: Any, folder: Path) -> None:
    """Hundreds of them are no endless round without a rest."""
    for number in range(600):
        path = folder / f"{number}.log"
        path.write_text("x\n")
        path.chmod(0)
    (folder / "open.log").write_text("one\n")
    with as_nobody():
        running = await lab_of_files.run(include=[f"{folder}/*.log"], poll_interval="200ms")
        await running.sink.wait_for(1)
        await until(lambda: running.host.status is Status.RECOVERABLE_ERROR, "the status")
        assert "and 597 more" in running.host.reports[-1][1]
        begun, used = time.monotonic(), time.process_time()
        await asyncio.sleep(1.5)
        assert time.process_time() - used < 0.4 * (time.monotonic() - begun)
        await running.stop()


async def test_thousands_of_new_files_take_linear_time(lab_of_files: Any, tmp_path: Path) -> None:
    """Each is looked at a few times, not once for every few others that are taken in."""
    count = 6000
    for number in range(count):
        (tmp_path / f"{number}.log").write_text(f"{number}\n")
    used = time.process_time()
    running = await lab_of_files.run(max_concurrent_files=500)
    await running.sink.wait_for(count, timeout=40)
    assert time.process_time() - used < 6
    assert sorted(map(int, running.bodies)) == list(range(count))
