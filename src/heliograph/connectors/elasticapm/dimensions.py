"""From what came in to the dimensions of the metrics: resources to two sets of attributes, keys of cells to points.

Attributes are written here in one canonical form, sorted, so that two senders that encode the same values differently
are one series. A "chunk" is a KeyValue with its length but without the tag, since its field number differs between
kinds of points. What was worked out is remembered, within bounds.
Source: connector/elasticapmconnector/config.go; an absent attribute is left out, as seen with Elastic's.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from heliograph.connectors.elasticapm.cells import (
    ATTRIBUTES,
    CUSTOM,
    DESTINATION,
    HEAD,
    NAME,
    OUTCOME,
    RESULT,
    ROOT,
    TRANSACTION,
    TYPE,
    Key,
)
from heliograph.connectors.elasticapm.spans import decode_value
from heliograph.otlp.attributes import Value, decode_attributes, encode_any_value
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.wire import field, varint

Chunks = tuple[bytes, ...]

_COMMON = ("service.name", "deployment.environment", "telemetry.sdk.language", "data_stream.namespace", "agent.name")
_OF_TRANSACTIONS = (
    *("container.id", "k8s.pod.name", "service.version", "service.instance.id"),
    *("process.runtime.name", "process.runtime.version", "telemetry.sdk.version", "host.name", "os.type"),
    *("faas.instance", "faas.name", "faas.version", "faas.trigger", "faas.coldstart"),
    *("cloud.provider", "cloud.region", "cloud.availability_zone", "cloud.platform", "cloud.account.id"),
    *("cloud.account.name", "cloud.machine.type", "cloud.project.id", "cloud.project.name", "host.hostname"),
)
_REMEMBERED = 4096


def chunk(key: str, value: Any) -> bytes:
    """A KeyValue with its length."""
    payload = field(1, key.encode("utf-8", "replace")) + field(2, encode_any_value(value))
    return varint(len(payload)) + payload


def chunks(attributes: Mapping[str, Any]) -> Chunks:
    """Attributes by key."""
    return tuple(chunk(key, attributes[key]) for key in sorted(attributes))


OVERFLOW_RESOURCE = chunks({"service.name": "_other", "overflow": "resource"})
OTHER_SERVICE_TRANSACTION = chunks({"transaction.type": "_other", "overflow": "datapoint"})
OTHER_TRANSACTION = chunks({"transaction.name": "_other", "overflow": "datapoint"})
OTHER_DESTINATION = chunks({"span.name": "_other", "overflow": "datapoint"})


class Shape:
    """What a cell is counted in. Each of the three is None when it has no part in it.

    succeeded: True, False, or None when the outcome is not known. adjusted: spans that one stands for; weight: the same
    in whole spans.
    """

    __slots__ = ("adjusted", "destination", "service_transaction", "succeeded", "transaction", "weight")

    def __init__(self) -> None:
        self.service_transaction: Chunks | None = None
        self.transaction: Chunks | None = None
        self.destination: Chunks | None = None
        self.succeeded: bool | None = None
        self.adjusted = 1.0
        self.weight = 1


class Dimensions:
    """By one configuration. custom_resource, custom_span: further attributes that are dimensions where present."""

    def __init__(self, custom_resource: Iterable[str], custom_span: Iterable[str]) -> None:
        self._common = frozenset((*_COMMON, *custom_resource))
        self._transactions = self._common.union(_OF_TRANSACTIONS)
        self._custom = tuple(custom_span)
        self._resources: dict[bytes, tuple[Chunks, Chunks]] = {}
        self._shapes: dict[Key, Shape] = {}

    def resource(self, resource: bytes) -> tuple[Chunks, Chunks]:
        """The attributes of the resource of all metrics, and of those of metricset transaction."""
        found = self._resources.get(resource)
        if found is None:
            attributes: dict[str, Value] = {"agent.name": "unknown"}
            seen: set[str] = set()
            try:
                pairs = decode_attributes(resource)
            except MalformedPayload:
                pairs = []
            for key, value in pairs:
                if key in self._transactions and key not in seen:
                    seen.add(key)
                    attributes[key] = value
            common = {key: value for key, value in attributes.items() if key in self._common}
            found = chunks(common), chunks(attributes)
            if len(self._resources) >= _REMEMBERED:
                self._resources.clear()
            self._resources[resource] = found
        return found

    def shape(self, key: Key) -> Shape:
        """What a cell of this key is counted in."""
        found = self._shapes.get(key)
        if found is None:
            found = self._new_shape(key)
            if len(self._shapes) >= _REMEMBERED:
                self._shapes.clear()
            if sum(map(len, key)) <= 2048:
                self._shapes[key] = found
        return found

    def _new_shape(self, key: Key) -> Shape:
        shape = Shape()
        kind = key[0][0]
        if key[1]:
            shape.adjusted = struct.unpack("<d", key[1])[0]
            shape.weight = int(shape.adjusted)
        values = {
            place: _value(raw) for place, raw in enumerate(key) if place >= HEAD and raw
        }  # of the attributes that are there
        custom = {name: values[place] for place, name in enumerate(self._custom, CUSTOM) if place in values}
        if OUTCOME in values:
            shape.succeeded = values[OUTCOME] == "success"
        if kind & TRANSACTION:
            own = {"transaction.root": bool(kind & ROOT), "transaction.type": values[TYPE], **custom}
            shape.service_transaction = chunks(own)
            if OUTCOME in values:
                for place in (NAME, RESULT, OUTCOME):
                    if place in values:
                        own[ATTRIBUTES[place - HEAD]] = values[place]
                shape.transaction = chunks(own)
        if kind & DESTINATION:
            own = {ATTRIBUTES[place - HEAD]: values[place] for place in range(OUTCOME, CUSTOM)}
            own["span.name"] = key[2].decode("utf-8", "replace")
            shape.destination = chunks({**own, **custom})
        return shape


def _value(raw: bytes) -> Any:
    try:
        return decode_value(raw)
    except MalformedPayload:
        return None
