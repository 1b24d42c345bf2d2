"""Every metric of the receiver: name, unit, kind, type, whether it is on by default, description.

Source: opentelemetry-collector-contrib, receiver/kubeletstatsreceiver/metadata.yaml, and the output of release 0.156.
"""

from collections.abc import Iterator

from heliograph.otlp.metrics_encode import Metric, metric_table

INT, DOUBLE, ON, OFF = True, False, True, False
SUM, COUNTER, GAUGE = "sum", "counter", "gauge"
_Row = tuple[str, str, str, bool, bool, str]


def _common(prefix: str, what: str) -> Iterator[_Row]:
    """What the kubelet says of nodes, pods and containers alike."""
    yield (
        f"{prefix}.cpu.usage",
        "{cpu}",
        GAUGE,
        DOUBLE,
        ON,
        "CPU cores in use, averaged over the kubelet's last window.",
    )
    yield f"{prefix}.cpu.time", "s", COUNTER, DOUBLE, ON, f"CPU seconds of all cores spent by the {what} so far."
    yield f"{prefix}.memory.available", "By", GAUGE, INT, ON, f"Memory that the {what} may still take."
    yield f"{prefix}.memory.usage", "By", GAUGE, INT, ON, f"Memory in use by the {what}, caches included."
    yield f"{prefix}.memory.rss", "By", GAUGE, INT, ON, f"Anonymous and swap cache memory of the {what}."
    yield f"{prefix}.memory.working_set", "By", GAUGE, INT, ON, f"Memory of the {what} that cannot be reclaimed easily."
    yield f"{prefix}.memory.page_faults", "1", GAUGE, INT, ON, f"Page faults of the {what}."
    yield f"{prefix}.memory.major_page_faults", "1", GAUGE, INT, ON, f"Page faults of the {what} that read a disk."
    yield f"{prefix}.filesystem.available", "By", GAUGE, INT, ON, f"Bytes free on the {what}'s file system."
    yield f"{prefix}.filesystem.capacity", "By", GAUGE, INT, ON, f"Size of the {what}'s file system."
    yield f"{prefix}.filesystem.usage", "By", GAUGE, INT, ON, f"Bytes used by the {what} on its file system."
    yield f"{prefix}.uptime", "s", COUNTER, INT, OFF, f"Seconds since the {what} started."


def _network(prefix: str, what: str) -> Iterator[_Row]:
    yield f"{prefix}.network.io", "By", COUNTER, INT, ON, f"Bytes through the {what}'s network interfaces."
    yield f"{prefix}.network.errors", "1", COUNTER, INT, ON, f"Errors of the {what}'s network interfaces."


def _shares(prefix: str, what: str, among: str) -> Iterator[_Row]:
    for of in ("limit", "request"):
        for kind in ("cpu", "memory"):
            name = f"{prefix}.{kind}_{of}_utilization"
            yield name, "1", GAUGE, DOUBLE, OFF, f"Use of {kind} by the {what} divided by {among.format(of)}."
    for kind in ("cpu", "memory"):
        name = f"{prefix}.{kind}.node.utilization"
        yield name, "1", GAUGE, DOUBLE, OFF, f"Use of {kind} by the {what} divided by the node's capacity."


NODE = metric_table(*_common("k8s.node", "node"), *_network("k8s.node", "node"))
POD = metric_table(
    *_common("k8s.pod", "pod"),
    *_network("k8s.pod", "pod"),
    *_shares("k8s.pod", "pod", "the sum of its containers' {}s, when each has one"),
)
CONTAINER = metric_table(
    *_common("container", "container"),
    *_shares("k8s.container", "container", "its {}"),
    ("k8s.container.ephemeral_storage.usage", "By", SUM, INT, OFF, "Ephemeral storage used by the container."),
)
VOLUME = metric_table(
    ("k8s.volume.available", "By", GAUGE, INT, ON, "Bytes free in the volume."),
    ("k8s.volume.capacity", "By", GAUGE, INT, ON, "Size of the volume."),
    ("k8s.volume.inodes", "1", GAUGE, INT, ON, "Inodes of the file system."),
    ("k8s.volume.inodes.free", "1", GAUGE, INT, ON, "Free inodes of the file system."),
    ("k8s.volume.inodes.used", "1", GAUGE, INT, ON, "Used inodes of the file system."),
    ("k8s.pod.volume.usage", "By", SUM, INT, OFF, "Bytes used in the volume."),
)
SYSTEM_CONTAINER = metric_table(
    (
        "k8s.node.system_container.cpu.usage",
        "{cpu}",
        GAUGE,
        DOUBLE,
        OFF,
        "CPU cores in use by the system container, averaged over the kubelet's last window.",
    ),
    (
        "k8s.node.system_container.cpu.time",
        "s",
        COUNTER,
        DOUBLE,
        OFF,
        "CPU seconds of all cores spent by the system container so far.",
    ),
    ("k8s.node.system_container.memory.usage", "By", GAUGE, INT, OFF, "Memory in use by the system container."),
    (
        "k8s.node.system_container.memory.working_set",
        "By",
        GAUGE,
        INT,
        OFF,
        "Memory of the system container that cannot be reclaimed easily.",
    ),
)
METRICS: dict[str, Metric] = {**NODE, **POD, **CONTAINER, **VOLUME, **SYSTEM_CONTAINER}
SYSTEM_CONTAINER_METRICS = frozenset(SYSTEM_CONTAINER)
RESOURCE_SHARES = frozenset(name for name in METRICS if name.endswith(("_limit_utilization", "_request_utilization")))
"""Metrics that need the limits and requests of /pods."""
NODE_SHARES = frozenset(name for name in METRICS if name.endswith(".node.utilization"))
"""Metrics that need the node's capacity."""
