"""The control groups of this process, version 1 and 2: what memory and how much processor time they allow.

A limit may stand in any group above the process's own; the smallest holds. Source: Linux, cgroup-v2.rst and
cgroup-v1/memory.rst; `cpu.max` is "quota period", or "max period" for no limit.
"""

from pathlib import Path


def memory_limit(root: Path = Path("/")) -> int | None:
    """Bytes, or None without a limit. root: where proc and sys are."""
    limits = [int(text) for text in _values(root, "memory", "memory.max", "memory.limit_in_bytes") if text.isdecimal()]
    return min((limit for limit in limits if limit < 1 << 60), default=None)


def cpu_limit(root: Path = Path("/")) -> float | None:
    """Processors, for example 0.5, or None without a limit."""
    limits: list[float] = []
    for group in _groups(root, "cpu"):
        parts = _read(group / "cpu.max").split() or [
            _read(group / "cpu.cfs_quota_us"),
            _read(group / "cpu.cfs_period_us"),
        ]
        if len(parts) == 2 and all(part.isdecimal() and int(part) > 0 for part in parts):
            limits.append(int(parts[0]) / int(parts[1]))
    return min(limits, default=None)


def _values(root: Path, controller: str, *names: str) -> list[str]:
    return [_read(group / name) for group in _groups(root, controller) for name in names]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _groups(root: Path, controller: str) -> list[Path]:
    """Folders of this process's groups that may hold a limit, and of all groups above them."""
    folders: list[Path] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            bases = [root / "sys/fs/cgroup"]
        elif controller in controllers.split(","):
            bases = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup" / controller]
        else:
            continue
        for base in dict.fromkeys(bases):
            group = path.strip("/")
            while group:
                folders.append(base / group)
                group = group.rpartition("/")[0]
            folders.append(base)
    return folders
