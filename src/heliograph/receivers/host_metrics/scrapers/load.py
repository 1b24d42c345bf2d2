"""Load averages. Source: /proc/loadavg."""

import os

from heliograph.otlp.metrics_encode import Point
from heliograph.receivers.host_metrics.config import LoadConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.reading import Reading


class LoadScraper:
    """Has no state."""

    def __init__(self, config: LoadConfig) -> None:
        self.on = config.metrics
        self._divisor = (os.cpu_count() or 1) if config.cpu_average else 1

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name. Raises OSError, ValueError."""
        loads = host.text("loadavg").split()
        names = (f"system.cpu.load_average.{minutes}m" for minutes in (1, 5, 15))
        return {
            name: [((), float(load) / self._divisor)]
            for name, load in zip(names, loads, strict=False)
            if name in self.on
        }
