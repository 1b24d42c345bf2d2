"""Input and output of block devices. Source: /proc/diskstats (a sector is 512 bytes, times are milliseconds)."""

from heliograph.otlp.metrics_encode import Point
from heliograph.receivers.host_metrics.config import DiskConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.match import chosen, matcher
from heliograph.receivers.host_metrics.reading import Reading

_SECTOR = 512
_READ_WRITE = {  # metric: columns after the device's name for reads and writes, scale
    "system.disk.io": (2, 6, _SECTOR),
    "system.disk.operations": (0, 4, 1),
    "system.disk.operation_time": (3, 7, 0.001),
    "system.disk.merged": (1, 5, 1),
}
_SINGLE = {
    "system.disk.io_time": (9, 0.001),
    "system.disk.weighted_io_time": (10, 0.001),
    "system.disk.pending_operations": (8, 1),
}


class DiskScraper:
    """Has no state."""

    def __init__(self, config: DiskConfig) -> None:
        self.on = config.metrics
        self._include = matcher(config.include.devices, config.include.match_type)
        self._exclude = matcher(config.exclude.devices, config.exclude.match_type)

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name. Devices that have never done anything are left out. Raises OSError, ValueError."""
        found: dict[str, list[Point]] = {name: [] for name in (*_READ_WRITE, *_SINGLE) if name in self.on}
        for line in host.lines("diskstats"):
            words = line.split()
            if len(words) < 14 or not chosen(device := words[2], self._include, self._exclude):
                continue
            numbers: list[int] = []
            with reading.part(device):
                numbers = [int(word) for word in words[3:14]]
            if not any(numbers):
                continue
            for name, (read, write, scale) in _READ_WRITE.items():
                if name in found:
                    found[name].append(((("device", device), ("direction", "read")), numbers[read] * scale))
                    found[name].append(((("device", device), ("direction", "write")), numbers[write] * scale))
            for name, (column, scale) in _SINGLE.items():
                if name in found:
                    found[name].append(((("device", device),), numbers[column] * scale))
        return found
