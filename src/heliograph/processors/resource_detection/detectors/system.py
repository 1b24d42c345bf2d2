"""The `system` detector: this machine's name, addresses, operating system and processor.

Source: opentelemetry-collector-contrib, resourcedetectionprocessor/internal/system, and the output of release 0.156.
"""

import os
import platform
import re
import socket
from collections.abc import Callable
from pathlib import Path

from heliograph.otlp.attributes import Value
from heliograph.processors.resource_detection.config import HostnameSource, SystemConfig
from heliograph.processors.resource_detection.detected import SCHEMA_URL, Detected, DetectionError

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm32", "i686": "x86", "ppc64le": "ppc64"}
_DEFAULT_SOURCES = (HostnameSource.DNS, HostnameSource.OS)


def detect(config: SystemConfig) -> Detected:
    """Find out what is switched on. Raises DetectionError."""
    readers: dict[str, Callable[[], Value]] = {
        "host.name": lambda: hostname(config.hostname_sources or _DEFAULT_SOURCES),
        "os.type": lambda: platform.system().lower(),
        "os.version": _os_version,
        "host.id": _machine_id,
        "host.arch": lambda: _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "host.ip": _addresses,
        "host.mac": _hardware_addresses,
        "host.interface": lambda: [name for _, name in socket.if_nameindex()],
        "os.description": _description,
        "os.name": lambda: _os_release().get("ID", platform.system().lower()),
        "os.build.id": platform.release,
        "host.cpu.vendor.id": lambda: _cpu("vendor_id"),
        "host.cpu.family": lambda: _cpu("cpu family"),
        "host.cpu.model.id": lambda: _cpu("model"),
        "host.cpu.model.name": lambda: _cpu("model name"),
        "host.cpu.stepping": lambda: _cpu("stepping"),
        "host.cpu.cache.l2.size": lambda: int(_cpu("cache size").split()[0] or 0),
    }
    attributes: dict[str, Value] = {}
    for name, read in readers.items():
        if name not in config.resource_attributes:
            continue
        try:
            attributes[name] = read()
        except (OSError, ValueError, LookupError) as error:
            raise DetectionError(f"{name}: {error}") from error
    return Detected(attributes, SCHEMA_URL)


def hostname(sources: tuple[HostnameSource, ...] | list[HostnameSource]) -> str:
    """The first name that a source gives. Raises DetectionError that lists what each of them said."""
    failures: list[str] = []
    for source in sources:
        try:
            name = _NAMES[source]()
        except OSError as error:
            failures.append(f"{source}: {error}")
            continue
        if name:
            return name
        failures.append(f"{source}: no name")
    raise DetectionError(f"host.name: no source gave a name ({'; '.join(failures)})")


def _canonical() -> str:
    found = socket.getaddrinfo(socket.gethostname(), None, flags=socket.AI_CANONNAME)
    return found[0][3].rstrip(".")


def _reverse() -> str:
    _, _, addresses = socket.gethostbyname_ex(socket.gethostname())
    for address in addresses:
        try:
            return socket.gethostbyaddr(address)[0].rstrip(".")
        except OSError:
            continue
    return ""


_NAMES: dict[HostnameSource, Callable[[], str]] = {
    HostnameSource.OS: socket.gethostname,
    HostnameSource.DNS: _canonical,
    HostnameSource.CNAME: _canonical,
    HostnameSource.LOOKUP: _reverse,
}


def _machine_id() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(path).read_text().strip()
        except FileNotFoundError:
            continue
    raise LookupError("neither /etc/machine-id nor /var/lib/dbus/machine-id is there")


def _up_interfaces() -> list[str]:
    import psutil

    states = psutil.net_if_stats()
    names = (name for _, name in socket.if_nameindex())
    # upstream asks for "up" (IFF_UP); psutil's isup wants a carrier too, which a bridge without members has not
    flags = {name: states[name].flags.split(",") for name in names if name in states}
    return [name for name, having in flags.items() if "up" in having and "loopback" not in having]


def _addresses() -> Value:
    import psutil

    addresses = psutil.net_if_addrs()
    return [
        address.address.partition("%")[0]
        for name in _up_interfaces()
        for address in addresses.get(name, [])
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]


def _hardware_addresses() -> Value:
    import psutil

    addresses = psutil.net_if_addrs()
    return [
        address.address.upper().replace(":", "-")
        for name in _up_interfaces()
        for address in addresses.get(name, [])
        if address.family == psutil.AF_LINK
    ]


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _os_version() -> str:
    release = _os_release()
    if release.get("ID") == "debian":
        try:
            return Path("/etc/debian_version").read_text().strip()
        except OSError:
            pass
    return release.get("VERSION_ID", "")


def _description() -> str:
    name = os.uname()
    kernel = f"{name.sysname} {name.nodename} {name.release} {name.version} {name.machine}"
    return f"{_os_release().get('PRETTY_NAME', name.sysname)} ({kernel})"


def _cpu(name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1].strip() if match else ""
