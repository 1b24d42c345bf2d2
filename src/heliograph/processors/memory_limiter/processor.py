"""The processor: measure at every interval, refuse above the soft limit, collect garbage above either.

The rules of when to collect are upstream's (internal/memorylimiter): not more often than the least interval, and twice
as seldom after each collection that did not help, up to the greatest.
"""

from collections.abc import Callable

from heliograph.component import memory
from heliograph.component.batch import Batch
from heliograph.component.errors import Overloaded, StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host, Status
from heliograph.processors.memory_limiter.config import MemoryLimiterConfig


def limits(config: MemoryLimiterConfig, total: Callable[[], int] = memory.total) -> tuple[int, int]:
    """(hard, soft) in bytes."""
    if config.limit_mib > 0:
        hard, spike = config.limit_mib * memory.MIB, config.spike_limit_mib * memory.MIB
    else:
        all_of_it = total()
        hard = all_of_it * config.limit_percentage // 100
        spike = all_of_it * config.spike_limit_percentage // 100
    return hard, hard - (spike or hard // 5)


class MemoryLimiter:
    """Component and Consumer. used and collect: how memory is measured and freed."""

    def __init__(
        self,
        settings: Settings,
        config: MemoryLimiterConfig,
        *,
        used: Callable[[], int] = memory.used,
        collect: Callable[[], None] = memory.collect,
    ) -> None:
        assert settings.signal is not None
        self._config = config
        self._next = settings.outputs[settings.signal]
        self._log = settings.telemetry.log
        self._name = f"processor {settings.id}"
        self._used = used
        self._collect = collect
        self._hard = self._soft = 0
        self._refusing = False
        self._usage = 0
        self._collected = float("-inf")
        self._interval = 0.0
        items = settings.signal.items
        words = items.replace("_", " ")
        self._accepted = settings.telemetry.counter(
            f"otelcol_processor_memory_limiter_accepted_{items}", f"Number of {words} handed on."
        )
        self._refused = settings.telemetry.counter(
            f"otelcol_processor_memory_limiter_refused_{items}", f"Number of {words} refused."
        )

    async def start(self, host: Host) -> None:
        """Find the limits and begin to measure. Raises StartError."""
        try:
            self._hard, self._soft = limits(self._config)
        except OSError as error:
            raise StartError(
                f"{self._name}: the total memory is not known ({error}): set limit_mib instead of limit_percentage"
            ) from error
        self._host = host
        self._log.info("memory limit %d MiB, refusing above %d MiB", self._hard // memory.MIB, self._soft // memory.MIB)
        self.check()
        host.spawn(self._measure(), f"{self._name} measuring")
        if not self._refusing:
            host.report(Status.OK)

    async def shutdown(self, deadline: float) -> None:
        """Nothing is held here."""

    async def consume(self, batch: Batch) -> None:
        """Hand on, or raise Overloaded while memory is short."""
        if self._refusing:
            self._refused.add(batch.items)
            raise Overloaded(
                f"{self._name}: data refused due to high memory usage: {self._usage // memory.MIB} MiB used, "
                f"soft limit {self._soft // memory.MIB} MiB"
            )
        await self._next.consume(batch)
        self._accepted.add(batch.items)

    def check(self) -> None:
        """Measure once, collect if it is time to, and decide."""
        self._usage = self._used()
        if self._usage > self._soft:
            self._try_collecting()
        else:
            self._interval = 0.0
        refusing = self._usage > self._soft
        if refusing == self._refusing:
            return
        self._refusing = refusing
        usage, soft = self._usage // memory.MIB, self._soft // memory.MIB
        if refusing:
            message = f"memory usage {usage} MiB is above the soft limit of {soft} MiB, refusing data"
            self._log.warning("%s", message)
            self._host.report(Status.RECOVERABLE_ERROR, message)
        else:
            self._log.info("memory usage %d MiB is below the soft limit of %d MiB, taking data", usage, soft)
            self._host.report(Status.OK)

    def _try_collecting(self) -> None:
        config = self._config
        if self._usage > self._hard:
            least, most = config.min_gc_interval_when_hard_limited, config.max_gc_interval_when_hard_limited
        else:
            least, most = config.min_gc_interval_when_soft_limited, config.max_gc_interval_when_soft_limited
        now = self._host.clock.monotonic()
        if now - self._collected < max(least, self._interval):
            return
        self._collect()
        self._collected = now
        self._usage = self._used()
        if self._usage <= self._soft or most <= 0:
            self._interval = 0.0
        else:
            begin = max(least, 0.95 * config.check_interval)
            self._interval = min(max(begin, self._interval * 2), most)

    async def _measure(self) -> None:
        while True:
            await self._host.clock.sleep(self._config.check_interval)
            self.check()
