"""How much memory this process takes, for tests that nothing grows without bound. Linux."""

from pathlib import Path

_SELF = Path("/proc/self")


class PeakMemory:
    """Use as a context manager: `grown` is by how many bytes the resident memory rose inside, at its highest."""

    def __init__(self) -> None:
        self._before = 0
        self.grown = 0

    def __enter__(self) -> "PeakMemory":
        (_SELF / "clear_refs").write_text("5")  # the high-water mark starts anew
        self._before = _status("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.grown = _status("VmHWM") - self._before


def _status(name: str) -> int:
    for line in (_SELF / "status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/self/status has no {name}")
