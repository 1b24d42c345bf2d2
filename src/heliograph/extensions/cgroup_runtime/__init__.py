"""The cgroup_runtime extension: fits this process to the limits of its container.

Upstream sets two variables of Go's runtime. Here
- gomaxprocs sizes the thread pool for blocking work (processors + 4, Python's own rule, with the limit in place of the
  machine's number) and keeps malloc to two arenas for each processor; both stay until the process ends;
- gomemlimit collects garbage and gives freed memory back while the process uses more than `ratio` of the limit, at
  most every 10 s. It refuses nothing: that is memory_limiter, whose limit_percentage reads the same limit by itself.
Without a limit nothing changes.
"""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from heliograph.component import memory
from heliograph.component.cgroup import cpu_limit, memory_limit
from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import Kind
from heliograph.component.lifecycle import Host, Status
from heliograph.extensions.cgroup_runtime.config import CgroupRuntimeConfig

_CHECK_SECONDS = 1.0
_COLLECT_SECONDS = 10.0


class CgroupRuntime:
    """root: where proc and sys are. used and collect: how memory is measured and freed."""

    def __init__(
        self,
        settings: Settings,
        config: CgroupRuntimeConfig,
        *,
        root: Path = Path("/"),
        used: Callable[[], int] = memory.used,
        collect: Callable[[], None] = memory.collect,
    ) -> None:
        self._config = config
        self._log = settings.telemetry.log
        self._root = root
        self._used = used
        self._collect = collect
        self._task: asyncio.Task[None] | None = None
        self.threads = 0

    async def start(self, host: Host) -> None:
        """Read the limits and set what they mean."""
        processors, limit = cpu_limit(self._root), memory_limit(self._root)
        if self._config.gomaxprocs.enabled and processors is not None:
            whole = max(1, math.ceil(processors))
            self.threads = min(32, whole + 4)
            pool = ThreadPoolExecutor(self.threads, thread_name_prefix="blocking")
            asyncio.get_running_loop().set_default_executor(pool)
            memory.limit_arenas(2 * whole)
            self._log.info("%g processors allowed: %d threads for blocking work", processors, self.threads)
        if self._config.gomemlimit.enabled and limit is not None:
            ceiling = int(limit * self._config.gomemlimit.ratio)
            self._log.info("collecting garbage at once above %d MiB", ceiling // memory.MIB)
            self._task = host.spawn(self._watch(host, ceiling), "memory")
        if processors is None and limit is None:
            self._log.info("no limits of a control group: nothing to set")
        host.report(Status.OK)

    async def shutdown(self, deadline: float) -> None:
        """Stop measuring."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _watch(self, host: Host, ceiling: int) -> None:
        while True:
            await host.clock.sleep(_CHECK_SECONDS)
            if self._used() > ceiling:
                self._collect()
                await host.clock.sleep(_COLLECT_SECONDS)


FACTORY = Factory(
    kind=Kind.EXTENSION,
    type="cgroup_runtime",
    aliases=("cgroupruntime",),
    config=CgroupRuntimeConfig,
    create=CgroupRuntime,
    signals=frozenset(),
)
