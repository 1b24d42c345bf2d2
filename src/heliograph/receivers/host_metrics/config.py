"""Configuration of host_metrics.

Source: opentelemetry-collector-contrib, receiver/hostmetricsreceiver README and scrapers' configurations.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from heliograph.component.config import Decoder, Duration, Node, key
from heliograph.component.switches import Switches
from heliograph.receivers.host_metrics.match import MatchType, check_filter
from heliograph.receivers.host_metrics.metrics import METRICS


def _defaults(scraper: str) -> dict[str, bool]:
    return {name: metric.on for name, metric in METRICS[scraper].items()}


class CpuMetrics(Switches):
    """Metrics of the cpu scraper."""

    DEFAULTS = _defaults("cpu")


class MemoryMetrics(Switches):
    """Metrics of the memory scraper."""

    DEFAULTS = _defaults("memory")


class DiskMetrics(Switches):
    """Metrics of the disk scraper."""

    DEFAULTS = _defaults("disk")


class FilesystemMetrics(Switches):
    """Metrics of the filesystem scraper."""

    DEFAULTS = _defaults("filesystem")


class LoadMetrics(Switches):
    """Metrics of the load scraper."""

    DEFAULTS = _defaults("load")


class NetworkMetrics(Switches):
    """Metrics of the network scraper."""

    DEFAULTS = _defaults("network")


class PagingMetrics(Switches):
    """Metrics of the paging scraper."""

    DEFAULTS = _defaults("paging")


class ProcessesMetrics(Switches):
    """Metrics of the processes scraper."""

    DEFAULTS = _defaults("processes")


class ProcessMetrics(Switches):
    """Metrics of the process scraper."""

    DEFAULTS = _defaults("process")


class SystemMetrics(Switches):
    """Metrics of the system scraper."""

    DEFAULTS = _defaults("system")


class ProcessAttributes(Switches):
    """Resource attributes of a process."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        "process.pid": True,
        "process.parent_pid": True,
        "process.executable.name": True,
        "process.executable.path": True,
        "process.command": True,
        "process.command_line": True,
        "process.owner": True,
        "process.cgroup": False,
    }


