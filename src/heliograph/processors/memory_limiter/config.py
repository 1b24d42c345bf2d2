"""Keys of `memory_limiter`, as upstream's."""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import Duration, key


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimiterConfig:
    """Refuses data above a soft limit: limit less spike limit."""

    check_interval: Duration = key(Duration(0), "Time between measurements. Must be set; 1s is usual.")
    limit_mib: int = key(0, "Hard limit of the process's memory in MiB; takes precedence over limit_percentage.")
    spike_limit_mib: int = key(0, "How much usage may grow between measurements, in MiB. 0: 20 % of the limit.")
    limit_percentage: int = key(0, "Hard limit as a share of the memory of the container or machine.")
    spike_limit_percentage: int = key(0, "How much usage may grow between measurements. 0: 20 % of the limit.")
    min_gc_interval_when_soft_limited: Duration = key(Duration(10), "Least time between collections, soft limit.")
    min_gc_interval_when_hard_limited: Duration = key(Duration(0), "Least time between collections, hard limit.")
    max_gc_interval_when_soft_limited: Duration = key(
        Duration(30), "A collection that frees too little doubles the time to the next, up to this. 0: never."
    )
    max_gc_interval_when_hard_limited: Duration = key(Duration(30), "The same above the hard limit.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.check_interval <= 0:
            yield "check_interval", "must be greater than zero, for example 1s"
        for name in ("limit_mib", "spike_limit_mib"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
        for name in ("limit_percentage", "spike_limit_percentage"):
            if not 0 <= getattr(self, name) <= 100:
                yield name, "must be between 0 and 100"
        if self.limit_mib <= 0 and self.limit_percentage <= 0:
            yield "limit_mib", "limit_mib or limit_percentage must be greater than zero"
        if 0 < self.limit_mib <= self.spike_limit_mib:
            yield "spike_limit_mib", f"must be smaller than limit_mib ({self.limit_mib})"
        if 0 < self.limit_percentage <= self.spike_limit_percentage:
            yield "spike_limit_percentage", f"must be smaller than limit_percentage ({self.limit_percentage})"
        yield from self._check_intervals()

    def _check_intervals(self) -> Iterator[tuple[str, str]]:
        soft, hard = self.min_gc_interval_when_soft_limited, self.min_gc_interval_when_hard_limited
        if soft < hard:
            yield "min_gc_interval_when_soft_limited", "must not be less than min_gc_interval_when_hard_limited"
        most_soft, most_hard = self.max_gc_interval_when_soft_limited, self.max_gc_interval_when_hard_limited
        for name, most, least in (("soft", most_soft, soft), ("hard", most_hard, hard)):
            if most < 0:
                yield f"max_gc_interval_when_{name}_limited", "must not be negative"
            elif 0 < most < least:
                yield (
                    f"max_gc_interval_when_{name}_limited",
                    f"must be at least min_gc_interval_when_{name}_limited, or 0",
                )
        if 0 < most_soft < most_hard:
            yield (
                "max_gc_interval_when_soft_limited",
                "must not be less than max_gc_interval_when_hard_limited when both are set",
            )
