"""Swap space, paging and page faults. Sources: /proc/swaps, /proc/vmstat, /proc/meminfo."""

from heliograph.otlp.metrics_encode import Point
from heliograph.receivers.host_metrics.config import PagingConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.reading import Reading


class PagingScraper:
    """Has no state."""

    def __init__(self, config: PagingConfig) -> None:
        self.on = config.metrics

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name. Raises OSError, ValueError."""
        found: dict[str, list[Point]] = {}
        if self.on & {"system.paging.usage", "system.paging.utilization"}:
            with reading.part("swap space"):
                found |= self._swap(host)
        if self.on & {"system.paging.operations", "system.paging.faults"}:
            with reading.part("paging"):
                found |= self._operations(host)
        return {name: points for name, points in found.items() if name in self.on}

    def _swap(self, host: HostFiles) -> dict[str, list[Point]]:
        usage: list[Point] = []
        utilization: list[Point] = []
        for line in host.lines("swaps")[1:]:
            columns = line.split()
            if len(columns) < 4:
                continue
            device, total, used = columns[0], int(columns[2]) * 1024, int(columns[3]) * 1024
            for state, size in (("used", used), ("free", total - used)):
                attributes = (("device", device), ("state", state))
                usage.append((attributes, size))
                if total:
                    utilization.append((attributes, size / total))
        return {"system.paging.usage": usage, "system.paging.utilization": utilization}

    def _operations(self, host: HostFiles) -> dict[str, list[Point]]:
        statistics: dict[str, int] = {}
        for line in host.lines("vmstat"):
            name, _, value = line.partition(" ")
            if name in ("pgfault", "pgmajfault", "pswpin", "pswpout", "pgpgin", "pgpgout"):
                statistics[name] = int(value)
        operations = (
            ("page_in", "major", statistics.get("pswpin", 0)),
            ("page_out", "major", statistics.get("pswpout", 0)),
            ("page_in", "minor", statistics.get("pgpgin", 0)),
            ("page_out", "minor", statistics.get("pgpgout", 0)),
        )
        major = statistics.get("pgmajfault", 0)
        return {
            "system.paging.operations": [
                ((("direction", direction), ("type", type_)), count) for direction, type_, count in operations
            ],
            "system.paging.faults": [
                ((("type", "major"),), major),
                ((("type", "minor"),), statistics.get("pgfault", 0) - major),
            ],
        }
