"""The `attributes` processor: which records it means, in each signal."""

from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from heliograph.component.batch import Batch
from heliograph.component.errors import ConfigError
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.processors.attributes import FACTORY
from heliograph.processors.attributes.config import AttributesConfig
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer

MARK = [{"action": "insert", "key": "mark", "value": True}]


def _processor(signal: str, config: dict[str, Any]) -> tuple[Any, SinkConsumer]:
    sink = SinkConsumer()
    decoded = from_plain(AttributesConfig, {"actions": MARK, **config})
    return FACTORY.create(settings("processor", "attributes", signal, {signal: sink}), decoded), sink


def _marked(records: Any) -> list[str]:
    return [record.name for record in records if any(pair.key == "mark" for pair in record.attributes)]


async def _spans(config: dict[str, Any]) -> list[str]:
    message = ResourceSpans()
    message.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = message.scope_spans.add()
    scope.scope.name, scope.scope.version = "lib", "1.0"
    for name, kind, count in (("one", 2, 1), ("two", 3, 2), ("three", 2, 22)):
        scope.spans.add(name=name, kind=kind).attributes.add(key="count").value.int_value = count
    processor, sink = _processor("traces", config)
    await processor.consume(Batch(Signal.TRACES, [message.SerializeToString()], 3))
    assert sink.items == 3
    return _marked(sink.messages[0].scope_spans[0].spans)


SPAN_CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["one", "two", "three"]),
    ({"include": {"match_type": "strict", "span_names": ["one", "two"]}}, ["one", "two"]),
    ({"exclude": {"match_type": "strict", "span_names": ["one"]}}, ["two", "three"]),
    ({"include": {"match_type": "regexp", "span_names": ["^t"]}}, ["two", "three"]),
    (
        {
            "include": {"match_type": "regexp", "span_names": ["^t"], "regexp": {"cacheenabled": True}},
            "exclude": {"match_type": "strict", "span_kinds": ["SPAN_KIND_CLIENT"]},
        },
        ["three"],
    ),
    ({"include": {"match_type": "strict", "services": ["shop"]}}, ["one", "two", "three"]),
    ({"include": {"match_type": "strict", "services": ["other"]}}, []),
    ({"include": {"match_type": "strict", "attributes": [{"key": "count", "value": 2}]}}, ["two"]),
    ({"include": {"match_type": "strict", "attributes": [{"key": "count", "value": "2"}]}}, []),
    ({"include": {"match_type": "regexp", "attributes": [{"key": "count", "value": "2"}]}}, ["two", "three"]),
    ({"include": {"match_type": "strict", "attributes": [{"key": "count"}]}}, ["one", "two", "three"]),
    ({"include": {"match_type": "strict", "libraries": [{"name": "lib", "version": "2.0"}]}}, []),
    ({"include": {"match_type": "strict", "libraries": [{"name": "lib"}]}}, ["one", "two", "three"]),
    ({"include": {"match_type": "strict", "resources": [{"key": "service.name", "value": "no"}]}}, []),
]


@pytest.mark.parametrize(("config", "expected"), SPAN_CASES)
async def test_spans(config: dict[str, Any], expected: list[str]) -> None:
    assert await _spans(config) == expected


LOG_CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["a", "b", "c"]),
    ({"include": {"match_type": "regexp", "log_bodies": ["^[ab]"]}}, ["a", "b"]),
    ({"include": {"match_type": "strict", "log_severity_texts": ["WARN"]}}, ["b"]),
    ({"include": {"log_severity_number": {"min": 9}}}, ["a", "b"]),
    ({"include": {"log_severity_number": {"min": 13, "match_undefined": True}}}, ["b", "c"]),
]


@pytest.mark.parametrize(("config", "expected"), LOG_CASES)
async def test_log_records(config: dict[str, Any], expected: list[str]) -> None:
    message = ResourceLogs()
    scope = message.scope_logs.add()
    for body, number, text in (("a", 9, "INFO"), ("b", 13, "WARN"), ("c", 0, "")):
        scope.log_records.add(severity_number=number, severity_text=text).body.string_value = body
    processor, sink = _processor("logs", config)
    await processor.consume(Batch(Signal.LOGS, [message.SerializeToString()], 3))
    records = sink.messages[0].scope_logs[0].log_records
    assert [record.body.string_value for record in records if record.attributes] == expected


async def test_data_points_of_every_kind_by_the_name_of_their_metric() -> None:
    message = ResourceMetrics()
    scope = message.scope_metrics.add()
    kinds = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
    for kind in kinds:
        getattr(scope.metrics.add(name=kind), kind).data_points.add()
    processor, sink = _processor("metrics", {"exclude": {"match_type": "strict", "metric_names": ["sum"]}})
    await processor.consume(Batch(Signal.METRICS, [message.SerializeToString()], 5))
    metrics = sink.messages[0].scope_metrics[0].metrics
    marked = [metric.name for metric in metrics if getattr(metric, metric.name).data_points[0].attributes]
    assert marked == [kind for kind in kinds if kind != "sum"]


@pytest.mark.parametrize(
    ("signal", "properties", "problem"),
    [
        ("traces", {"match_type": "strict", "log_bodies": ["x"]}, "log_bodies"),
        ("traces", {"match_type": "strict"}, "at least one of"),
        ("logs", {"match_type": "strict", "span_names": ["x"]}, "not valid for log records"),
        ("traces", {"span_names": ["x"]}, "must be strict or regexp"),
        ("traces", {"match_type": "strict", "span_kinds": ["server"]}, "is not one of"),
        ("traces", {"match_type": "regexp", "span_names": ["("]}, "invalid regular expression"),
        ("traces", {"match_type": "regexp", "attributes": [{"key": "a", "value": 1}]}, "must be text"),
    ],
)
def test_properties_that_do_not_fit_are_refused(signal: str, properties: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        _processor(signal, {"include": properties})
