"""Configuration of resource_detection.

Source: opentelemetry-collector-contrib, processor/resourcedetectionprocessor.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from heliograph.component.config import Decoder, Duration, Node, key
from heliograph.component.switches import Switches

_CLOUDS = (
    *("akamai", "aks", "alibaba_ecs", "azure", "consul", "digitalocean", "docker", "dynatrace", "ec2", "ecs", "eks"),
    *("elasticbeanstalk", "gcp", "heroku", "hetzner", "ibmcloud_classic", "ibmcloud_vpc", "k8s_api", "k8snode"),
    *("kubeadm", "lambda", "nova", "openshift", "oraclecloud", "scaleway", "tencent_cvm", "upcloud", "vultr"),
)
DETECTORS = ("env", "system")


class HostnameSource(StrEnum):
    """How to find the machine's name."""

    OS = "os"
    DNS = "dns"
    CNAME = "cname"
    LOOKUP = "lookup"


class SystemAttributes(Switches):
    """Attributes of the system detector."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {
        "host.arch": False,
        "host.cpu.cache.l2.size": False,
        "host.cpu.family": False,
        "host.cpu.model.id": False,
        "host.cpu.model.name": False,
        "host.cpu.stepping": False,
        "host.cpu.vendor.id": False,
        "host.id": False,
        "host.interface": False,
        "host.ip": False,
        "host.mac": False,
        "host.name": True,
        "os.build.id": False,
        "os.description": False,
        "os.name": False,
        "os.type": True,
        "os.version": False,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemConfig:
    """This machine's name, addresses, operating system and processor."""

    hostname_sources: list[HostnameSource] = key(
        list, "Where the name comes from, tried in this order: os, dns, cname, lookup. Default: dns, then os."
    )
    resource_attributes: SystemAttributes = key(
        SystemAttributes.default, "Which attributes to set: name -> {enabled: true|false}."
    )


class Detectors(tuple[str, ...]):
    """Names of detectors, in order."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Detectors | None":
        """Read the list; unknown and unsupported names are noted."""
        if not isinstance(node.value, list):
            decoder.problem(node, "expected a list of detectors")
            return None
        names: list[str] = []
        for entry in node.value:
            name: Any = entry.value
            if name in DETECTORS:
                names.append(name)
            elif name in _CLOUDS:
                decoder.problem(entry, f"the detector {name!r} is not supported here", f"use {', '.join(DETECTORS)}")
            else:
                decoder.problem(entry, f"unknown detector {name!r}", f"one of: {', '.join(DETECTORS)}")
        return cls(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceDetectionConfig:
    """Adds attributes of the machine to resources."""

    detectors: Detectors = key(lambda: Detectors(["env"]), "Detectors in order; the first to find an attribute wins.")
    override: bool = key(True, "Whether what is detected replaces attributes that came in.")
    timeout: Duration = key(Duration(5.0), "Longest time for all detectors together.")
    refresh_interval: Duration = key(Duration(0.0), "Detect again after this time; 0 for never.")
    system: SystemConfig = key(SystemConfig, "Options of the system detector.")
    UNSUPPORTED: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(_CLOUDS, "this detector is not supported here; remove it"),
        **dict.fromkeys(
            (
                "max_idle_conns",
                "idle_conn_timeout",
                "force_attempt_http2",
                "proxy_url",
                "tls",
                "compression",
                "headers",
            ),
            "no detector asks over HTTP here; remove it",
        ),
        "attributes": "switch attributes in <detector>::resource_attributes instead",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.detectors:
            yield "detectors", "must name at least one detector"
        if self.timeout <= 0:
            yield "timeout", "must be positive"
        if self.refresh_interval < 0:
            yield "refresh_interval", "must not be negative"
