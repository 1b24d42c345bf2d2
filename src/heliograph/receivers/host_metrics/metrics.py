"""Every metric of the receiver: name, unit, kind, type, attributes, description, and whether it is on by default.

Source: the metadata of opentelemetry-collector-contrib's host metrics scrapers, and the output of release 0.156.
"""

from heliograph.otlp.metrics_encode import Metric, metric_table

INT, DOUBLE, ON, OFF = True, False, True, False
SUM, COUNTER, GAUGE = "sum", "counter", "gauge"

METRICS: dict[str, dict[str, Metric]] = {
    "cpu": metric_table(
        ("system.cpu.time", "s", COUNTER, DOUBLE, ON, "Total seconds each logical CPU spent on each mode."),
        (
            "system.cpu.utilization",
            "1",
            GAUGE,
            DOUBLE,
            OFF,
            "Share of time each logical CPU spent on each mode since the last measurement (0 to 1).",
        ),
        ("system.cpu.physical.count", "{cpu}", SUM, INT, OFF, "Number of available physical CPUs."),
        ("system.cpu.logical.count", "{cpu}", SUM, INT, OFF, "Number of available logical CPUs."),
        ("system.cpu.frequency", "Hz", GAUGE, DOUBLE, OFF, "Current frequency of the CPU core in Hz."),
    ),
    "memory": metric_table(
        ("system.memory.usage", "By", SUM, INT, ON, "Bytes of memory in use."),
        ("system.memory.utilization", "1", GAUGE, DOUBLE, OFF, "Share of memory bytes in use (0 to 1)."),
        ("system.linux.memory.available", "By", SUM, INT, OFF, "Memory available for new programs, without swapping."),
        ("system.linux.memory.dirty", "By", SUM, INT, OFF, "Memory waiting to be written to disk."),
        ("system.memory.limit", "By", SUM, INT, OFF, "Total bytes of memory."),
        ("system.memory.page_size", "By", GAUGE, INT, OFF, "Size of a page of memory."),
    ),
    "disk": metric_table(
        ("system.disk.io", "By", COUNTER, INT, ON, "Disk bytes transferred."),
        ("system.disk.operations", "{operations}", COUNTER, INT, ON, "Disk operations count."),
        ("system.disk.io_time", "s", COUNTER, DOUBLE, ON, "Time disk spent activated."),
        ("system.disk.operation_time", "s", COUNTER, DOUBLE, ON, "Time spent in disk operations."),
        ("system.disk.weighted_io_time", "s", COUNTER, DOUBLE, ON, "Time disk spent activated times the queue length."),
        ("system.disk.pending_operations", "{operations}", SUM, INT, ON, "The queue size of pending I/O operations."),
        ("system.disk.merged", "{operations}", COUNTER, INT, ON, "Disk reads and writes merged into one operation."),
    ),
    "filesystem": metric_table(
        ("system.filesystem.usage", "By", SUM, INT, ON, "Filesystem bytes used."),
        ("system.filesystem.inodes.usage", "{inodes}", SUM, INT, ON, "Filesystem inodes used."),
        ("system.filesystem.utilization", "1", GAUGE, DOUBLE, OFF, "Fraction of filesystem bytes used."),
    ),
    "load": metric_table(
        ("system.cpu.load_average.1m", "{thread}", GAUGE, DOUBLE, ON, "Average CPU load over 1 minute."),
        ("system.cpu.load_average.5m", "{thread}", GAUGE, DOUBLE, ON, "Average CPU load over 5 minutes."),
        ("system.cpu.load_average.15m", "{thread}", GAUGE, DOUBLE, ON, "Average CPU load over 15 minutes."),
    ),
    "network": metric_table(
        ("system.network.packets", "{packets}", COUNTER, INT, ON, "The number of packets transferred."),
        ("system.network.dropped", "{packets}", COUNTER, INT, ON, "The number of packets dropped."),
        ("system.network.errors", "{errors}", COUNTER, INT, ON, "The number of errors encountered."),
        ("system.network.io", "By", COUNTER, INT, ON, "The number of bytes transmitted and received."),
        ("system.network.connections", "{connections}", SUM, INT, ON, "The number of connections."),
        ("system.network.conntrack.count", "{entries}", SUM, INT, OFF, "Entries in the connection tracking table."),
        ("system.network.conntrack.max", "{entries}", SUM, INT, OFF, "Limit of the connection tracking table."),
    ),
    "paging": metric_table(
        ("system.paging.usage", "By", SUM, INT, ON, "Swap usage."),
        ("system.paging.utilization", "1", GAUGE, DOUBLE, OFF, "Swap utilization (0 to 1)."),
        ("system.paging.operations", "{operations}", COUNTER, INT, ON, "The number of paging operations."),
        ("system.paging.faults", "{faults}", COUNTER, INT, ON, "The number of page faults."),
    ),
    "processes": metric_table(
        ("system.processes.count", "{processes}", SUM, INT, ON, "Total number of processes in each state."),
        ("system.processes.created", "{processes}", COUNTER, INT, ON, "Total number of created processes."),
    ),
    "process": metric_table(
        ("process.cpu.time", "s", COUNTER, DOUBLE, ON, "Total CPU seconds broken down by different states."),
        ("process.cpu.utilization", "1", GAUGE, DOUBLE, OFF, "Share of CPU time used since the last scrape (0 to 1)."),
        ("process.memory.usage", "By", SUM, INT, ON, "The amount of physical memory in use."),
        ("process.memory.virtual", "By", SUM, INT, ON, "Virtual memory size."),
        ("process.memory.utilization", "1", GAUGE, DOUBLE, OFF, "Share of physical memory used by the process."),
        ("process.disk.io", "By", COUNTER, INT, ON, "Disk bytes transferred."),
        ("process.disk.operations", "{operations}", COUNTER, INT, OFF, "Disk operations performed by the process."),
        ("process.paging.faults", "{faults}", COUNTER, INT, OFF, "Number of page faults the process has made."),
        ("process.signals_pending", "{signals}", SUM, INT, OFF, "Number of pending signals for the process."),
        ("process.threads", "{threads}", SUM, INT, OFF, "Process threads count."),
        ("process.open_file_descriptors", "{count}", SUM, INT, OFF, "File descriptors in use by the process."),
        ("process.context_switches", "{count}", COUNTER, INT, OFF, "Times the process has been context switched."),
        ("process.uptime", "s", GAUGE, DOUBLE, OFF, "The time the process has been running."),
    ),
    "system": metric_table(
        ("system.uptime", "s", GAUGE, DOUBLE, ON, "The time the system has been running."),
    ),
}
