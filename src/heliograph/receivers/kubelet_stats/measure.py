"""The kubelet's answers -> serialized ResourceMetrics: one for the node, each system container, pod, container, volume.

Where a start time is not known, points have none (upstream writes a date in the year 2339).
Source: opentelemetry-collector-contrib, receiver/kubeletstatsreceiver/internal/kubelet.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from heliograph import __version__
from heliograph.component.scrape import Scrape
from heliograph.otlp.attributes import encode_key_value
from heliograph.otlp.metrics_encode import Point, encode_metrics, resource_metrics
from heliograph.otlp.wire import field as wire_field
from heliograph.receivers.kubelet_stats.answers import (
    Container,
    Cpu,
    FileSystem,
    Interface,
    Memory,
    Network,
    NodeStats,
    PodRef,
    PodStats,
    Summary,
    Volume,
)
from heliograph.receivers.kubelet_stats.config import KubeletStatsConfig
from heliograph.receivers.kubelet_stats.metadata import NOTHING, Pairs, PodMetadata, Share, volume_attributes
from heliograph.receivers.kubelet_stats.metrics import METRICS, SYSTEM_CONTAINER_METRICS

SCRAPER = "kubelet_stats"
SCOPE = wire_field(
    1, b"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/kubeletstatsreceiver"
) + wire_field(2, __version__.encode())
_WRAP, _HALF = 1 << 64, 1 << 63
_NANO = 10**9
_SHOWN = 5
_LONGEST_TIME = 64


@dataclass(frozen=True, slots=True)
class Capacity:
    """Of the node: cores and bytes; 0.0 while it is not known."""

    cpu: float = 0.0
    memory: float = 0.0


@dataclass(slots=True)
class Known:
    """What is known beside the summary. volumes: (pod's uid, volume) -> attributes of the PersistentVolume behind a
    claim. problems: (pod's uid, volume) -> why these could not be had."""

    pods: PodMetadata | None = None
    capacity: Capacity = Capacity()
    volumes: Mapping[tuple[str, str], Pairs] = field(default_factory=dict)
    problems: Mapping[tuple[str, str], str] = field(default_factory=dict)


class Measuring:
    """Turns one round's answers into a Scrape."""

    def __init__(self, config: KubeletStatsConfig, started_ns: int) -> None:
        self._metrics: Collection[str] = config.metrics
        self._attributes: Collection[str] = config.resource_attributes
        self._groups = frozenset(config.metric_groups)
        self._labels = frozenset(config.extra_metadata_labels)
        self._all = config.collect_all_network_interfaces
        self._system = bool(SYSTEM_CONTAINER_METRICS & config.metrics)
        self._started_ns = started_ns

    def run(self, summary: Summary, known: Known, now_ns: int) -> Scrape:
        """One round."""
        return _Round(self, known, now_ns).run(summary)


class _Round:
    def __init__(self, of: Measuring, known: Known, now_ns: int) -> None:
        self._of = of
        self._known = known
        self._now = now_ns
        self._result = Scrape()
        self._total = 0
        self._skipped: list[str] = []

    def run(self, summary: Summary) -> Scrape:
        groups = self._of._groups
        if "node" in groups:
            self._node(summary.node)
        for pod in summary.pods or ():
            if "pod" in groups:
                self._pod(pod)
            if "container" in groups:
                for container in pod.containers or ():
                    self._container(pod.pod_ref, container)
            if "volume" in groups:
                for volume in pod.volumes or ():
                    self._volume(pod.pod_ref, volume)
        self._result.points[SCRAPER] = self._total
        if self._skipped:
            more = len(self._skipped) - _SHOWN
            shown = "; ".join(self._skipped[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
            self._result.errors[SCRAPER] = f"left out: {shown}"
        return self._result

    def _node(self, node: NodeStats) -> None:
        found = self._common("k8s.node", node.start_time, node.cpu, node.memory, node.fs)
        found |= _network("k8s.node", node.network, everything=self._of._all.node)
        self._emit([("k8s.node.name", node.node_name)], found, _nanoseconds(node.start_time))
        if not self._of._system:
            return
        for container in node.system_containers or ():
            prefix = "k8s.node.system_container"
            found = {**_cpu(prefix, container.cpu), **_memory(prefix, container.memory)}
            named = [("k8s.node.name", node.node_name), ("k8s.node.system_container.name", container.name)]
            self._emit(named, found, _nanoseconds(container.start_time))

    def _pod(self, pod: PodStats) -> None:
        found = self._common("k8s.pod", pod.start_time, pod.cpu, pod.memory, pod.ephemeral_storage)
        found |= _network("k8s.pod", pod.network, everything=self._of._all.pod)
        share = self._known.pods.share(pod.pod_ref.uid) if self._known.pods else NOTHING
        found |= self._shares("k8s.pod", pod.cpu, pod.memory, share)
        self._emit(_named(pod.pod_ref), found, _nanoseconds(pod.start_time))

    def _container(self, ref: PodRef, container: Container) -> None:
        pods = self._known.pods
        resource = [*_named(ref), ("k8s.container.name", container.name)]
        if "container.id" in self._of._labels:
            id_ = pods.container_id(ref.uid, container.name) if pods else None
            if not id_:
                reason = "has no id yet" if id_ == "" else "is not in /pods"
                self._skipped.append(f"container {container.name} of {ref.namespace}/{ref.name} {reason}")
                return
            resource.append(("container.id", id_))
        found = self._common("container", container.start_time, container.cpu, container.memory, container.rootfs)
        share = pods.share(ref.uid, container.name) if pods else NOTHING
        found |= self._shares("k8s.container", container.cpu, container.memory, share)
        storage: list[Point] = []
        for name, where in (("rootfs", container.rootfs), ("logs", container.logs)):
            if where is not None and where.used_bytes is not None:
                storage.append(((("fs.type", name),), _signed(where.used_bytes)))
        found["k8s.container.ephemeral_storage.usage"] = storage
        self._emit(resource, found, _nanoseconds(container.start_time))

    def _volume(self, ref: PodRef, volume: Volume) -> None:
        resource = [*_named(ref), ("k8s.volume.name", volume.name)]
        if "k8s.volume.type" in self._of._labels:
            key = (ref.uid, volume.name)
            source = self._known.pods.volume(*key) if self._known.pods else None
            problem = "is not in /pods" if source is None else self._known.problems.get(key, "")
            if source is None or problem:
                self._skipped.append(f"volume {volume.name} of {ref.namespace}/{ref.name} {problem}")
                return
            resource += list(dict([*volume_attributes(source), *self._known.volumes.get(key, ())]).items())
        found = _points(
            ("k8s.volume.available", volume.available_bytes),
            ("k8s.volume.capacity", volume.capacity_bytes),
            ("k8s.volume.inodes", volume.inodes),
            ("k8s.volume.inodes.free", volume.inodes_free),
            ("k8s.volume.inodes.used", volume.inodes_used),
            ("k8s.pod.volume.usage", volume.used_bytes),
        )
        self._emit(resource, found, self._of._started_ns)

    def _common(
        self, prefix: str, start: str | None, cpu: Cpu | None, memory: Memory | None, files: FileSystem | None
    ) -> dict[str, list[Point]]:
        found = {**_cpu(prefix, cpu), **_memory(prefix, memory)}
        if files is not None:
            found |= _points(
                (f"{prefix}.filesystem.available", files.available_bytes),
                (f"{prefix}.filesystem.capacity", files.capacity_bytes),
                (f"{prefix}.filesystem.usage", files.used_bytes),
            )
        started = _nanoseconds(start)
        if started:
            found[f"{prefix}.uptime"] = [((), int((self._now - started) / _NANO))]
        return found

    def _shares(self, prefix: str, cpu: Cpu | None, memory: Memory | None, share: Share) -> dict[str, list[Point]]:
        found: dict[str, list[Point]] = {}
        capacity = self._known.capacity
        if cpu is not None and cpu.usage_nano_cores is not None:
            cores = _unsigned(cpu.usage_nano_cores) / _NANO
            parts = (("_limit_", share.cpu_limit), ("_request_", share.cpu_request), (".node.", capacity.cpu))
            found |= {f"{prefix}.cpu{of}utilization": [((), cores / whole)] for of, whole in parts if whole > 0}
        if memory is not None and memory.usage_bytes is not None:
            used = _unsigned(memory.usage_bytes)
            parts = (("_limit_", share.memory_limit), ("_request_", share.memory_request), (".node.", capacity.memory))
            found |= {f"{prefix}.memory{of}utilization": [((), used / whole)] for of, whole in parts if whole > 0}
        return found

    def _emit(self, resource: Pairs, found: Mapping[str, Iterable[Point]], start_ns: int) -> None:
        wanted = {name: points for name, points in found.items() if name in self._of._metrics}
        encoded, count = encode_metrics(METRICS, wanted, start_ns, self._now)
        if count:
            pairs = [pair for pair in resource if pair[0] in self._of._attributes]
            attributes = b"".join(encode_key_value(1, key, value) for key, value in pairs)
            self._result.parts.append(resource_metrics(attributes, SCOPE, encoded, ""))
            self._total += count


def _named(ref: PodRef) -> Pairs:
    return [("k8s.pod.uid", ref.uid), ("k8s.pod.name", ref.name), ("k8s.namespace.name", ref.namespace)]


def _cpu(prefix: str, cpu: Cpu | None) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    if cpu is not None and cpu.usage_nano_cores is not None:
        found[f"{prefix}.cpu.usage"] = [((), _unsigned(cpu.usage_nano_cores) / _NANO)]
    if cpu is not None and cpu.usage_core_nano_seconds is not None:
        found[f"{prefix}.cpu.time"] = [((), _unsigned(cpu.usage_core_nano_seconds) / _NANO)]
    return found


def _memory(prefix: str, memory: Memory | None) -> dict[str, list[Point]]:
    if memory is None:
        return {}
    return _points(
        (f"{prefix}.memory.available", memory.available_bytes),
        (f"{prefix}.memory.usage", memory.usage_bytes),
        (f"{prefix}.memory.rss", memory.rss_bytes),
        (f"{prefix}.memory.working_set", memory.working_set_bytes),
        (f"{prefix}.memory.page_faults", memory.page_faults),
        (f"{prefix}.memory.major_page_faults", memory.major_page_faults),
    )


def _network(prefix: str, network: Network | None, *, everything: bool) -> dict[str, list[Point]]:
    if network is None:
        return {}
    interfaces: Iterable[Interface] = (network.interfaces or ()) if everything else (network,)
    io: list[Point] = []
    errors: list[Point] = []
    for interface in interfaces:
        receive = (("interface", interface.name), ("direction", "receive"))
        transmit = (("interface", interface.name), ("direction", "transmit"))
        for points, attributes, value in (
            (io, receive, interface.rx_bytes),
            (io, transmit, interface.tx_bytes),
            (errors, receive, interface.rx_errors),
            (errors, transmit, interface.tx_errors),
        ):
            if value is not None:
                points.append((attributes, _signed(value)))
    return {f"{prefix}.network.io": io, f"{prefix}.network.errors": errors}


def _points(*values: tuple[str, int | None]) -> dict[str, list[Point]]:
    return {name: [((), _signed(value))] for name, value in values if value is not None}


def _signed(value: int) -> int:
    """As a 64-bit integer of OTLP: what is larger wraps around, as it does upstream."""
    return value if value < _HALF and value >= -_HALF else (value + _HALF) % _WRAP - _HALF


def _unsigned(value: int) -> int:
    return value % _WRAP


def _nanoseconds(time: str | None) -> int:
    """RFC 3339 -> nanoseconds since the epoch; 0 where it is absent, no time, or beyond what OTLP can say."""
    return _parsed(time) if time and len(time) <= _LONGEST_TIME else 0


@lru_cache(maxsize=4096)
def _parsed(time: str) -> int:
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError:
        return 0
    since = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    nanoseconds = (since.days * 86400 + since.seconds) * _NANO + since.microseconds * 1000
    return nanoseconds if 0 < nanoseconds < _HALF else 0
