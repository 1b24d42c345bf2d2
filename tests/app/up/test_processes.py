"""The processes of `up`: alone in their directory, started again when they die, gone when `up` is."""

import asyncio
import os
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from heliograph.app.up.plan import Role, plan
from heliograph.app.up.processes import Processes
from heliograph.component.errors import StartError
from heliograph.testing.wait import until

SLEEPER = Role("sleeper", (sys.executable, "-c", "import time; time.sleep(60)"))


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_one_directory_is_for_one_up(tmp_path: Path) -> None:
    first = Processes([SLEEPER], tmp_path / "log", print)
    await first.start()
    try:
        with pytest.raises(StartError, match="used by another `heliograph up`: name another --directory"):
            await Processes([SLEEPER], tmp_path / "log", print).start()
    finally:
        await first.stop()


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"cannot write in .*file.*: Not a directory; name another --directory"):
        await Processes([SLEEPER], tmp_path / "file" / "log", print).start()


async def test_a_killed_role_is_started_again_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    processes = Processes([SLEEPER], tmp_path / "log", said.append)
    await processes.start()
    try:
        killed = processes.pid("sleeper")
        os.kill(killed, signal.SIGKILL)
        await until(lambda: processes.pid("sleeper") != killed, timeout=10)
        assert said[0].startswith("sleeper ended with -9 and is started again")
    finally:
        await processes.stop()


def test_no_role_outlives_a_killed_up(tmp_path: Path) -> None:
    """kill -9 of `up` itself: the roles get SIGTERM."""
    program = (
        "import asyncio, pathlib, sys\n"
        "from heliograph.app.up.plan import Role\n"
        "from heliograph.app.up.processes import Processes\n"
        "async def run():\n"
        "    role = Role('sleeper', (sys.executable, '-c', 'import time; time.sleep(60)'))\n"
        f"    processes = Processes([role], pathlib.Path({str(tmp_path / 'log')!r}), print)\n"
        "    await processes.start()\n"
        "    print(processes.pid('sleeper'), flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(run())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not gone(child)
        parent.kill()
        asyncio.run(until(lambda: gone(child)))


@pytest.mark.parametrize(
    ("port", "says"), [(99999, "99999: a port is a number from 1 to 65535"), (4318, "given twice")]
)
def test_impossible_ports_are_refused(tmp_path: Path, port: int, says: str) -> None:
    arguments = Namespace(
        directory=tmp_path, elasticsearch="http://127.0.0.1:9200", otlp_grpc_port=port, otlp_http_port=4318,
        gateway_port=14317, backend_port=24317, health_port=13133, metrics_port=8888, store_port=9200,
    )  # fmt: skip
    with pytest.raises(StartError, match=says):
        plan(arguments)
