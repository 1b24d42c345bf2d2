"""Reading metrics back: one row for each data point, from our bytes or from the upstream Collector's JSON."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

Key = tuple[str, tuple[tuple[str, Any], ...], tuple[tuple[str, Any], ...]]


@dataclass(frozen=True)
class Row:
    """What a data point is, beside its identity (metric, attributes, resource attributes)."""

    value: float
    unit: str
    kind: str
    monotonic: bool
    type: str
    start: int
    scope: str
    schema: str

    def shape(self) -> tuple[Any, ...]:
        return (self.unit, self.kind, self.monotonic, self.type, self.scope, self.schema)


def ours(parts: Iterable[bytes]) -> dict[Key, Row]:
    rows: dict[Key, Row] = {}
    for part in parts:
        found = ResourceMetrics.FromString(part)
        resource = tuple(sorted((a.key, _value(a.value)) for a in found.resource.attributes))
        for scope in found.scope_metrics:
            for metric in scope.metrics:
                kind = str(metric.WhichOneof("data"))
                data = getattr(metric, kind)
                for point in data.data_points:
                    type_ = point.WhichOneof("value")
                    attributes = tuple(sorted((a.key, _value(a.value)) for a in point.attributes))
                    rows[metric.name, attributes, resource] = Row(
                        getattr(point, type_),
                        metric.unit,
                        kind,
                        bool(getattr(data, "is_monotonic", False)),
                        type_,
                        point.start_time_unix_nano,
                        scope.scope.name,
                        found.schema_url,
                    )
    return rows


def upstream(path: Path) -> dict[Key, Row]:
    rows: dict[Key, Row] = {}
    for line in path.read_text().splitlines():
        for found in json.loads(line)["resourceMetrics"]:
            resource = _json_attributes(found["resource"])
            for scope in found["scopeMetrics"]:
                for metric in scope["metrics"]:
                    kind = "sum" if "sum" in metric else "gauge"
                    for point in metric[kind]["dataPoints"]:
                        whole = "asInt" in point
                        rows[metric["name"], _json_attributes(point), resource] = Row(
                            float(point["asInt"] if whole else point["asDouble"]),
                            metric.get("unit", ""),
                            kind,
                            metric[kind].get("isMonotonic", False),
                            "as_int" if whole else "as_double",
                            int(point.get("startTimeUnixNano", 0)),
                            scope["scope"]["name"],
                            found.get("schemaUrl", ""),
                        )
    return rows


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


def _json_attributes(holder: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    pairs = []
    for attribute in holder.get("attributes", []):
        ((type_, value),) = attribute["value"].items()
        pairs.append((attribute["key"], int(value) if type_ == "intValue" else value))
    return tuple(sorted(pairs))
