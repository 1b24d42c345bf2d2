"""How much memory this process uses and may use, on Linux.

Usage is the resident set (upstream measures Go's heap; the resident set is what the kernel kills for). The total is the
smallest limit of the control groups this process is in, version 2 or 1, or else the machine's memory.
"""

import ctypes
import gc
import os
from functools import cache
from pathlib import Path

from heliograph.component.cgroup import memory_limit

_PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def used(proc: Path = Path("/proc")) -> int:
    """Bytes of memory that this process has resident; about 10 us."""
    with open(proc / "self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE


def total(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may use. root: where proc and sys are."""
    machine, limit = _machine(root), memory_limit(root)
    return machine if limit is None else min(machine, limit)


def _machine(root: Path) -> int:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError("MemTotal is missing in /proc/meminfo")


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "malloc_trim") else None
    except OSError:
        return None


def collect() -> None:
    """Free what is garbage and give freed memory back to the system."""
    gc.collect()
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def limit_arenas(count: int) -> None:
    """Let malloc have at most so many arenas; each thread that finds none free would add one. Holds for new ones."""
    libc = _libc()
    if libc is not None:
        libc.mallopt(-8, count)  # M_ARENA_MAX
