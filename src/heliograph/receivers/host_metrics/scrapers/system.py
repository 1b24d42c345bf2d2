"""Uptime. Source: /proc/uptime."""

from heliograph.otlp.metrics_encode import Point
from heliograph.receivers.host_metrics.config import SystemConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.reading import Reading


class SystemScraper:
    """Has no state."""

    def __init__(self, config: SystemConfig) -> None:
        self.on = config.metrics

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name. Raises OSError, ValueError."""
        if "system.uptime" not in self.on:
            return {}
        return {"system.uptime": [((), float(host.text("uptime").split()[0]))]}
