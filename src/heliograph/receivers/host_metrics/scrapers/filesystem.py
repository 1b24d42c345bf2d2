"""Space and inodes of mounted file systems. Sources: mountinfo, /proc/filesystems, statvfs below the root path."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.otlp.metrics_encode import Attributes, Point
from heliograph.receivers.host_metrics.config import FilesystemConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.match import chosen, matcher
from heliograph.receivers.host_metrics.reading import Reading

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo. mode: "rw" or "ro". What is no UTF-8 is kept as Python keeps names of files."""

    device: str
    mode: str
    mountpoint: str
    type: str

    @property
    def attributes(self) -> Attributes:
        """As upstream reports it."""
        device, mountpoint = readable(self.device), readable(self.mountpoint)
        return (("device", device), ("mode", self.mode), ("mountpoint", mountpoint), ("type", self.type))


class FilesystemScraper:
    """Has no state."""

    def __init__(self, config: FilesystemConfig) -> None:
        self.on = config.metrics
        self._virtual = config.include_virtual_filesystems
        self._devices = (
            matcher(config.include_devices.devices, config.include_devices.match_type),
            matcher(config.exclude_devices.devices, config.exclude_devices.match_type),
        )
        self._types = (
            matcher(config.include_fs_types.fs_types, config.include_fs_types.match_type),
            matcher(config.exclude_fs_types.fs_types, config.exclude_fs_types.match_type),
        )
        self._mounts = (
            matcher(config.include_mount_points.mount_points, config.include_mount_points.match_type),
            matcher(config.exclude_mount_points.mount_points, config.exclude_mount_points.match_type),
        )

    def scrape(self, host: HostFiles, reading: Reading) -> dict[str, list[Point]]:
        """Points by metric name; mount points that cannot be read are errors. Raises OSError."""
        usage: list[Point] = []
        inodes: list[Point] = []
        utilization: list[Point] = []
        for mount in self._chosen(host):
            try:
                stat = os.statvfs(host.root + mount.mountpoint)
            except (OSError, ValueError) as error:
                reading.errors[readable(mount.mountpoint)] = getattr(error, "strerror", None) or str(error)
                continue
            used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize
            free = stat.f_bavail * stat.f_frsize
            reserved = (stat.f_bfree - stat.f_bavail) * stat.f_frsize
            for state, size in (("used", used), ("free", free), ("reserved", reserved)):
                usage.append(((*mount.attributes, ("state", state)), size))
            for state, count in (("used", stat.f_files - stat.f_ffree), ("free", stat.f_ffree)):
                inodes.append(((*mount.attributes, ("state", state)), count))
            if used + free:
                utilization.append((mount.attributes, used / (used + free)))
        every = {
            "system.filesystem.usage": usage,
            "system.filesystem.inodes.usage": inodes,
            "system.filesystem.utilization": utilization,
        }
        return {name: points for name, points in every.items() if name in self.on}

    def _chosen(self, host: HostFiles) -> Iterator[Mount]:
        physical = None if self._virtual else _physical_types(host)
        seen: set[Mount] = set()
        for mount in mounts(host):
            if physical is not None and (mount.type not in physical or mount.device == "none"):
                continue
            fits = (
                chosen(mount.device, *self._devices)
                and chosen(mount.type, *self._types)
                and chosen(mount.mountpoint, *self._mounts)
            )
            if fits and mount not in seen:
                seen.add(mount)
                yield mount


def mounts(host: HostFiles) -> Iterator[Mount]:
    """What is mounted. Raises OSError."""
    with open(host.mountinfo, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for line in file:
            left, separator, right = line.partition(" - ")
            fields, source = left.split(" "), right.split(" ")
            if not separator or len(fields) < 6 or len(source) < 2:
                continue
            mode = "ro" if "ro" in fields[5].split(",") else "rw"
            yield Mount(_plain(source[1]), mode, _plain(fields[4]), source[0])


def readable(name: str) -> str:
    """A name of a file for people and for OTLP: bytes that are no UTF-8 are shown as U+FFFD."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def _physical_types(host: HostFiles) -> frozenset[str]:
    types = [line.split() for line in host.lines("filesystems")]
    return frozenset(["zfs", *(words[0] for words in types if len(words) == 1)])
