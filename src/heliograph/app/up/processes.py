"""The processes of `up`: started back to front, restarted when they die, stopped front to back so that each drains into
the next."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from heliograph.app.up.plan import Role
from heliograph.component.errors import StartError

START_SECONDS = 30.0
STOP_SECONDS = 30.0
_RESTART_SECONDS = 1.0
LOG_BYTES = 8 * 1024 * 1024
"""A role's log is put aside when it is larger than that, and one such file is kept."""
_LOG_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl


class Processes:
    """Runs roles. say: called with a line for the person who watches."""

    def __init__(
        self, roles: Sequence[Role], logs: Path, say: Callable[[str], None], *, log_bytes: int = LOG_BYTES
    ) -> None:
        self._log_bytes = log_bytes
        self._roles = roles
        self._logs = logs
        self._say = say
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._lock = -1
        self.restarts = 0

    def log(self, name: str) -> Path:
        """The log file of a role."""
        return self._logs / f"{name}.log"

    def pid(self, name: str) -> int:
        """The process id of a role."""
        return self._running[name].pid

    async def start(self) -> None:
        """Start all roles and wait until each answers. Raises StartError with the end of the log of the one that
        does not."""
        self._claim()
        for role in self._roles:
            await self._start(role)
            await self._ready(role)
        self._watchers = [asyncio.create_task(self._watch(role)) for role in self._roles]
        self._watchers.append(asyncio.create_task(self._bound_logs()))

    async def stop(self, *, but: str = "") -> None:
        """Stop all roles, the last started first, waiting for each to drain; not the one called `but`."""
        for watcher in self._watchers:
            watcher.cancel()
        for role in reversed(self._roles):
            process = self._running.get(role.name)
            if role.name == but or process is None or process.returncode is not None:
                continue
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                self._say(f"{role.name} did not stop within {STOP_SECONDS:g} s and was killed")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if not but and self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _claim(self) -> None:
        """Make the folders, and hold the data directory for this `up` alone."""
        directory = self._logs.parent
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartError(f"cannot write in {directory}: {error.strerror}; name another --directory") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(f"{directory} is used by another `heliograph up`: name another --directory") from None

    async def _start(self, role: Role) -> None:
        with self.log(role.name).open("ab") as log:
            self._running[role.name] = await asyncio.create_subprocess_exec(
                *role.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **role.environment},
                start_new_session=True,  # Ctrl-C reaches `up` alone, which stops them in order
                preexec_fn=_end_with_parent,
            )

    async def _ready(self, role: Role) -> None:
        process = self._running[role.name]
        end = asyncio.get_running_loop().time() + START_SECONDS
        while role.ready and not await asyncio.to_thread(_answers, role.ready):
            if process.returncode is not None or asyncio.get_running_loop().time() > end:
                lines = self.log(role.name).read_text(errors="replace").splitlines()
                end_of_log = "\n".join(lines[-15:])
                raise StartError(f"{role.name} did not start; the end of {self.log(role.name)}:\n{end_of_log}")
            await asyncio.sleep(0.1)

    async def _bound_logs(self) -> None:
        while True:
            for role in self._roles:
                put_aside(self.log(role.name), self._log_bytes)
            await asyncio.sleep(_LOG_SECONDS)

    async def _watch(self, role: Role) -> None:
        while True:
            code = await self._running[role.name].wait()
            self._say(f"{role.name} ended with {code} and is started again; its log: {self.log(role.name)}")
            self.restarts += 1
            await asyncio.sleep(_RESTART_SECONDS)
            await self._start(role)


def put_aside(log: Path, limit: int) -> None:
    """Copy a log that is larger than `limit` bytes to `<name>.1` and empty it: the role goes on writing into the same
    file. What it writes in between is lost."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def _end_with_parent() -> None:
    """In the new process: SIGTERM for it when `up` itself dies, so that nothing is left behind."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, ValueError):
        return False
