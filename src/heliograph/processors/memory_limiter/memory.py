"""How much memory this process uses and may use, on Linux.

Usage is the resident set (upstream measures Go's heap; the resident set is what the kernel kills for). The total is the
smallest limit of the control groups this process is in, version 2 or 1, or else the machine's memory.
"""

import ctypes
import gc
import os
from functools import cache
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


def used(proc: Path = Path("/proc")) -> int:
    """Bytes of memory that this process has resident; about 10 us."""
    with open(proc / "self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE


def total(root: Path = Path("/")) -> int:
    """Bytes of memory that this process may use. root: where proc and sys are."""
    limits = [_machine(root)]
    for group in _groups(root):
        try:
            text = group.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)


def _machine(root: Path) -> int:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError("MemTotal is missing in /proc/meminfo")


def _groups(root: Path) -> list[Path]:
    """Files that may hold a limit: those of this process's groups and of all groups above them."""
    files: list[Path] = []
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = path.strip("/")
        while group:
            files.append(base / group / name)
            group = group.rpartition("/")[0]
        files.append(base / name)
    return files


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
