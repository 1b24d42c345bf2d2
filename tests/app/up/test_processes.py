"""The processes of `up`: their logs are bounded, and one that dies is started again."""

import os
import signal
import sys
from pathlib import Path

from heliograph.app.up.plan import Role
from heliograph.app.up.processes import Processes
from heliograph.testing.wait import until

TALKER = "import time\nwhile True: print('x' * 1000, flush=True); time.sleep(0.0002)"


async def test_a_talkative_role_fills_no_disk(tmp_path: Path) -> None:
    """Its log is put aside again and again; it goes on writing to the same file from the beginning."""
    processes = Processes([Role("talker", (sys.executable, "-c", TALKER))], tmp_path / "log", print, log_bytes=200_000)
    await processes.start()
    try:
        log = processes.log("talker")
        aside = log.with_name("talker.log.1")
        await until(aside.exists, "the log is put aside", 20)
        assert aside.stat().st_size > 200_000
        first = aside.stat().st_mtime_ns
        await until(lambda: aside.stat().st_mtime_ns > first, "it is put aside again", 20)
        assert set(log.read_bytes()[:500]) <= {ord("x"), ord("\n")}, "no hole at the beginning"
    finally:
        await processes.stop()


async def test_a_role_that_dies_is_started_again(tmp_path: Path) -> None:
    """With the same command; whoever watches is told."""
    told: list[str] = []
    role = Role("sleeper", (sys.executable, "-c", "import time; time.sleep(60)"))
    processes = Processes([role], tmp_path / "log", told.append)
    await processes.start()
    try:
        first = processes.pid("sleeper")
        os.kill(first, signal.SIGKILL)
        await until(lambda: processes.pid("sleeper") != first, "a new process", 20)
        assert processes.restarts == 1
        assert "ended with -9" in told[0]
    finally:
        await processes.stop()
