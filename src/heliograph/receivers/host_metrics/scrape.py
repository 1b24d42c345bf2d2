"""All scrapers of one receiver: host files -> serialized ResourceMetrics, with what went wrong."""

from collections.abc import Mapping
from typing import Any

from heliograph import __version__
from heliograph.component.scrape import Scrape
from heliograph.otlp.attributes import encode_key_value
from heliograph.otlp.metrics_encode import encode_metrics, resource_metrics
from heliograph.otlp.wire import field as wire_field
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.metrics import METRICS
from heliograph.receivers.host_metrics.reading import UNREADABLE, Reading, told
from heliograph.receivers.host_metrics.scrapers.cpu import CpuScraper
from heliograph.receivers.host_metrics.scrapers.disk import DiskScraper
from heliograph.receivers.host_metrics.scrapers.filesystem import FilesystemScraper
from heliograph.receivers.host_metrics.scrapers.load import LoadScraper
from heliograph.receivers.host_metrics.scrapers.memory import MemoryScraper
from heliograph.receivers.host_metrics.scrapers.network import NetworkScraper
from heliograph.receivers.host_metrics.scrapers.paging import PagingScraper
from heliograph.receivers.host_metrics.scrapers.process import ProcessScraper
from heliograph.receivers.host_metrics.scrapers.processes import ProcessesScraper
from heliograph.receivers.host_metrics.scrapers.system import SystemScraper

SCHEMA_URL = "https://opentelemetry.io/schemas/1.9.0"
SCOPE = "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver/internal/scraper/"
_SCRAPERS: Mapping[str, Any] = {
    "cpu": CpuScraper,
    "memory": MemoryScraper,
    "disk": DiskScraper,
    "filesystem": FilesystemScraper,
    "load": LoadScraper,
    "network": NetworkScraper,
    "paging": PagingScraper,
    "processes": ProcessesScraper,
    "system": SystemScraper,
}


class Scraping:
    """The scrapers that are switched on. `run` blocks on files: call it in a thread."""

    def __init__(self, scrapers: Mapping[str, Any], host: HostFiles) -> None:
        self._host = host
        self._scrapers = {name: _SCRAPERS[name](config) for name, config in scrapers.items() if name != "process"}
        self._process = ProcessScraper(scrapers["process"]) if "process" in scrapers else None

    def run(self, now_ns: int) -> Scrape:
        """One round; a scraper that fails does not keep the others from it."""
        result = Scrape()
        try:
            boot_ns = self._host.boot_time_ns()
        except UNREADABLE as error:
            result.errors["boot time"] = told(error)
            boot_ns = 0
        for name, scraper in self._scrapers.items():
            reading = Reading()
            try:
                found = scraper.scrape(self._host, reading)
                encoded, points = encode_metrics(METRICS[name], found, boot_ns, now_ns)
            except UNREADABLE as error:
                result.errors[name] = told(error)
                continue
            if reading.errors:
                failed = "; ".join(f"{what}: {reason}" for what, reason in reading.errors.items())
                hint = "mount points that cannot be read (is root_path right?): " if name == "filesystem" else ""
                result.errors[name] = hint + failed
            if points:
                result.parts.append(resource_metrics(b"", _scope(name), encoded, SCHEMA_URL))
            result.points[name] = points
        if self._process is not None:
            self._run_process(self._process, now_ns, result)
        return result

    def _run_process(self, scraper: ProcessScraper, now_ns: int, result: Scrape) -> None:
        total = 0
        try:
            for process in scraper.scrape(self._host, now_ns):
                encoded, points = encode_metrics(METRICS["process"], process.points, process.started_ns, now_ns)
                resource = b"".join(encode_key_value(1, key, value) for key, value in process.resource)
                result.parts.append(resource_metrics(resource, _scope("process"), encoded, SCHEMA_URL))
                total += points
        except UNREADABLE as error:
            result.errors["process"] = told(error)
        if scraper.errors:
            shown = "; ".join(f"{reason} ({count} processes)" for reason, count in scraper.errors.most_common(5))
            result.errors["process"] = f"{shown}; run with more rights, or set the mute_process_*_error keys"
        result.points["process"] = total


def _scope(scraper: str) -> bytes:
    return wire_field(1, f"{SCOPE}{scraper}scraper".encode()) + wire_field(2, __version__.encode())
