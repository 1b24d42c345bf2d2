"""Reading the host's /proc and /sys, which may be mounted below `root_path`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")
_LAST_SECOND = 2**63 // 10**9


@dataclass(frozen=True, slots=True)
class HostFiles:
    """Where the host's file systems are. root: root_path without a trailing slash, "" for this machine's own.

    Without root_path the environment variables HOST_PROC, HOST_SYS and HOST_PROC_MOUNTINFO name the folders, as
    gopsutil has them.
    """

    root: str
    proc: str
    sys: str
    mountinfo: str

    @classmethod
    def find(cls, root_path: str, environ: Mapping[str, str]) -> "HostFiles":
        """Decide from the configuration and the environment."""
        root = root_path.rstrip("/")
        proc = f"{root}/proc" if root else environ.get("HOST_PROC", "/proc")
        system = f"{root}/sys" if root else environ.get("HOST_SYS", "/sys")
        pid = "1" if root else "self"
        return cls(root, proc, system, environ.get("HOST_PROC_MOUNTINFO", f"{proc}/{pid}/mountinfo"))

    def lines(self, name: str) -> list[str]:
        """The lines of a file of /proc. Raises OSError."""
        lines = self.text(name).split("\n")  # splitlines would also split at what a name may contain
        if not lines[-1]:
            lines.pop()
        return lines

    def text(self, name: str) -> str:
        """A file of /proc. Raises OSError."""
        with open(f"{self.proc}/{name}", "rb", buffering=0) as file:
            return file.read().decode("utf-8", "replace")

    def boot_time_ns(self) -> int:
        """When the machine started, in nanoseconds since the epoch. Raises OSError, ValueError."""
        for line in self.lines("stat"):
            if line.startswith("btime "):
                seconds = int(line.split()[1])
                if not 0 <= seconds < _LAST_SECOND:
                    raise ValueError(f"{self.proc}/stat has a btime that is no time: {seconds}")
                return seconds * 10**9
        raise ValueError(f"{self.proc}/stat has no btime")
