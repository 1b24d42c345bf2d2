"""Each process, as a resource of its own. Sources: /proc/<pid>/{stat,status,io,exe,cmdline,cgroup,fd}.

Files are read only for what is switched on. What a process is called is read once and remembered by its pid and start
time. A process that ends meanwhile is passed over silently; what may not be read is told in `errors` unless muted.
"""

import os
import pwd
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from heliograph.otlp.metrics_encode import Point
from heliograph.receivers.host_metrics.config import ProcessConfig
from heliograph.receivers.host_metrics.host import TICKS, HostFiles
from heliograph.receivers.host_metrics.match import chosen, matcher
from heliograph.receivers.host_metrics.reading import UNREADABLE, told
from heliograph.receivers.host_metrics.scrapers.filesystem import readable
from heliograph.receivers.host_metrics.scrapers.memory import meminfo

_PAGE = os.sysconf("SC_PAGE_SIZE")
_COMM_LENGTH = 15
ResourceValue = str | int
Resource = tuple[tuple[str, ResourceValue], ...]


@dataclass(frozen=True, slots=True)
class Process:
    """What was found of one process. started_ns: when it was made, nanoseconds since the epoch."""

    resource: Resource
    points: dict[str, list[Point]]
    started_ns: int


class ProcessScraper:
    """Remembers CPU times of the last scrape, for utilization, and what processes are called."""

    def __init__(self, config: ProcessConfig) -> None:
        self.on = config.metrics
        self._config = config
        self._attributes = config.resource_attributes
        self._include = matcher(config.include.names, config.include.match_type)
        self._exclude = matcher(config.exclude.names, config.exclude.match_type)
        self._known: dict[tuple[int, int], Resource] = {}
        self._times: dict[tuple[int, int], tuple[float, tuple[float, float, float]]] = {}
        self._cpus = os.cpu_count() or 1
        self.errors: Counter[str] = Counter()

    def scrape(self, host: HostFiles, now_ns: int) -> Iterator[Process]:
        """Processes, one after the other. Raises OSError, ValueError when /proc itself cannot be read."""
        self.errors = Counter()
        boot_ns = host.boot_time_ns()
        total_memory = meminfo(host)["MemTotal"] if "process.memory.utilization" in self.on else 0
        known, times = self._known, self._times
        self._known, self._times = {}, {}
        for name in os.listdir(host.proc):
            if not name.isdigit():
                continue
            try:
                stat = host.text(f"{name}/stat")
                process = self._process(host, int(name), stat, boot_ns, now_ns, total_memory, known, times)
            except (FileNotFoundError, ProcessLookupError):
                continue
            except UNREADABLE as error:
                self._error("process", self._config.mute_process_name_error, error)
                continue
            if process is not None:
                yield process

    def _error(self, what: str, muted: bool, error: Exception) -> None:
        if not muted and not self._config.mute_process_all_errors:
            self.errors[f"{what}: {error.strerror if isinstance(error, OSError) else told(error)}"] += 1

    def _process(
        self,
        host: HostFiles,
        pid: int,
        stat: str,
        boot_ns: int,
        now_ns: int,
        total_memory: int,
        known: dict[tuple[int, int], Resource],
        times: dict[tuple[int, int], tuple[float, tuple[float, float, float]]],
    ) -> Process | None:
        end = stat.rindex(")")
        comm, columns = stat[stat.index("(") + 1 : end], stat[end + 2 :].split()
        key = (pid, int(columns[19]))
        started_ns = boot_ns + key[1] * 10**9 // TICKS
        if not 0 <= started_ns < 2**63:
            raise ValueError(f"started at {started_ns}, which is no time")
        if self._config.scrape_process_delay and now_ns - started_ns < self._config.scrape_process_delay * 10**9:
            return None
        resource = known.get(key)
        if resource is None:
            resource = self._resource(host, pid, comm, int(columns[1]))
        self._known[key] = resource
        if not resource:
            return None
        points: dict[str, list[Point]] = {}
        cpu = (int(columns[11]) / TICKS, int(columns[12]) / TICKS, int(columns[39]) / TICKS)
        self._cpu(points, key, cpu, now_ns / 10**9, times)
        resident = int(columns[21]) * _PAGE
        simple = {
            "process.memory.usage": resident,
            "process.memory.virtual": int(columns[20]),
            "process.threads": int(columns[17]),
            "process.uptime": (now_ns - started_ns) / 10**9,
        }
        points.update({name: [((), value)] for name, value in simple.items() if name in self.on})
        if total_memory:
            points["process.memory.utilization"] = [((), 100 * resident / total_memory)]
        if "process.paging.faults" in self.on:
            points["process.paging.faults"] = [
                ((("type", "major"),), int(columns[9])),
                ((("type", "minor"),), int(columns[7])),
            ]
        self._files(points, host, pid)
        return Process(resource, points, started_ns)

    def _cpu(
        self,
        points: dict[str, list[Point]],
        key: tuple[int, int],
        cpu: tuple[float, float, float],
        now: float,
        times: dict[tuple[int, int], tuple[float, tuple[float, float, float]]],
    ) -> None:
        states = ("user", "system", "wait")
        if "process.cpu.time" in self.on:
            points["process.cpu.time"] = [
                ((("state", state),), seconds) for state, seconds in zip(states, cpu, strict=True)
            ]
        if "process.cpu.utilization" in self.on:
            before = times.get(key)
            self._times[key] = (now, cpu)
            if before is not None and now > before[0]:
                available = (now - before[0]) * self._cpus
                points["process.cpu.utilization"] = [
                    ((("state", state),), max(new - old, 0.0) / available)
                    for state, new, old in zip(states, cpu, before[1], strict=True)
                ]

    def _files(self, points: dict[str, list[Point]], host: HostFiles, pid: int) -> None:
        if self.on & {"process.disk.io", "process.disk.operations"}:
            try:
                counters = _pairs(host.text(f"{pid}/io"))
                for name, read, write in (
                    ("process.disk.io", "read_bytes", "write_bytes"),
                    ("process.disk.operations", "syscr", "syscw"),
                ):
                    if name in self.on:
                        points[name] = [
                            ((("direction", "read"),), int(counters[read])),
                            ((("direction", "write"),), int(counters[write])),
                        ]
            except (PermissionError, LookupError, ValueError) as error:
                self._error("disk counters", self._config.mute_process_io_error, error)
        if self.on & {"process.context_switches", "process.signals_pending"}:
            status = _pairs(host.text(f"{pid}/status"))
            # Not every kernel has these lines (gVisor does not).
            involuntary, voluntary = status.get("nonvoluntary_ctxt_switches"), status.get("voluntary_ctxt_switches")
            if "process.context_switches" in self.on and involuntary is not None and voluntary is not None:
                points["process.context_switches"] = [
                    ((("type", "involuntary"),), int(involuntary)),
                    ((("type", "voluntary"),), int(voluntary)),
                ]
            if "process.signals_pending" in self.on and "SigQ" in status:
                points["process.signals_pending"] = [((), int(status["SigQ"].partition("/")[0]))]
        if "process.open_file_descriptors" in self.on:
            try:
                points["process.open_file_descriptors"] = [((), len(os.listdir(f"{host.proc}/{pid}/fd")))]
            except PermissionError as error:
                self._error("open files", self._config.mute_process_io_error, error)

    def _resource(self, host: HostFiles, pid: int, comm: str, parent: int) -> Resource:
        """Who a process is; () when its name is filtered out."""
        arguments = [part for part in host.text(f"{pid}/cmdline").split("\0") if part]
        name = comm
        if len(comm) >= _COMM_LENGTH and arguments and os.path.basename(arguments[0]).startswith(comm):
            name = os.path.basename(arguments[0])
        if not chosen(name, self._include, self._exclude):
            return ()
        config = self._config
        readers: dict[str, Callable[[], ResourceValue]] = {
            "process.pid": lambda: pid,
            "process.parent_pid": lambda: parent,
            "process.executable.name": lambda: name,
            "process.executable.path": lambda: self._tried(
                "executable path",
                config.mute_process_exe_error,
                lambda: readable(os.readlink(f"{host.proc}/{pid}/exe")),
            ),
            "process.command": lambda: arguments[0] if arguments else "",
            "process.command_line": lambda: " ".join(arguments),
            "process.owner": lambda: self._tried(
                "owner", config.mute_process_user_error, lambda: owner(os.stat(f"{host.proc}/{pid}").st_uid)
            ),
            "process.cgroup": lambda: self._tried(
                "cgroup", config.mute_process_cgroup_error, lambda: host.text(f"{pid}/cgroup").strip()
            ),
        }
        return tuple((attribute, read()) for attribute, read in readers.items() if attribute in self._attributes)

    def _tried(self, what: str, muted: bool, read: Callable[[], str]) -> str:
        """What `read` gives, "" when it cannot: a thread of the kernel has no executable, another's may be hidden."""
        try:
            return read()
        except FileNotFoundError:
            return ""
        except (OSError, KeyError) as error:
            self._error(what, muted, error)
            return ""


@lru_cache(maxsize=1024)
def owner(uid: int) -> str:
    """The name of a user. Raises KeyError."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise KeyError(f"user {uid} is not in the user database") from None


def _pairs(text: str) -> dict[str, str]:
    return {
        name: value.strip()
        for name, separator, value in (line.partition(":") for line in text.splitlines())
        if separator
    }