_DOC = "Which metrics to report: name -> {enabled: true|false}."


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuConfig:
    """Time and number of CPUs."""

    metrics: CpuMetrics = key(CpuMetrics.default, _DOC)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConfig:
    """Memory by use."""

    metrics: MemoryMetrics = key(MemoryMetrics.default, _DOC)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMatch:
    """Names of devices."""

    devices: list[str] = key(list, "Device names, or regular expressions.")
    match_type: MatchType | None = key(None, "strict or regexp.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_filter("devices", self.devices, self.match_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskConfig:
    """Input and output of block devices."""

    metrics: DiskMetrics = key(DiskMetrics.default, _DOC)
    include: DeviceMatch = key(DeviceMatch, "Report only these devices.")
    exclude: DeviceMatch = key(DeviceMatch, "Leave these devices out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeMatch:
    """Types of file systems."""

    fs_types: list[str] = key(list, "File system types, or regular expressions.")
    match_type: MatchType | None = key(None, "strict or regexp.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_filter("fs_types", self.fs_types, self.match_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountMatch:
    """Mount points."""

    mount_points: list[str] = key(list, "Mount points, or regular expressions.")
    match_type: MatchType | None = key(None, "strict or regexp.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_filter("mount_points", self.mount_points, self.match_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemConfig:
    """Space and inodes of mounted file systems."""

    metrics: FilesystemMetrics = key(FilesystemMetrics.default, _DOC)
    include_virtual_filesystems: bool = key(False, "Report file systems without a device too.")
    include_devices: DeviceMatch = key(DeviceMatch, "Report only these devices.")
    exclude_devices: DeviceMatch = key(DeviceMatch, "Leave these devices out.")
    include_fs_types: TypeMatch = key(TypeMatch, "Report only these file system types.")
    exclude_fs_types: TypeMatch = key(TypeMatch, "Leave these file system types out.")
    include_mount_points: MountMatch = key(MountMatch, "Report only these mount points.")
    exclude_mount_points: MountMatch = key(MountMatch, "Leave these mount points out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadConfig:
    """Load averages."""

    metrics: LoadMetrics = key(LoadMetrics.default, _DOC)
    cpu_average: bool = key(False, "Divide the load by the number of logical CPUs.")


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceMatch:
    """Names of network interfaces."""

    interfaces: list[str] = key(list, "Interface names, or regular expressions.")
    match_type: MatchType | None = key(None, "strict or regexp.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_filter("interfaces", self.interfaces, self.match_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Traffic of network interfaces and TCP connections by state."""

    metrics: NetworkMetrics = key(NetworkMetrics.default, _DOC)
    include: InterfaceMatch = key(InterfaceMatch, "Report only these interfaces.")
    exclude: InterfaceMatch = key(InterfaceMatch, "Leave these interfaces out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PagingConfig:
    """Swap space, paging and page faults."""

    metrics: PagingMetrics = key(PagingMetrics.default, _DOC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesConfig:
    """Number of processes by state."""

    metrics: ProcessesMetrics = key(ProcessesMetrics.default, _DOC)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMatch:
    """Names of executables."""

    names: list[str] = key(list, "Executable names, or regular expressions.")
    match_type: MatchType | None = key(None, "strict or regexp.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_filter("names", self.names, self.match_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessConfig:
    """Each process: CPU, memory, disk."""

    metrics: ProcessMetrics = key(ProcessMetrics.default, _DOC)
    resource_attributes: ProcessAttributes = key(
        ProcessAttributes.default, "Which resource attributes to set: name -> {enabled: true|false}."
    )
    include: NameMatch = key(NameMatch, "Report only processes with these executable names.")
    exclude: NameMatch = key(NameMatch, "Leave processes with these executable names out.")
    mute_process_all_errors: bool = key(False, "Log no error of a single process.")
    mute_process_name_error: bool = key(False, "Log no error of reading a process's name.")
    mute_process_exe_error: bool = key(False, "Log no error of reading a process's executable path.")
    mute_process_io_error: bool = key(False, "Log no error of reading a process's disk counters.")
    mute_process_user_error: bool = key(False, "Log no error of finding a process's owner.")
    mute_process_cgroup_error: bool = key(False, "Log no error of reading a process's cgroup.")
    scrape_process_delay: Duration = key(Duration(0.0), "Leave out processes younger than this.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemConfig:
    """Uptime."""

    metrics: SystemMetrics = key(SystemMetrics.default, _DOC)


SCRAPERS: Mapping[str, type] = {
    "cpu": CpuConfig,
    "memory": MemoryConfig,
    "disk": DiskConfig,
    "filesystem": FilesystemConfig,
    "load": LoadConfig,
    "network": NetworkConfig,
    "paging": PagingConfig,
    "processes": ProcessesConfig,
    "process": ProcessConfig,
    "system": SystemConfig,
}
UNSUPPORTED_SCRAPERS = ("nfs", "hugepages")


class Scrapers(dict[str, Any]):
    """Scraper name -> its configuration. One that is named has at least its defaults, one that is not is off."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Scrapers | None":
        """Read the map of scrapers; unknown ones are noted."""
        if node.value is None:
            return cls()
        if not isinstance(node.value, dict):
            decoder.problem(node, "expected a map of scrapers")
            return None
        scrapers = cls()
        for name, entry in node.value.items():
            if name in UNSUPPORTED_SCRAPERS:
                decoder.problem(entry, f"the scraper {name!r} is not supported here", "remove it")
            elif name not in SCRAPERS:
                decoder.problem(entry, f"unknown scraper {name!r}", f"one of: {', '.join(SCRAPERS)}")
            else:
                scrapers[name] = decoder.decode(SCRAPERS[name], entry)
        return scrapers


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMetricsConfig:
    """Metrics of the machine, read from /proc and /sys."""

    collection_interval: Duration = key(Duration(60.0), "Time between two scrapes.")
    initial_delay: Duration = key(Duration(1.0), "Time before the first scrape.")
    timeout: Duration = key(Duration(0.0), "Longest time that a scrape may take; 0 for no limit.")
    root_path: str = key("", "Where the host's root is mounted, for example /hostfs in a container.")
    scrapers: Scrapers = key(Scrapers, "Which parts of the host to measure.")
    UNSUPPORTED: ClassVar[Mapping[str, str]] = {
        "metadata_collection_interval": "host entities are not emitted; remove it",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        if self.collection_interval <= 0:
            yield "collection_interval", "must be positive"
        if not self.scrapers:
            yield "scrapers", "must specify at least one scraper"
