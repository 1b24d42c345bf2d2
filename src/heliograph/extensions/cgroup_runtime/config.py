"""Keys of cgroup_runtime. Source: contrib's extension/cgroupruntimeextension."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from heliograph.component.config import key

_ONCE = "limits are read once, at the start; remove this key"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxProcs:
    """What the container's processor limit sets: the threads for blocking work and malloc's arenas."""

    enabled: bool = key(True, "Whether to set them.")
    UNSUPPORTED: ClassVar[Mapping[str, str]] = {"refresh_interval": _ONCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemLimit:
    """From what share of the container's memory limit on garbage is collected and given back at once."""

    enabled: bool = key(True, "Whether to do so.")
    ratio: float = key(0.9, "The share, above 0 and up to 1.")
    UNSUPPORTED: ClassVar[Mapping[str, str]] = {"refresh_interval": _ONCE}

    def check(self) -> Iterator[tuple[str, str]]:
        if not 0 < self.ratio <= 1:
            yield "ratio", "must be above 0 and at most 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupRuntimeConfig:
    """Fits this process to its container: the names are Go's, what they set here is what they mean in Python."""

    gomaxprocs: MaxProcs = key(MaxProcs, "By the processor limit.")
    gomemlimit: MemLimit = key(MemLimit, "By the memory limit.")
