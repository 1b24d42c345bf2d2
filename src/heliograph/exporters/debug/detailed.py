"""`verbosity: detailed`: every field of every record, one a line."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.exporters.debug.normal import bound
from heliograph.exporters.debug.values import fixed, timestamp, typed

_KINDS = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_CODES = ("Unset", "Ok", "Error")
_TEMPORALITIES = ("Unspecified", "Delta", "Cumulative")
_SEVERITIES = ("Trace", "Debug", "Info", "Warn", "Error", "Fatal")
_TYPES = {
    "gauge": "Gauge",
    "sum": "Sum",
    "histogram": "Histogram",
    "exponential_histogram": "ExponentialHistogram",
    "summary": "Summary",
}


def text(batch: Batch) -> str:
    """The lines of a batch, each ended by a newline."""
    resource_title, scope_title, record_title, scopes, records, lines = _FORMS[batch.signal]
    out: list[str] = []
    for number, resource in enumerate(batch.messages()):
        out.append(f"{resource_title} #{number}")
        out.append(f"Resource SchemaURL: {resource.schema_url}")
        out.extend(_attributes("Resource attributes:", resource.resource.attributes))
        out.extend(_entities(resource.resource.entity_refs))
        for scope_number, scope in enumerate(getattr(resource, scopes)):
            out.append(f"{scope_title} #{scope_number}")
            out.append(f"{scope_title} SchemaURL: {scope.schema_url}")
            out.append(f"InstrumentationScope {scope.scope.name} {scope.scope.version}")
            out.extend(_attributes("InstrumentationScope attributes:", scope.scope.attributes))
            for record_number, record in enumerate(getattr(scope, records)):
                out.append(f"{record_title} #{record_number}")
                out.extend(lines(record))
    return "".join(line + "\n" for line in out)


def _attributes(header: str, attributes: Iterable[Any], indent: str = "") -> Iterator[str]:
    first = True
    for pair in attributes:
        if first:
            yield indent + header
            first = False
        yield f"{indent}     -> {pair.key}: {typed(pair.value)}"


def _nested(header: str, attributes: Iterable[Any]) -> Iterator[str]:
    """Attributes below an arrow: the header has one, the lines are indented by as much more."""
    first = True
    for pair in attributes:
        if first:
            yield f"     -> {header}"
            first = False
        yield f"          -> {pair.key}: {typed(pair.value)}"


def _entities(references: Iterable[Any]) -> Iterator[str]:
    for number, reference in enumerate(references):
        if number == 0:
            yield "Resource entity refs:"
        yield f"     -> Entity ref #{number}:"
        yield f"          -> Type: {reference.type}"
        if reference.schema_url:
            yield f"          -> Schema URL: {reference.schema_url}"
        for title, keys in (("ID keys", reference.id_keys), ("Description keys", reference.description_keys)):
            if keys:
                yield f"          -> {title}:"
                yield from (f"               -> {key}" for key in keys)


def _log_record(record: Any) -> Iterator[str]:
    yield f"ObservedTimestamp: {timestamp(record.observed_time_unix_nano)}"
    yield f"Timestamp: {timestamp(record.time_unix_nano)}"
    yield f"SeverityText: {record.severity_text}"
    yield f"SeverityNumber: {_severity(record.severity_number)}({record.severity_number})"
    if record.event_name:
        yield f"EventName: {record.event_name}"
    yield f"Body: {typed(record.body)}"
    yield from _attributes("Attributes:", record.attributes)
    yield f"Trace ID: {record.trace_id.hex()}"
    yield f"Span ID: {record.span_id.hex()}"
    yield f"Flags: {record.flags}"


def _severity(number: int) -> str:
    if not 1 <= number <= 24:
        return "Unspecified" if number == 0 else ""
    group, step = divmod(number - 1, 4)
    return _SEVERITIES[group] + (str(step + 1) if step else "")


def _span(span: Any) -> Iterator[str]:
    yield f"    Trace ID       : {span.trace_id.hex()}"
    yield f"    Parent ID      : {span.parent_span_id.hex()}"
    yield f"    ID             : {span.span_id.hex()}"
    yield f"    Name           : {span.name}"
    yield f"    Kind           : {_named(_KINDS, span.kind)}"
    if span.trace_state:
        yield f"    TraceState     : {span.trace_state}"
    yield f"    Start time     : {timestamp(span.start_time_unix_nano)}"
    yield f"    End time       : {timestamp(span.end_time_unix_nano)}"
    yield f"    Status code    : {_named(_CODES, span.status.code)}"
    yield f"    Status message : {span.status.message}"
    yield f"    DroppedAttributesCount: {span.dropped_attributes_count}"
    yield f"    DroppedEventsCount: {span.dropped_events_count}"
    yield f"    DroppedLinksCount: {span.dropped_links_count}"
    yield from _attributes("Attributes:", span.attributes)
    for number, event in enumerate(span.events):
        if number == 0:
            yield "Events:"
        yield f"SpanEvent #{number}"
        yield f"     -> Name: {event.name}"
        yield f"     -> Timestamp: {timestamp(event.time_unix_nano)}"
        yield f"     -> DroppedAttributesCount: {event.dropped_attributes_count}"
        yield from _nested("Attributes::", event.attributes)
    for number, link in enumerate(span.links):
        if number == 0:
            yield "Links:"
        yield f"SpanLink #{number}"
        yield f"     -> Trace ID: {link.trace_id.hex()}"
        yield f"     -> ID: {link.span_id.hex()}"
        yield f"     -> TraceState: {link.trace_state}"
        yield f"     -> DroppedAttributesCount: {link.dropped_attributes_count}"
        yield from _nested("Attributes::", link.attributes)


def _metric(metric: Any) -> Iterator[str]:
    kind = metric.WhichOneof("data")
    yield "Descriptor:"
    yield f"     -> Name: {metric.name}"
    yield f"     -> Description: {metric.description}"
    yield f"     -> Unit: {metric.unit}"
    yield f"     -> DataType: {_TYPES.get(kind, 'Empty')}"
    yield from _nested("Metadata:", metric.metadata)
    if kind is None:
        return
    data = getattr(metric, kind)
    if kind == "sum":
        yield f"     -> IsMonotonic: {'true' if data.is_monotonic else 'false'}"
    if kind not in ("gauge", "summary"):
        yield f"     -> AggregationTemporality: {_named(_TEMPORALITIES, data.aggregation_temporality)}"
    title, lines = _POINTS[kind]
    for number, point in enumerate(data.data_points):
        yield f"{title} #{number}"
        yield from _attributes("Data point attributes:", point.attributes)
        yield f"StartTimestamp: {timestamp(point.start_time_unix_nano)}"
        yield f"Timestamp: {timestamp(point.time_unix_nano)}"
        yield from lines(point)
        if kind != "summary":
            yield from _exemplars(point.exemplars)


def _number(point: Any) -> Iterator[str]:
    yield from _value(point, "")


def _value(point: Any, prefix: str) -> Iterator[str]:
    kind = point.WhichOneof("value")
    if kind == "as_int":
        yield f"{prefix}Value: {point.as_int}"
    elif kind == "as_double":
        yield f"{prefix}Value: {fixed(point.as_double)}"


def _totals(point: Any) -> Iterator[str]:
    yield f"Count: {point.count}"
    for name in ("sum", "min", "max"):
        if point.HasField(name):
            yield f"{name.capitalize()}: {fixed(getattr(point, name))}"


def _histogram(point: Any) -> Iterator[str]:
    yield from _totals(point)
    for number, limit in enumerate(point.explicit_bounds):
        yield f"ExplicitBounds #{number}: {fixed(limit)}"
    for number, count in enumerate(point.bucket_counts):
        yield f"Buckets #{number}, Count: {count}"


def _exponential(point: Any) -> Iterator[str]:
    yield from _totals(point)
    negative, positive, scale = point.negative, point.positive, point.scale
    for number in reversed(range(len(negative.bucket_counts))):
        index = negative.offset + number
        lower, upper = -bound(index + 1, scale), -bound(index, scale)
        yield f"Bucket [{fixed(lower)}, {fixed(upper)}), Count: {negative.bucket_counts[number]}"
    if point.zero_count:
        yield f"Bucket [0, 0], Count: {point.zero_count}"
    for number, count in enumerate(positive.bucket_counts):
        index = positive.offset + number
        yield f"Bucket ({fixed(bound(index, scale))}, {fixed(bound(index + 1, scale))}], Count: {count}"


def _summary(point: Any) -> Iterator[str]:
    yield f"Count: {point.count}"
    yield f"Sum: {fixed(point.sum)}"
    for number, value in enumerate(point.quantile_values):
        yield f"QuantileValue #{number}: Quantile {fixed(value.quantile)}, Value {fixed(value.value)}"


def _exemplars(exemplars: Iterable[Any]) -> Iterator[str]:
    for number, exemplar in enumerate(exemplars):
        if number == 0:
            yield "Exemplars:"
        yield f"Exemplar #{number}"
        yield f"     -> Trace ID: {exemplar.trace_id.hex()}"
        yield f"     -> Span ID: {exemplar.span_id.hex()}"
        yield f"     -> Timestamp: {timestamp(exemplar.time_unix_nano)}"
        yield from _value(exemplar, "     -> ")
        yield from _nested("FilteredAttributes:", exemplar.filtered_attributes)


def _named(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else ""


_POINTS: dict[str, tuple[str, Callable[[Any], Iterator[str]]]] = {
    "gauge": ("NumberDataPoints", _number),
    "sum": ("NumberDataPoints", _number),
    "histogram": ("HistogramDataPoints", _histogram),
    "exponential_histogram": ("ExponentialHistogramDataPoints", _exponential),
    "summary": ("SummaryDataPoints", _summary),
}
_FORMS: dict[Signal, tuple[str, str, str, str, str, Callable[[Any], Iterator[str]]]] = {
    Signal.TRACES: ("ResourceSpans", "ScopeSpans", "Span", "scope_spans", "spans", _span),
    Signal.METRICS: ("ResourceMetrics", "ScopeMetrics", "Metric", "scope_metrics", "metrics", _metric),
    Signal.LOGS: ("ResourceLog", "ScopeLogs", "LogRecord", "scope_logs", "log_records", _log_record),
}
