"""Memory by state. Source: /proc/meminfo.

`used` is MemTotal - MemAvailable; `cached` has reclaimable slab in it, which is told again as `slab_reclaimable`, as
upstream's is (0.156, and free(1)'s).
"""

import os

from heliograph.otlp.metrics_encode import Point
from heliograph.receivers.host_metrics.config import MemoryConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.reading import Reading


class MemoryScraper:
    """Has no state."""

    def __init__(self, config: MemoryConfig) -> None:
        self.on = config.metrics

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name. Raises OSError, ValueError."""
        info = meminfo(host)
        total = info["MemTotal"]
        states = {
            "used": total - info.get("MemAvailable", info["MemFree"]),
            "free": info["MemFree"],
            "buffered": info.get("Buffers", 0),
            "cached": info.get("Cached", 0) + info.get("SReclaimable", 0),
            "slab_reclaimable": info.get("SReclaimable", 0),
            "slab_unreclaimable": info.get("SUnreclaim", 0),
        }
        every: dict[str, list[Point]] = {
            "system.memory.usage": [((("state", state),), size) for state, size in states.items()],
            "system.memory.utilization": [
                ((("state", state),), size / total) for state, size in states.items() if total
            ],
            "system.linux.memory.available": [((), info.get("MemAvailable", 0))],
            "system.linux.memory.dirty": [((), info.get("Dirty", 0))],
            "system.memory.limit": [((), total)],
            "system.memory.page_size": [((), os.sysconf("SC_PAGE_SIZE"))],
        }
        return {name: points for name, points in every.items() if name in self.on}


def meminfo(host: HostFiles) -> dict[str, int]:
    """/proc/meminfo in bytes. Raises OSError, ValueError."""
    found: dict[str, int] = {}
    for line in host.lines("meminfo"):
        name, _, value = line.partition(":")
        number, *unit = value.split() or [""]
        if number.isdigit():
            found[name] = int(number) * (1024 if unit else 1)
    if "MemTotal" not in found or "MemFree" not in found:
        raise ValueError(f"{host.proc}/meminfo has no MemTotal or no MemFree")
    return found
