"""CPU time by state, utilization, frequency and counts. Sources: /proc/stat, /proc/cpuinfo, cpufreq in /sys."""

from heliograph.otlp.metrics_encode import Attributes, Point
from heliograph.receivers.host_metrics.config import CpuConfig
from heliograph.receivers.host_metrics.host import TICKS, HostFiles
from heliograph.receivers.host_metrics.reading import Reading

_STATES = ("user", "nice", "system", "idle", "wait", "interrupt", "softirq", "steal")  # order of /proc/stat


class CpuScraper:
    """Keeps the times of the last scrape for utilization."""

    def __init__(self, config: CpuConfig) -> None:
        self.on = config.metrics
        self._last: dict[str, list[int]] = {}

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name. Raises OSError, ValueError."""
        times: dict[str, list[int]] = {}
        for line in host.lines("stat"):
            if not line.startswith("cpu"):
                break
            name, *numbers = line.split()
            if name != "cpu":
                times[name] = [int(number) for number in numbers[: len(_STATES)]]
        found: dict[str, list[Point]] = {}
        if "system.cpu.time" in self.on:
            found["system.cpu.time"] = [
                (_attributes(cpu, state), ticks / TICKS)
                for cpu, numbers in times.items()
                for state, ticks in zip(_STATES, numbers, strict=False)
            ]
        if "system.cpu.utilization" in self.on:
            found["system.cpu.utilization"] = self._utilization(times)
        if "system.cpu.logical.count" in self.on:
            found["system.cpu.logical.count"] = [((), len(times))]
        if self.on & {"system.cpu.physical.count", "system.cpu.frequency"}:
            with reading.part("cpuinfo"):
                processors = _processors(host)
                if "system.cpu.physical.count" in self.on:
                    found["system.cpu.physical.count"] = [((), _physical(processors) or len(times))]
                if "system.cpu.frequency" in self.on:
                    found["system.cpu.frequency"] = _frequencies(host, processors)
        return found

    def _utilization(self, times: dict[str, list[int]]) -> list[Point]:
        points: list[Point] = []
        for cpu, now in times.items():
            before = self._last.get(cpu)
            if before is None:
                continue
            differences = [max(new - old, 0) for new, old in zip(now, before, strict=False)]
            total = sum(differences)
            for state, difference in zip(_STATES, differences, strict=False):
                points.append((_attributes(cpu, state), difference / total if total else 0.0))
        self._last = times
        return points


def _attributes(cpu: str, state: str) -> Attributes:
    return (("cpu", cpu), ("state", state))


def _processors(host: HostFiles) -> list[dict[str, str]]:
    processors: list[dict[str, str]] = []
    for line in host.lines("cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "processor":
            processors.append({})
        if processors:
            processors[-1][name.strip()] = value.strip()
    return processors


def _physical(processors: list[dict[str, str]]) -> int:
    cores = {(one["physical id"], one["core id"]) for one in processors if "physical id" in one and "core id" in one}
    return len(cores)


def _frequencies(host: HostFiles, processors: list[dict[str, str]]) -> list[Point]:
    points: list[Point] = []
    for number, one in enumerate(processors):
        try:
            with open(f"{host.sys}/devices/system/cpu/cpu{number}/cpufreq/cpuinfo_max_freq") as file:
                hertz = float(file.read()) * 1000
        except (OSError, ValueError):
            hertz = float(one.get("cpu MHz", 0)) * 1_000_000
        points.append(((("cpu", f"cpu{number}"),), hertz))
    return points
