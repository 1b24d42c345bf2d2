"""Readings -> serialized ResourceMetrics that wait for their time.

An object's metrics are encoded when it changes, not when they are reported. Each piece holds a mark where the time
of a report belongs, which `Sections` replaces. Thousands of objects have the same values (a pod that runs, a
container with the same limits that is ready), so the part without the resource is kept once for all of them.
Field numbers are opentelemetry-proto's metrics.proto and common.proto.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from heliograph import __version__
from heliograph.otlp.attributes import encode_key_value
from heliograph.otlp.metrics_encode import Metric, encode_metrics
from heliograph.otlp.wire import field
from heliograph.receivers.k8s_cluster.reading import Pairs, Reading, Values

SCOPE = field(1, b"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/k8sclusterreceiver") + field(
    2, __version__.encode()
)
SCHEMA_URL = field(3, b"https://opentelemetry.io/schemas/1.18.0")
_MARK = b"\xff" + os.urandom(6) + b"\xff"  # never in UTF-8 text, and no value is it by chance
_MARKED_TIME = int.from_bytes(_MARK, "little")
_KEPT = 8192
_ONE_BYTE = 128  # lengths below take one byte

_ENTITIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "k8s.container": (
        "container.id",
        (
            "k8s.container.name",
            "container.image.name",
            "container.image.tag",
            "k8s.container.status.last_terminated_reason",
        ),
    ),
    "k8s.pod": ("k8s.pod.uid", ("k8s.pod.name", "k8s.pod.qos_class")),
    "k8s.node": ("k8s.node.uid", ("k8s.node.name", "k8s.kubelet.version")),
    "k8s.hpa": (
        "k8s.hpa.uid",
        (
            "k8s.hpa.name",
            "k8s.hpa.scaletargetref.apiversion",
            "k8s.hpa.scaletargetref.kind",
            "k8s.hpa.scaletargetref.name",
        ),
    ),
    "k8s.persistentvolume": (
        "k8s.persistentvolume.uid",
        ("k8s.persistentvolume.name", "k8s.storageclass.name", "k8s.persistentvolume.reclaim_policy"),
    ),
}
"""Entities whose names are not all <type>.uid and <type>.name: what identifies, what describes."""
_WITHOUT_REFERENCE = frozenset({"k8s.service"})


@dataclass(frozen=True, slots=True)
class Section:
    """data: a ScopeMetrics as a field of ResourceMetrics, with marks for the time. points: data points in it."""

    data: bytes
    points: int


Piece = tuple[bytes, Section]
"""A Resource as a field of ResourceMetrics, and its metrics."""


class Encoder:
    """metrics, attributes: those that are on. custom: metrics named after the configuration. start_ns: Unix time."""

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        custom: Mapping[str, Metric],
        on: Collection[str],
        attributes: Collection[str],
        start_ns: int,
    ) -> None:
        self._metrics, self._custom, self._on, self._attributes = metrics, custom, on, attributes
        self._start_ns = start_ns
        self._section = lru_cache(maxsize=_KEPT)(self._made)

    def piece(self, reading: Reading) -> Piece | None:
        """None when no metric of it is on."""
        section = self._section(reading.values, reading.custom)
        if section is None:
            return None
        return self._resource(reading.entity, reading.attributes, reading.custom), section

    def _made(self, values: Values, custom: bool) -> Section | None:
        if custom:
            metrics, points = encode_metrics(self._custom, dict(values), 0, _MARKED_TIME)
        else:
            found = {name: of for name, of in values if name in self._on}
            metrics, points = encode_metrics(self._metrics, found, self._start_ns, _MARKED_TIME)
        return Section(field(2, field(1, SCOPE) + metrics), points) if points else None

    def _resource(self, entity: str, attributes: Pairs, custom: bool) -> bytes:
        on = self._attributes
        kept = [pair for pair in attributes if pair[1] != "" and pair[0] in on]
        chunks = [_pair(name, value) for name, value in kept]
        if not custom and entity not in _WITHOUT_REFERENCE:
            chunks.append(_reference(entity, tuple([name for name, _ in kept])))
        return field(1, b"".join(chunks))


@lru_cache(maxsize=1024)
def _pair(name: str, value: str | bool) -> bytes:
    """An attribute of a resource. The common one, a short text, is written without the general encoder. Namespaces,
    nodes and images are those of many pods, and a pod's name that of its containers, which come next."""
    if isinstance(value, str):
        key, text = _key(name), value.encode("utf-8", "replace")
        size = len(text)
        whole = len(key) + size + 4
        if whole < _ONE_BYTE:
            return b"".join((bytes((10, whole)), key, bytes((18, size + 2, 10, size)), text))
    return encode_key_value(1, name, value)


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return field(1, name.encode())


@lru_cache(maxsize=256)
def _reference(entity: str, names: tuple[str, ...]) -> bytes:
    """The EntityRef of a resource with these attributes, when what identifies the entity is among them."""
    identity, described = _ENTITIES.get(entity, (f"{entity}.uid", (f"{entity}.name",)))
    if identity not in names:
        return b""
    texts = [(2, entity), (3, identity), *((4, name) for name in described if name in names)]
    return field(3, b"".join([field(number, text.encode()) for number, text in texts]))


class Sections:
    """The parts of one report."""

    def __init__(self, now_ns: int) -> None:
        self._time = now_ns.to_bytes(8, "little")
        self._timed: dict[bytes, bytes] = {}

    def part(self, piece: Piece) -> bytes:
        """A serialized ResourceMetrics."""
        resource, section = piece
        timed = self._timed.get(section.data)
        if timed is None:
            timed = self._timed[section.data] = section.data.replace(_MARK, self._time) + SCHEMA_URL
        return resource + timed
