"""Child processes and what the kernel knows of them."""

import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

_COUNT = struct.Struct("<Q")
POLL = 0.01


class BenchError(Exception):
    """A run that says nothing about speed: something did not start, did not end, or lost items."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Until the condition holds. Raises BenchError when it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BenchError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL)


def listens(port: int) -> bool:
    """Whether a connection to the port is taken."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Collector:
    """A Collector as a child. Its output goes to a file, whose end is shown when a run fails."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed at the end of the child
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env={**os.environ, **environment})
        self.pid = self.process.pid

    def cpu(self) -> float:
        """CPU seconds so far, of all its threads, ended ones included (clock_getcpuclockid(3) without the call)."""
        if self.process.poll() is not None:
            raise BenchError(f"the Collector ended with {self.process.returncode}\n{self.tail()}")
        return time.clock_gettime(~self.pid << 3 | 2)

    def memory(self) -> tuple[float, float]:
        """(resident now, largest ever) in MiB."""
        found = dict(line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return int(found["VmRSS"].split()[0]) / 1024, int(found["VmHWM"].split()[0]) / 1024

    def settle(self, calm: float = 1.0, seconds: float = 20.0) -> None:
        """Until it has used less than 2 % of a core for `calm` seconds."""
        end = time.monotonic() + seconds
        last, since = self.cpu(), time.monotonic()
        while time.monotonic() - since < calm:
            if time.monotonic() > end:
                return
            time.sleep(0.1)
            now = self.cpu()
            if now - last > 0.002:
                since = time.monotonic()
            last = now

    def tail(self) -> str:
        """The end of its output."""
        self._log.seek(0)
        return self._log.read()[-3000:].decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


class Count:
    """A number in a file that two processes map: the sink adds, the other one reads."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_COUNT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _COUNT.size)

    @property
    def value(self) -> int:
        """What was counted so far."""
        found: int = _COUNT.unpack(self._map[:])[0]
        return found

    def add(self, number: int) -> None:
        """Count more; one process only."""
        self._map[:] = _COUNT.pack(self.value + number)


@contextmanager
def sink(kind: str, folder: Path, source: Path) -> Iterator[tuple[int, Count]]:
    """(port, what arrived) of a sink in a process of its own; kind: "otlp" or "bulk", source: where heliograph is."""
    path = folder / "arrived"
    path.unlink(missing_ok=True)
    count = Count(path)
    port = free_port()
    with tool(["bench.sink", kind, str(port), str(path)], source):
        wait(lambda: listens(port), 20, "the sink listens")
        yield port, count


@contextmanager
def tool(arguments: Sequence[str], source: Path) -> Iterator["subprocess.Popen[str]"]:
    """A module of this package as a child with pipes."""
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(source), str(root)))}
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=root,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
