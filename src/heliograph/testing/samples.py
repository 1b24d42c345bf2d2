"""Well-formed telemetry with every kind of value, that any OTLP implementation hands on unchanged."""

from collections.abc import Callable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

START = 1_700_000_000_123_456_789
_TRACE, _SPAN = bytes(range(1, 17)), bytes(range(1, 9))


def attributes() -> list[KeyValue]:
    """One of each kind of value."""
    values = {
        "text": AnyValue(string_value="wörter"),
        "yes": AnyValue(bool_value=True),
        "number": AnyValue(int_value=-(1 << 62)),
        "fraction": AnyValue(double_value=0.1),
        "bytes": AnyValue(bytes_value=b"\x00\xff"),
        "list": AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="a"), AnyValue(int_value=1)])),
        "map": AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=AnyValue(string_value="v"))])),
    }
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def sample(signal: str, service: str, count: int = 5) -> Any:
    """A ResourceSpans, ResourceMetrics or ResourceLogs of a service with `count` spans, metrics or records."""
    make: dict[str, Callable[[int], Any]] = {"traces": _spans, "metrics": _metrics, "logs": _logs}
    message = make[signal](count)
    message.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value=service)))
    message.resource.attributes.extend(attributes())
    message.schema_url = "https://opentelemetry.io/schemas/1.26.0"
    return message


def service_of(message: Any) -> str:
    """The service name of such a message."""
    first: str = message.resource.attributes[0].value.string_value
    return first


def _spans(count: int) -> ResourceSpans:
    message = ResourceSpans()
    scope = message.scope_spans.add()
    scope.scope.name, scope.scope.version = "a scope", "1.0"
    for number in range(count):
        scope.spans.add(
            trace_id=_TRACE,
            span_id=_SPAN,
            parent_span_id=_SPAN[::-1],
            trace_state="a=b",
            flags=257,
            name=f"span {number}",
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=START,
            end_time_unix_nano=START + number,
            attributes=attributes(),
            dropped_attributes_count=1,
            events=[Span.Event(time_unix_nano=START, name="an event", attributes=attributes())],
            links=[
                Span.Link(trace_id=_TRACE[::-1], span_id=_SPAN, trace_state="c=d", attributes=attributes(), flags=1)
            ],
            status=Status(code=Status.STATUS_CODE_ERROR, message="it broke"),
        )
    return message


def _logs(count: int) -> ResourceLogs:
    message = ResourceLogs()
    scope = message.scope_logs.add()
    scope.scope.name, scope.schema_url = "a scope", "https://opentelemetry.io/schemas/1.25.0"
    for number in range(count):
        body = AnyValue(kvlist_value=KeyValueList(values=attributes())) if number % 2 else AnyValue(string_value="line")
        scope.log_records.append(
            LogRecord(
                time_unix_nano=START + number,
                observed_time_unix_nano=START,
                severity_number=9,  # type: ignore[arg-type]
                severity_text="INFO",
                body=body,
                attributes=attributes(),
                trace_id=_TRACE,
                span_id=_SPAN,
                flags=1,
                event_name="an.event",
            )
        )
    return message


def _metrics(count: int) -> metrics.ResourceMetrics:
    message = metrics.ResourceMetrics()
    scope = message.scope_metrics.add()
    scope.scope.name = "a scope"
    scope.scope.attributes.extend(attributes())
    for number in range(count):
        metric = scope.metrics.add(name=f"metric.{number}", unit="By", description="a metric")
        common: dict[str, Any] = {
            "attributes": attributes(),
            "start_time_unix_nano": START - 1,
            "time_unix_nano": START,
        }
        if number % 5 == 0:
            metric.gauge.data_points.add(as_double=1.5, **common)
        elif number % 5 == 1:
            metric.sum.aggregation_temporality = metrics.AGGREGATION_TEMPORALITY_DELTA
            metric.sum.is_monotonic = True
            metric.sum.data_points.add(as_int=-3, **common)
        elif number % 5 == 2:
            metric.histogram.aggregation_temporality = metrics.AGGREGATION_TEMPORALITY_CUMULATIVE
            metric.histogram.data_points.add(
                count=3, sum=4.5, min=0.5, max=3.0, bucket_counts=[1, 2], explicit_bounds=[1.0], **common
            )
        elif number % 5 == 3:
            metric.exponential_histogram.aggregation_temporality = metrics.AGGREGATION_TEMPORALITY_DELTA
            point = metric.exponential_histogram.data_points.add(count=4, sum=9.5, scale=2, zero_count=1, **common)
            point.positive.offset = -2
            point.positive.bucket_counts.extend([1, 2])
            point.negative.bucket_counts.append(1)
        else:
            quantile = metrics.SummaryDataPoint.ValueAtQuantile(quantile=0.5, value=2.0)
            metric.summary.data_points.add(count=2, sum=3.0, quantile_values=[quantile], **common)
    return message
