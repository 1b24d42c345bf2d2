"""memory_limiter: refuses above the soft limit, collects as upstream does, and knows the container's limit."""

from pathlib import Path

import pytest

from heliograph.component import memory
from heliograph.component.batch import Batch
from heliograph.component.errors import ConfigError, Overloaded
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.processors.memory_limiter.config import MemoryLimiterConfig
from heliograph.processors.memory_limiter.processor import MemoryLimiter, limits
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer

MIB = 1 << 20


class Memory:
    """Usage that a test sets; a collection brings it down to `after`."""

    def __init__(self) -> None:
        self.usage = 10 * MIB
        self.after: int | None = None
        self.collections = 0

    def used(self) -> int:
        return self.usage

    def collect(self) -> None:
        self.collections += 1
        if self.after is not None:
            self.usage = self.after


def config(**keys: object) -> MemoryLimiterConfig:
    return from_plain(MemoryLimiterConfig, {"check_interval": "1s", "limit_mib": 100, "spike_limit_mib": 20, **keys})


class Bench:
    def __init__(self, **keys: object) -> None:
        self.memory = Memory()
        self.sink = SinkConsumer()
        self.clock = ManualClock()
        self.host = TestHost(clock=self.clock)
        self.settings = settings("processor", "memory_limiter", "traces", {"traces": self.sink})
        self.limiter = MemoryLimiter(self.settings, config(**keys), used=self.memory.used, collect=self.memory.collect)

    async def __aenter__(self) -> "Bench":
        await self.limiter.start(self.host)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.limiter.shutdown(0)
        await self.host.close()
        assert self.host.crashes == []

    async def give(self, items: int = 5) -> None:
        await self.limiter.consume(Batch(Signal.TRACES, [b""], items))

    def metric(self, name: str) -> float:
        return self.settings.telemetry.metrics.value(
            f"otelcol_processor_memory_limiter_{name}_spans", {"processor": "memory_limiter"}
        )


async def test_data_is_refused_above_the_soft_limit_and_taken_again_below() -> None:
    async with Bench() as bench:
        await bench.give()
        bench.memory.usage = 81 * MIB
        await bench.clock.advance(1)
        with pytest.raises(Overloaded, match="high memory usage: 81 MiB used, soft limit 80 MiB"):
            await bench.give()
        assert bench.host.status is Status.RECOVERABLE_ERROR
        bench.memory.usage = 80 * MIB
        await bench.clock.advance(1)
        await bench.give()
        assert bench.host.status is Status.OK
        assert (bench.metric("accepted"), bench.metric("refused")) == (10, 5)
        assert bench.sink.items == 10


async def test_a_collection_that_helps_prevents_refusing() -> None:
    async with Bench() as bench:
        bench.memory.usage, bench.memory.after = 90 * MIB, 50 * MIB
        await bench.clock.advance(1)
        assert bench.memory.collections == 1
        await bench.give()


async def test_soft_collections_keep_their_distance_and_back_off() -> None:
    async with Bench() as bench:
        bench.memory.usage = 90 * MIB
        times = []
        for second in range(1, 62):
            before = bench.memory.collections
            await bench.clock.advance(1)
            if bench.memory.collections > before:
                times.append(second)
        assert times == [1, 11, 31, 61]


async def test_hard_collections_come_at_every_check_at_first() -> None:
    async with Bench(max_gc_interval_when_hard_limited="0s") as bench:
        bench.memory.usage = 110 * MIB
        await bench.clock.advance(5)
        assert bench.memory.collections == 5


def test_limits_of_megabytes_and_percent() -> None:
    assert limits(config()) == (100 * MIB, 80 * MIB)
    assert limits(config(spike_limit_mib=0)) == (100 * MIB, 80 * MIB)
    percent = config(limit_mib=0, spike_limit_mib=0, limit_percentage=50, spike_limit_percentage=10)
    assert limits(percent, lambda: 1000) == (500, 400)


def fake_root(tmp_path: Path, cgroup: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": "MemTotal:  1000 kB\n", "proc/self/cgroup": cgroup, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("cgroup", "files", "total"),
    [
        ("0::/pod/c\n", {"sys/fs/cgroup/pod/c/memory.max": "500000\n"}, 500_000),
        ("0::/pod/c\n", {"sys/fs/cgroup/pod/c/memory.max": "max\n", "sys/fs/cgroup/pod/memory.max": "7\n"}, 7),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "400000\n"}, 400_000),
        ("9:memory:/x\n", {"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "300000\n"}, 300_000),
        ("0::/\n", {"sys/fs/cgroup/memory.max": "max\n"}, 1_024_000),
        ("9:cpu:/x\n", {}, 1_024_000),
    ],
)
def test_the_total_is_the_least_limit(tmp_path: Path, cgroup: str, files: dict[str, str], total: int) -> None:
    assert memory.total(fake_root(tmp_path, cgroup, files)) == total


def test_usage_of_this_process_follows_what_it_allocates() -> None:
    before = memory.used()
    block = bytearray(50 * MIB)
    assert memory.used() - before > 40 * MIB
    del block
    memory.collect()
    assert memory.used() - before < 20 * MIB
    assert memory.total() > before


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"check_interval": "0s"}, "check_interval"),
        ({"limit_mib": 0}, "limit_mib"),
        ({"spike_limit_mib": 100}, "spike_limit_mib"),
        ({"limit_percentage": 101}, "limit_percentage"),
        ({"min_gc_interval_when_hard_limited": "11s"}, "min_gc_interval_when_soft_limited"),
        ({"max_gc_interval_when_soft_limited": "20s"}, "max_gc_interval_when_soft_limited"),
    ],
)
def test_rules_name_the_key(keys: dict[str, object], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        config(**keys)
