"""One request of each signal that uses every field that the debug and file exporters show."""

from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal

TIME = 1_700_000_000_123_456_789
TRACE_ID, SPAN_ID = bytes(range(16)), bytes(range(8))
NUMBERS = (1e6, 123456789.5, 999999.0, 0.0001, 0.00001234, 1e21, -0.0, 1 / 3, 0.0)


def any_value(value: Any) -> AnyValue:
    made = AnyValue()
    match value:
        case bool():
            made.bool_value = value
        case int():
            made.int_value = value
        case float():
            made.double_value = value
        case str():
            made.string_value = value
        case bytes():
            made.bytes_value = value
        case list():
            made.array_value.SetInParent()
            made.array_value.values.extend(map(any_value, value))
        case dict():
            made.kvlist_value.SetInParent()
            made.kvlist_value.values.extend(pairs(value))
    return made


def pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


EVERY_KIND: dict[str, Any] = {
    "string": "text",
    "integer": -5,
    "double": 1.5,
    "large": 1e20,
    "whole": 2.0,
    "boolean": True,
    "bytes": b"\x00\xff",
    "list": ["a", 1, {"x": "y"}],
    "map": {"z": 1, "a": {"b": None}, "quoted": 'q<>&"\n'},
    "empty": None,
    "not a number": float("nan"),
    "infinite": float("inf"),
}


def logs() -> list[ResourceLogs]:
    first, second = ResourceLogs(schema_url="https://x/1"), ResourceLogs()
    first.resource.attributes.extend(pairs({"service.name": "svc", "k8s.pod.name": "p"}))
    first.resource.dropped_attributes_count = 2
    scope = first.scope_logs.add(schema_url="https://y/2")
    scope.scope.name, scope.scope.version, scope.scope.dropped_attributes_count = "sc", "1.0", 3
    scope.scope.attributes.extend(pairs({"sa": 1}))
    record = scope.log_records.add(
        time_unix_nano=TIME,
        observed_time_unix_nano=TIME + 1000,
        severity_number=10,
        severity_text="Info",
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        flags=1,
        dropped_attributes_count=4,
        event_name="my.event",
        body=any_value("hello\nworld"),
    )
    record.attributes.extend(pairs(EVERY_KIND))
    scope.log_records.add(body=any_value({"x": [1, 2.5, "q<>&"], "y": {"k": True}}))
    scope.log_records.add(time_unix_nano=TIME, severity_number=17)
    scope.log_records.add(time_unix_nano=1_700_000_000_100_000_000, body=any_value(b"abc"))
    first.scope_logs.add().log_records.add(body=any_value(5))
    second.scope_logs.add().log_records.add(body=any_value([1, "a"]))
    return [first, second]


def traces() -> list[ResourceSpans]:
    resource = ResourceSpans(schema_url="https://x/1")
    resource.resource.attributes.extend(pairs({"service.name": "svc"}))
    scope = resource.scope_spans.add()
    scope.scope.name = "sc"
    span = scope.spans.add(
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        parent_span_id=bytes(range(8, 16)),
        trace_state="a=b",
        name="GET /",
        kind=2,
        start_time_unix_nano=TIME,
        end_time_unix_nano=TIME + 5,
        dropped_attributes_count=1,
        dropped_events_count=2,
        dropped_links_count=3,
        flags=257,
    )
    span.attributes.extend(pairs(EVERY_KIND))
    span.status.code, span.status.message = 2, "boom"
    event = span.events.add(time_unix_nano=TIME + 2, name="exception", dropped_attributes_count=7)
    event.attributes.extend(pairs({"k": "v"}))
    span.events.add()
    link = span.links.add(trace_id=TRACE_ID, span_id=SPAN_ID, trace_state="l=1", dropped_attributes_count=9, flags=3)
    link.attributes.extend(pairs({"la": 1}))
    scope.spans.add(name="b")
    resource.scope_spans.add().spans.add(kind=5)
    return [resource]


def metrics() -> list[ResourceMetrics]:
    resource = ResourceMetrics()
    resource.resource.attributes.extend(pairs({"service.name": "svc"}))
    scope = resource.scope_metrics.add()
    scope.scope.name, scope.scope.version = "sc", "2"
    gauge = scope.metrics.add(name="g", description="desc", unit="By")
    gauge.metadata.extend(pairs({"md": "x"}))
    point = gauge.gauge.data_points.add(time_unix_nano=TIME, as_int=5)
    point.attributes.extend(pairs({"a": "b", "n": 1}))
    exemplar = point.exemplars.add(time_unix_nano=TIME, as_double=1.5, trace_id=TRACE_ID, span_id=SPAN_ID)
    exemplar.filtered_attributes.extend(pairs({"f": "g"}))
    gauge.gauge.data_points.add(flags=1)
    for number in (*NUMBERS, float("inf")):
        point = gauge.gauge.data_points.add(as_double=number)
        point.attributes.extend(pairs({"v": number}))
    total = scope.metrics.add(name="s", unit="1")
    total.sum.aggregation_temporality, total.sum.is_monotonic = 2, True
    total.sum.data_points.add(start_time_unix_nano=TIME - 5, time_unix_nano=TIME, as_double=1e20)
    histogram = scope.metrics.add(name="h").histogram
    histogram.aggregation_temporality = 1
    histogram.data_points.add(
        count=10, sum=5.5, min=1, max=4.25, bucket_counts=[1, 2, 3, 4], explicit_bounds=[1, 5, 10], time_unix_nano=TIME
    ).attributes.extend(pairs({"a": 1}))
    histogram.data_points.add(count=2)
    exponential = scope.metrics.add(name="eh").exponential_histogram
    exponential.aggregation_temporality = 1
    buckets = exponential.data_points.add(count=10, sum=5.5, min=-1, max=4, scale=1, zero_count=2, zero_threshold=0.5)
    buckets.positive.offset, buckets.negative.offset = 2, -1
    buckets.positive.bucket_counts.extend([1, 0, 3])
    buckets.negative.bucket_counts.append(4)
    summary = scope.metrics.add(name="su").summary.data_points.add(count=4, sum=10.5, time_unix_nano=TIME)
    summary.quantile_values.add(quantile=0.5, value=1.5)
    summary.quantile_values.add(quantile=1, value=3)
    scope.metrics.add(name="none")
    return [resource]


def batches() -> list[Batch]:
    """Logs, traces, metrics."""
    return [
        Batch(Signal.LOGS, [message.SerializeToString() for message in logs()], 6),
        Batch(Signal.TRACES, [message.SerializeToString() for message in traces()], 3),
        Batch(Signal.METRICS, [message.SerializeToString() for message in metrics()], 17),
    ]
