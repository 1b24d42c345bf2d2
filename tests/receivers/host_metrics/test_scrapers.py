"""Scrapers on a small made-up host below root_path: exact values, odd kernels, filters."""

import os
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.errors import ConfigError
from heliograph.config.decode import from_plain
from heliograph.receivers.host_metrics.config import HostMetricsConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.metrics import METRICS
from heliograph.receivers.host_metrics.scrape import Scraping
from heliograph.receivers.host_metrics.scrapers.filesystem import mounts

FILES = {
    "stat": "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 100 200 300 400 500 600 700 800 0 0\nbtime 1000\nprocesses 77\n"
    "procs_running 2\nprocs_blocked 1\n",
    "meminfo": "MemTotal: 1000 kB\nMemFree: 300 kB\nMemAvailable: 600 kB\nBuffers: 10 kB\nCached: 20 kB\nDirty: 3 kB\n"
    "SReclaimable: 4 kB\nSUnreclaim: 5 kB\n",
    "diskstats": "   8 0 sda 1 2 3 4000 5 6 7 8000 9 10000 11000\n   7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"
    "   8 1 sdb 1 1 1 1 1 1 1 1 1 1 1\n",
    "loadavg": "0.50 1.00 1.50 1/100 4242\n",
    "net/dev": "Inter-| Receive | Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n"
    "  eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n",
    "net/tcp": "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0\n",
    "vmstat": "pgfault 100\npgmajfault 7\npswpin 1\npswpout 2\npgpgin 30\npgpgout 40\n",
    "swaps": "Filename Type Size Used Priority\n/dev/sda2 partition 1000 250 -2\n",
    "uptime": "12345.67 1.0\n",
    "filesystems": "nodev\tproc\nnodev\ttmpfs\n\text4\n",
    "1/mountinfo": "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "23 22 0:5 / /proc rw - proc proc rw\n24 22 8:2 / /mnt/with\\040space ro - ext4 /dev/sda2 rw\n",
    "1/stat": "1 (a (b) c) S 0 1 1 0 -1 0 10 0 20 0 150 50 0 0 20 0 3 0 500 4096000 5" + " 0" * 17 + " 25 0 0\n",
    "1/cmdline": "/bin/a\0--flag\0",
    "1/io": "rchar: 1\nwchar: 1\nsyscr: 11\nsyscw: 12\nread_bytes: 13\nwrite_bytes: 14\ncancelled_write_bytes: 0\n",
    "1/status": "SigQ:\t3/100\nvoluntary_ctxt_switches:\t8\nnonvoluntary_ctxt_switches:\t9\n",
    "1/cgroup": "0::/x\n",
    "1/fd/0": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "proc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "mnt" / "with space").mkdir(parents=True)
    return tmp_path


def scrape(root: Path, scrapers: dict[str, Any], rounds: int = 1) -> tuple[dict[Any, float], dict[str, str]]:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

    config = from_plain(HostMetricsConfig, {"root_path": str(root), "scrapers": scrapers})
    scraping = Scraping(config.scrapers, HostFiles.find(config.root_path, {}))
    for second in range(rounds):
        result = scraping.run((2000 + second) * 10**9)
    values: dict[Any, float] = {}
    for part in result.parts:
        for scope in ResourceMetrics.FromString(part).scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    attributes = tuple(attribute.value.string_value for attribute in point.attributes)
                    values[metric.name, *attributes] = getattr(point, point.WhichOneof("value"))
                    assert point.time_unix_nano == (2000 + rounds - 1) * 10**9
    return values, result.errors


def all_on(scraper: str, **more: Any) -> dict[str, Any]:
    return {scraper: {"metrics": {name: {"enabled": True} for name in METRICS[scraper]}, **more}}


def test_memory(root: Path) -> None:
    values, _ = scrape(root, all_on("memory"))
    assert values["system.memory.usage", "used"] == 400 * 1024
    assert values["system.memory.usage", "cached"] == (20 + 4) * 1024
    assert values["system.memory.utilization", "slab_unreclaimable"] == 0.005
    assert values[("system.linux.memory.dirty",)] == 3 * 1024


def test_cpu(root: Path) -> None:
    values, _ = scrape(root, {"cpu": None})
    assert values["system.cpu.time", "cpu0", "wait"] == 5.0
    assert values["system.cpu.time", "cpu0", "steal"] == 8.0
    assert not any(key[0] == "system.cpu.utilization" for key in values)


def test_cpu_utilization_needs_two_rounds(root: Path) -> None:
    cpu = {"cpu": {"metrics": {"system.cpu.utilization": {"enabled": True}, "system.cpu.time": {"enabled": False}}}}
    assert scrape(root, cpu)[0] == {}
    config = from_plain(HostMetricsConfig, {"root_path": str(root), "scrapers": cpu})
    scraping = Scraping(config.scrapers, HostFiles.find(config.root_path, {}))
    scraping.run(1)
    stat = root / "proc" / "stat"
    stat.write_text(stat.read_text().replace("cpu0 100 200 300 400", "cpu0 110 200 300 430"))
    assert scraping.run(2).points == {"cpu": 8}


def test_disk(root: Path) -> None:
    values, _ = scrape(root, {"disk": {"exclude": {"devices": ["^sdb$"], "match_type": "regexp"}}})
    assert values["system.disk.io", "sda", "read"] == 3 * 512
    assert values["system.disk.operation_time", "sda", "write"] == 8.0
    assert values["system.disk.weighted_io_time", "sda"] == 11.0
    assert values["system.disk.pending_operations", "sda"] == 9
    assert {key[1] for key in values} == {"sda"}


def test_filesystem(root: Path) -> None:
    values, errors = scrape(root, all_on("filesystem"))
    assert {key[3] for key in values} == {"/", "/mnt/with space"}
    assert values["system.filesystem.usage", "/dev/sda2", "ro", "/mnt/with space", "ext4", "used"] > 0
    assert errors == {}
    assert len(list(mounts(HostFiles.find(str(root), {})))) == 3


def test_filesystem_that_cannot_be_read_is_named(root: Path) -> None:
    (root / "mnt" / "with space").rmdir()
    values, errors = scrape(root, {"filesystem": None})
    assert {key[3] for key in values} == {"/"}
    assert "/mnt/with space: No such file" in errors["filesystem"]


def test_network(root: Path) -> None:
    values, _ = scrape(root, {"network": {"include": {"interfaces": ["eth0"], "match_type": "strict"}}})
    assert [values["system.network.io", "eth0", way] for way in ("receive", "transmit")] == [1, 5]
    assert values["system.network.errors", "eth0", "receive"] == 3
    assert values["system.network.dropped", "eth0", "transmit"] == 8
    assert values["system.network.connections", "tcp", "LISTEN"] == 1
    assert not any("lo" in key for key in values)


def test_paging(root: Path) -> None:
    values, _ = scrape(root, all_on("paging"))
    assert values["system.paging.usage", "/dev/sda2", "free"] == 750 * 1024
    assert values["system.paging.utilization", "/dev/sda2", "used"] == 0.25
    assert values["system.paging.faults", "minor"] == 93
    assert values["system.paging.operations", "page_out", "major"] == 2


def test_load_processes_system(root: Path) -> None:
    values, _ = scrape(root, {"load": None, "processes": None, **all_on("system")})
    assert values[("system.cpu.load_average.15m",)] == 1.5
    assert values["system.processes.count", "sleeping"] == 1
    assert values["system.processes.count", "blocked"] == 1
    assert values[("system.processes.created",)] == 77
    assert values[("system.uptime",)] == 12345.67


def test_process(root: Path) -> None:
    values, errors = scrape(root, all_on("process"), rounds=2)
    assert values["process.cpu.time", "user"] == 1.5
    assert values["process.cpu.time", "wait"] == 0.25
    assert values["process.disk.io", "write"] == 14
    assert values["process.disk.operations", "read"] == 11
    assert values["process.paging.faults", "major"] == 20
    assert values["process.context_switches", "voluntary"] == 8
    assert values[("process.signals_pending",)] == 3
    assert values[("process.threads",)] == 3
    assert values[("process.memory.virtual",)] == 4096000
    assert values["process.cpu.utilization", "user"] == 0
    assert values[("process.uptime",)] == 2001 - 1005
    assert errors == {}


def test_process_filter(root: Path) -> None:
    only = {"process": {"include": {"names": ["nothing"], "match_type": "strict"}}}
    assert scrape(root, only)[0] == {}


EVERYTHING = {name: all_on(name)[name] for name in METRICS}
WITHOUT_FILES = {"cpu", "network"}  # the made-up host has no cpuinfo and no connection tracking


@pytest.mark.parametrize(
    ("name", "content", "failing"),
    [
        ("meminfo", "MemTotal: 0 kB\nMemFree: 0 kB\n", set()),
        ("meminfo", "MemTotal: 99999999999999999999 kB\nMemFree: 1 kB\n", set()),
        ("meminfo", FILES["meminfo"] + "\nOdd\nOdder: x kB\n", set()),
        ("diskstats", "\n   8 0 sda 1 2 18446744073709551615 4 5 6 7 8 9 10 11\n", set()),
        ("diskstats", "8 0 sda 1 2 x 4 5 6 7 8 9 10 11\n8 1 sdb 1 1 1 1 1 1 1 1 1 1 1\n", {"disk"}),
        ("stat", FILES["stat"].replace("btime 1000", "btime 99999999999999999999"), {"boot time", "process"}),
        ("stat", FILES["stat"].replace("btime 1000", "btime -1"), {"boot time", "process"}),
        ("swaps", None, {"paging"}),
        ("vmstat", None, {"paging"}),
        ("net/dev", FILES["net/dev"].replace("1 2 3 4", "1 2 3 999999999999999999999999"), set()),
        ("1/stat", FILES["1/stat"].replace("4096000", "18446744073709551615"), set()),
        ("1/io", "rchar: 1\n", {"process"}),
        ("1/status", "Name: x\n", set()),
        ("2/stat", "2 (short) S 1\n", {"process"}),
        ("1/mountinfo", FILES["1/mountinfo"] + "9 2 8:2 / /a\\000b rw - ext4 /dev/sdc rw\n", {"filesystem"}),
    ],
)
def test_numbers_that_no_kernel_gives(root: Path, name: str, content: str | None, failing: set[str]) -> None:
    """Each odd or missing file costs only what is in it, and is named; nothing ends the receiver."""
    path = root / "proc" / name
    path.parent.mkdir(exist_ok=True)
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    values, errors = scrape(root, EVERYTHING, rounds=2)
    assert errors.keys() == failing | WITHOUT_FILES
    found = {key[0] for key in values}
    assert {"system.cpu.time", "system.network.io", "system.network.connections", "system.memory.usage"} <= found
    assert "system.disk.io" in found
    assert {"system.paging.faults", "system.paging.usage"} & found
    assert "system.filesystem.usage" in found
    assert "process.memory.usage" in found or "boot time" in failing


def test_names_that_are_no_text(root: Path) -> None:
    """A mount point and an executable whose names are no UTF-8 are measured; the names are shown as near as can be."""
    os.mkdir(os.fsencode(root) + b"/mnt/caf\xe9")
    with (root / "proc/1/mountinfo").open("ab") as file:
        file.write(b"25 22 8:2 / /mnt/caf\xe9 ro - ext4 /dev/sd\xff rw\n")
    os.symlink(b"/bin/caf\xe9", os.fsencode(root) + b"/proc/1/exe")
    values, errors = scrape(root, {"filesystem": {}, "process": {}})
    assert errors == {}
    mounts_shown = {key[3] for key in values if key[0] == "system.filesystem.usage"}
    assert "/mnt/caf\N{REPLACEMENT CHARACTER}" in mounts_shown


def test_one_broken_scraper_does_not_stop_the_others(root: Path) -> None:
    (root / "proc" / "meminfo").unlink()
    (root / "proc" / "loadavg").write_text("not a number")
    values, errors = scrape(root, {"memory": None, "load": None, "cpu": None})
    assert set(errors) == {"memory", "load"}
    assert "meminfo" in errors["memory"]
    assert ("system.cpu.time", "cpu0", "user") in values


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"scrapers": {}}, "at least one scraper"),
        ({"scrapers": {"nfs": None}}, "nfs"),
        ({"scrapers": {"cpus": None}}, "unknown scraper"),
        ({"scrapers": {"cpu": {"metrics": {"system.cpu.tim": {"enabled": True}}}}}, "system.cpu.tim"),
        ({"scrapers": {"disk": {"include": {"devices": ["a"]}}}}, "match_type"),
        ({"scrapers": {"disk": {"include": {"devices": ["("], "match_type": "regexp"}}}}, "regular expression"),
        ({"scrapers": {"cpu": None}, "collection_interval": "0s"}, "positive"),
    ],
)
def test_refused_configuration(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        from_plain(HostMetricsConfig, config)
