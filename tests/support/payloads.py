"""Requests with everything in them that OTLP has."""

import random
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

T = 1_700_000_000_123_456_789


def attributes(target: Any) -> None:
    """One attribute of each kind, nested ones too."""
    target.add(key="text").value.string_value = "wert äöü 漢字"
    target.add(key="http.request.method").value.string_value = "GET"
    target.add(key="yes").value.bool_value = True
    target.add(key="count").value.int_value = -7
    target.add(key="ratio").value.double_value = 0.25
    target.add(key="raw").value.bytes_value = b"\x00\xff"
    array = target.add(key="list").value.array_value
    array.values.add().string_value = "a"
    array.values.add().array_value.values.add().int_value = 300
    pairs = target.add(key="map").value.kvlist_value
    pairs.values.add(key="inner").value.double_value = 1e300
    target.add(key="nothing").value.SetInParent()


def _resource(part: Any) -> None:
    part.schema_url = "https://opentelemetry.io/schemas/1.40.0"
    attributes(part.resource.attributes)
    part.resource.dropped_attributes_count = 2
    part.resource.entity_refs.add(type="host", id_keys=["host.id"], description_keys=["host.name"])


def _scope(scope: Any, number: int) -> None:
    scope.name, scope.version = f"scope-{number}", "1.2"
    attributes(scope.attributes)


def traces(parts: int = 2, scopes: int = 2, spans: int = 3, seed: int = 1) -> bytes:
    """An ExportTraceServiceRequest."""
    source = random.Random(seed)
    request = ExportTraceServiceRequest()
    for _ in range(parts):
        part = request.resource_spans.add()
        _resource(part)
        for number in range(scopes):
            scope = part.scope_spans.add(schema_url="s")
            _scope(scope.scope, number)
            for index in range(spans):
                span = scope.spans.add(
                    trace_id=source.randbytes(16),
                    span_id=source.randbytes(8),
                    parent_span_id=source.randbytes(8),
                    trace_state="a=b",
                    name=f"span {index}",
                    kind=2,
                    start_time_unix_nano=T,
                    end_time_unix_nano=T + index,
                    flags=0x301,
                    dropped_attributes_count=200,
                    dropped_events_count=1,
                    dropped_links_count=1,
                )
                attributes(span.attributes)
                attributes(span.events.add(name="event", time_unix_nano=T).attributes)
                attributes(span.links.add(trace_id=source.randbytes(16), span_id=source.randbytes(8)).attributes)
                span.status.code, span.status.message = 2, "failed"
    body: bytes = request.SerializeToString()
    return body


def logs(parts: int = 2, scopes: int = 2, records: int = 3) -> bytes:
    """An ExportLogsServiceRequest."""
    request = ExportLogsServiceRequest()
    for _ in range(parts):
        part = request.resource_logs.add()
        _resource(part)
        for number in range(scopes):
            scope = part.scope_logs.add(schema_url="s")
            _scope(scope.scope, number)
            for index in range(records):
                record = scope.log_records.add(
                    time_unix_nano=T,
                    observed_time_unix_nano=T,
                    severity_number=9 + index,
                    severity_text="INFO",
                    event_name="e",
                    flags=1,
                    trace_id=b"t" * 16,
                    span_id=b"s" * 8,
                )
                record.body.string_value = f"line {index} ü"
                attributes(record.attributes)
    body: bytes = request.SerializeToString()
    return body


def metrics(parts: int = 2, points: int = 3) -> bytes:
    """An ExportMetricsServiceRequest with every kind of metric; 5 * points data points in each part."""
    request = ExportMetricsServiceRequest()
    for _ in range(parts):
        part = request.resource_metrics.add()
        _resource(part)
        scope = part.scope_metrics.add(schema_url="s")
        _scope(scope.scope, 0)
        gauge = scope.metrics.add(name="gauge", description="d", unit="By")
        attributes(gauge.metadata)
        total = scope.metrics.add(name="sum")
        total.sum.aggregation_temporality, total.sum.is_monotonic = 2, True
        histogram = scope.metrics.add(name="histogram")
        histogram.histogram.aggregation_temporality = 1
        exponential = scope.metrics.add(name="exponential")
        summary = scope.metrics.add(name="summary")
        for index in range(points):
            for target in (gauge.gauge, total.sum):
                point = target.data_points.add(start_time_unix_nano=T, time_unix_nano=T, as_int=-index, flags=1)
                attributes(point.attributes)
                attributes(point.exemplars.add(time_unix_nano=T, as_double=1.5).filtered_attributes)
            bucketed = histogram.histogram.data_points.add(time_unix_nano=T, count=3, sum=2.5, min=0.5, max=1.5)
            bucketed.bucket_counts.extend([1, 2])
            bucketed.explicit_bounds.extend([1.0])
            attributes(bucketed.attributes)
            scaled = exponential.exponential_histogram.data_points.add(count=3, scale=-3, zero_count=1)
            scaled.positive.offset = -5
            scaled.positive.bucket_counts.extend([1, 300, 70000])
            scaled.zero_threshold = 0.1
            attributes(scaled.attributes)
            quantiles = summary.summary.data_points.add(count=1, sum=1.0)
            quantiles.quantile_values.add(quantile=0.5, value=2.0)
            attributes(quantiles.attributes)
    body: bytes = request.SerializeToString()
    return body


PAYLOADS = {"traces": traces, "logs": logs, "metrics": metrics}
