"""Number of processes by state, and how many were ever made. Sources: /proc/stat, /proc/<pid>/stat."""

import os
from collections import Counter

from heliograph.otlp.metrics_encode import Point
from heliograph.receivers.host_metrics.config import ProcessesConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.reading import Reading

_STATES = {  # of /proc/<pid>/stat; those of running and blocked ones come from /proc/stat
    "S": "sleeping",
    "I": "idle",
    "Z": "zombies",
    "T": "stopped",
    "t": "stopped",
    "W": "paging",
    "L": "locked",
}


class ProcessesScraper:
    """Has no state."""

    def __init__(self, config: ProcessesConfig) -> None:
        self.on = config.metrics

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name. Raises OSError, ValueError."""
        found: dict[str, list[Point]] = {}
        totals = {name: int(value) for name, value in _totals(host)}
        if missing := [name for name in ("processes", "procs_running", "procs_blocked") if name not in totals]:
            raise ValueError(f"{host.proc}/stat has no {' and no '.join(missing)}")
        if "system.processes.created" in self.on:
            found["system.processes.created"] = [((), totals["processes"])]
        if "system.processes.count" in self.on:
            counts = _count(host)
            counts["blocked"], counts["running"] = totals["procs_blocked"], totals["procs_running"]
            found["system.processes.count"] = [((("status", status),), count) for status, count in counts.items()]
        return found


def _totals(host: HostFiles) -> list[tuple[str, str]]:
    lines = [line.split() for line in host.lines("stat")]
    return [(words[0], words[1]) for words in lines if len(words) > 1 and words[0].startswith("proc")]


def _count(host: HostFiles) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for name in os.listdir(host.proc):
        if not name.isdigit():
            continue
        try:
            stat = host.text(f"{name}/stat")
        except OSError:
            continue  # it ended meanwhile
        state = stat[stat.rfind(")") + 2 : stat.rfind(")") + 3]
        if state in _STATES:
            counts[_STATES[state]] += 1
        elif state not in ("R", "D", ""):
            counts["unknown"] += 1
    return dict(counts)
