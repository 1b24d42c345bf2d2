"""Runs the connector under a clock that the test moves, and reads what it makes."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from heliograph.component.batch import Batch, Completion, Context
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.connectors.elasticapm import FACTORY
from heliograph.connectors.elasticapm.config import ElasticApmConfig
from heliograph.otlp.attributes import from_any_value, to_any_value
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

MINUTE = 60_000_000_000
NOON = 1_700_049_600_000_000_000 - 1_700_049_600_000_000_000 % (60 * MINUTE)
INSTANCE = "signal_to_metrics.service.instance.id"
TRANSACTION = {"transaction.type": "request", "transaction.name": "GET /", "transaction.result": "HTTP 2xx"}
DESTINATION = {
    "event.outcome": "success",
    "service.target.type": "postgresql",
    "service.target.name": "orders",
    "span.destination.service.resource": "postgresql",
}


def attributes(values: Mapping[str, Any]) -> list[KeyValue]:
    """As protobuf."""
    return [KeyValue(key=key, value=to_any_value(value, AnyValue())) for key, value in values.items()]


def span(
    values: Mapping[str, Any] | None = None, *, us: int = 1000, end: int = NOON, root: bool = True, **fields: Any
) -> Span:
    """A span with these attributes that took `us` and ended at `end`."""
    fields.setdefault("name", "GET /")
    if not root:
        fields["parent_span_id"] = b"\1" * 8
    return Span(
        start_time_unix_nano=end - us * 1000, end_time_unix_nano=end, attributes=attributes(values or {}), **fields
    )


def transaction(values: Mapping[str, Any] | None = None, **fields: Any) -> Span:
    """A span that is a transaction and succeeded, unless `values` say otherwise."""
    return span({**TRANSACTION, "event.outcome": "success", **(values or {})}, **fields)


def resource_spans(*spans: Span, resource: Mapping[str, Any] | None = None) -> ResourceSpans:
    """Spans of a service."""
    message = ResourceSpans()
    message.resource.attributes.extend(attributes(resource or {"service.name": "shop"}))
    message.scope_spans.add().spans.extend(spans)
    return message


class Row:
    """A data point: resource, metric, kind, unit, attributes, point; `value` is its number, or its sum."""

    def __init__(self, resource: dict[str, Any], metric: Any, kind: str, point: Any) -> None:
        self.resource = resource
        self.metric: str = metric.name
        self.unit: str = metric.unit
        self.kind = kind
        self.attributes = {pair.key: from_any_value(pair.value) for pair in point.attributes}
        self.point = point
        self.time: int = point.time_unix_nano
        if kind == "sum":
            self.value = getattr(point, point.WhichOneof("value"))
            self.count = self.value
        else:
            self.value = point.sum
            self.count = point.count

    @property
    def dataset(self) -> str:
        """Where it goes, "transaction.1m"."""
        return str(self.attributes["data_stream.dataset"])

    def __repr__(self) -> str:
        return f"<{self.metric} {self.dataset} {self.count}>"


def rows(messages: list[Any]) -> list[Row]:
    """All data points of ResourceMetrics."""
    found = []
    for message in messages:
        resource = {pair.key: from_any_value(pair.value) for pair in message.resource.attributes}
        for scope in message.scope_metrics:
            for metric in scope.metrics:
                kind = str(metric.WhichOneof("data"))
                found += [Row(resource, metric, kind, point) for point in getattr(metric, kind).data_points]
    return found


class Bench:
    """A running connector."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON + 10 * 1_000_000_000)
        self.host = TestHost(clock=self.clock)
        self.sink = SinkConsumer()
        self.connector: Any = None
        self.settings: Any = None
        self.outcomes: list[Any] = []

    async def start(self, config: Mapping[str, Any] | None = None) -> None:
        """Make and start it."""
        self.settings = settings("connector", "elasticapm", outputs={"metrics": self.sink})
        self.connector = FACTORY.create(self.settings, from_plain(ElasticApmConfig, dict(config or {})))
        await self.connector.start(self.host)

    async def send(self, *messages: Any, context: Context | None = None) -> None:
        """Hand over Resource* messages of one signal."""
        name = type(messages[0]).__name__
        signal = {"ResourceSpans": "traces", "ResourceLogs": "logs", "ResourceMetrics": "metrics"}[name]
        parts = [message.SerializeToString() for message in messages]
        completion = Completion(self.outcomes.append)
        items = sum(len(scope.spans) for m in messages for scope in m.scope_spans) if signal == "traces" else 1
        await self.connector.consume(
            Batch(Signal(signal), parts, items, context=context or Context(), completion=completion)
        )

    async def rows(self, seconds: float = 60, *, least: int = 0) -> list[Row]:
        """What was made up to now and `seconds` later. least: wait for so many data points."""
        await self.clock.advance(seconds)
        await until(lambda: self.sink.items >= least, f"{least} data points", 30)
        return rows(self.sink.messages)

    def skipped(self, reason: str) -> float:
        """Spans left out."""
        labels = {"connector": "elasticapm", "reason": reason}
        value: float = self.settings.telemetry.metrics.value("heliograph_elasticapm_not_aggregated", labels)
        return value
