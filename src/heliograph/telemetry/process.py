"""What the process itself says under upstream's names: otelcol_process_*, target_info, and the ledger as metrics.

otelcol_process_uptime, _cpu_seconds and _memory_rss are as upstream's. Its otelcol_process_runtime_* tell of Go's
allocator; only _total_sys_memory_bytes (memory obtained from the operating system) has a meaning here.
"""

import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

from heliograph.component.clock import Clock
from heliograph.component.ids import Signal
from heliograph.telemetry.ledger import Ledger
from heliograph.telemetry.metrics import Metrics

ENTRIES = (
    "received",
    "restored",
    "copied",
    "created",
    "sent",
    "waiting",
    "dropped",
    "dead_lettered",
    "consumed",
    "refused",
    "difference",
)
"""The ledger's columns, in the order of the sum."""

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def entry(ledger: Ledger, signal: Signal, name: str) -> int:
    """One number of the ledger, the reasons of `dropped` added up."""
    account = ledger[signal]
    if name == "dropped":
        return account.dropped.total()
    value: int = getattr(account, name)
    return value


def expose(metrics: Metrics, ledger: Ledger, clock: Clock, attributes: Mapping[str, str]) -> None:
    """Register everything. attributes: of the program's resource, for target_info."""
    started = clock.monotonic()
    metrics.counted("otelcol_process_uptime", "Uptime of the process", {}, lambda: clock.monotonic() - started)
    metrics.counted("otelcol_process_cpu_seconds", "Total CPU user and system time in seconds", {}, cpu_seconds)
    metrics.gauge("otelcol_process_memory_rss", "Total physical memory (resident set size)", {}, lambda: memory()[1])
    metrics.gauge(
        "otelcol_process_runtime_total_sys_memory_bytes",
        "Total bytes of memory obtained from the OS",
        {},
        lambda: memory()[0],
    )
    labels = {name.replace(".", "_").replace("-", "_"): value for name, value in attributes.items()}
    metrics.gauge("target_info", "Target metadata", labels, lambda: 1)
    for signal in Signal:
        for name in ENTRIES:
            metrics.gauge(
                "heliograph_ledger_items",
                "Items by what became of them; the entry difference is 0 when nothing vanished.",
                {"signal": str(signal), "entry": name},
                lambda signal=signal, name=name: entry(ledger, signal, name),  # type: ignore[misc]
            )


def cpu_seconds() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory() -> tuple[int, int]:
    """Bytes of this process: (virtual size, resident set). Linux reads them; elsewhere both are the highest
    resident set so far."""
    try:
        size, resident = Path("/proc/self/statm").read_text().split()[:2]
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak, peak
    return int(size) * _PAGE, int(resident) * _PAGE
