"""Limits of control groups are read, and set what they should."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.cgroup import cpu_limit, memory_limit
from heliograph.component.errors import ConfigError
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.extensions.cgroup_runtime import CgroupRuntime
from heliograph.extensions.cgroup_runtime.config import CgroupRuntimeConfig
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings

V2 = {
    "proc/self/cgroup": "0::/pod/app\n",
    "sys/fs/cgroup/pod/app/memory.max": "max\n",
    "sys/fs/cgroup/pod/memory.max": "104857600\n",
    "sys/fs/cgroup/pod/app/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/pod/cpu.max": "max 100000\n",
}
V1 = {
    "proc/self/cgroup": "5:memory:/app\n3:cpu,cpuacct:/app\n",
    "sys/fs/cgroup/memory/app/memory.limit_in_bytes": "104857600\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_limits(tmp_path: Path, files: dict[str, str]) -> None:
    root = tree(tmp_path, files)
    assert memory_limit(root) == 104857600
    assert cpu_limit(root) == 1.5


def test_no_limits(tmp_path: Path) -> None:
    root = tree(tmp_path, {"proc/self/cgroup": "0::/\n"})
    assert memory_limit(root) is None
    assert cpu_limit(root) is None


async def test_threads_and_collection(tmp_path: Path) -> None:
    """The pool follows the processors; above the ratio of the limit garbage is collected."""
    collected = asyncio.Event()
    config = from_plain(CgroupRuntimeConfig, {"gomemlimit": {"ratio": 0.5}})
    made = settings("extension", "cgroup_runtime")
    runtime = CgroupRuntime(made, config, root=tree(tmp_path, V2), used=lambda: 52428801, collect=collected.set)
    async with TestHost() as host:
        await runtime.start(host)
        assert host.status is Status.OK
        assert runtime.threads == 6
        await asyncio.wait_for(collected.wait(), 5)
        await runtime.shutdown(0)


async def test_disabled_it_leaves_everything(tmp_path: Path) -> None:
    config = from_plain(CgroupRuntimeConfig, {"gomemlimit": {"enabled": False}, "gomaxprocs": {"enabled": False}})
    runtime = CgroupRuntime(settings("extension", "cgroup_runtime"), config, root=tree(tmp_path, V2))
    async with TestHost() as host:
        await runtime.start(host)
        assert runtime.threads == 0
        assert host.tasks == []
        await runtime.shutdown(0)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"gomemlimit": {"ratio": 0}}, "ratio"),
        ({"gomemlimit": {"ratio": 1.1}}, "ratio"),
        ({"gomemlimit": {"refresh_interval": "1m"}}, "read once"),
    ],
)
def test_refused_configuration(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        from_plain(CgroupRuntimeConfig, config)
