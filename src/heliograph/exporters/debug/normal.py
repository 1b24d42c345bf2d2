"""`verbosity: normal`: about one line for each span, log record or data point."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.exporters.debug.values import as_text, fixed, general


def text(batch: Batch) -> str:
    """The lines of a batch, each ended by a newline."""
    resource_title, scope_title, scopes, records, lines = _FORMS[batch.signal]
    out: list[str] = []
    for number, resource in enumerate(batch.messages()):
        schema = f" [{resource.schema_url}]" if resource.schema_url else ""
        out.append(f"{resource_title} #{number}{schema}{_after(resource.resource.attributes)}")
        for scope_number, scope in enumerate(getattr(resource, scopes)):
            out.append(f"{scope_title} #{scope_number}{_scope(scope)}{_after(scope.scope.attributes)}")
            for record in getattr(scope, records):
                out.extend(lines(record))
    return "".join(line + "\n" for line in out)


def _pairs(attributes: Iterable[Any]) -> Iterator[str]:
    return (f"{pair.key}={as_text(pair.value)}" for pair in attributes)


def _after(attributes: Iterable[Any]) -> str:
    joined = " ".join(_pairs(attributes))
    return f" {joined}" if joined else ""


def _scope(scope: Any) -> str:
    name = scope.scope.name + (f"@{scope.scope.version}" if scope.scope.version else "")
    words = [word for word in (name, f"[{scope.schema_url}]" if scope.schema_url else "") if word]
    return f" {' '.join(words)}" if words else ""


def _span(span: Any) -> Iterator[str]:
    yield f"{span.name} {span.trace_id.hex()} {span.span_id.hex()}{_after(span.attributes)}"


def _log_record(record: Any) -> Iterator[str]:
    yield f"{as_text(record.body)} {' '.join(_pairs(record.attributes))}"


def _metric(metric: Any) -> Iterator[str]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    value = _POINTS[kind]
    for point in getattr(metric, kind).data_points:
        yield f"{metric.name}{{{','.join(_pairs(point.attributes))}}} {value(point)}"


def _number(point: Any) -> str:
    kind = point.WhichOneof("value")
    if kind == "as_int":
        return str(point.as_int)
    return general(point.as_double) if kind == "as_double" else ""


def _totals(point: Any) -> list[str]:
    words = [f"count={point.count}"]
    words.extend(f"{name}={general(getattr(point, name))}" for name in ("sum", "min", "max") if point.HasField(name))
    return words


def _histogram(point: Any) -> str:
    words = _totals(point)
    bounds = point.explicit_bounds
    for number, count in enumerate(point.bucket_counts):
        words.append((f"le{general(bounds[number])}=" if number < len(bounds) else "") + str(count))
    return " ".join(words)


def bound(index: int, scale: int) -> float:
    """base^index of an exponential histogram, whose base is 2^(2^-scale)."""
    try:
        return math.exp(index * math.ldexp(math.log(2), -scale))
    except OverflowError:
        return math.inf


def _exponential(point: Any) -> str:
    words = _totals(point)
    negative, positive = point.negative, point.positive
    for number in reversed(range(len(negative.bucket_counts))):
        upper = -bound(negative.offset + number, point.scale)
        words.append(f"le{general(upper)}={negative.bucket_counts[number]}")
    if point.zero_count:
        words.append(f"zero={point.zero_count}")
    for number, count in enumerate(positive.bucket_counts):
        words.append(f"le{general(bound(positive.offset + number + 1, point.scale))}={count}")
    return " ".join(words)


def _summary(point: Any) -> str:
    words = [f"count={point.count}", f"sum={fixed(point.sum)}"]
    words.extend(f"q{general(value.quantile)}={general(value.value)}" for value in point.quantile_values)
    return " ".join(words)


_POINTS: dict[str, Callable[[Any], str]] = {
    "gauge": _number,
    "sum": _number,
    "histogram": _histogram,
    "exponential_histogram": _exponential,
    "summary": _summary,
}
_FORMS: dict[Signal, tuple[str, str, str, str, Callable[[Any], Iterator[str]]]] = {
    Signal.TRACES: ("ResourceTraces", "ScopeTraces", "scope_spans", "spans", _span),
    Signal.METRICS: ("ResourceMetrics", "ScopeMetrics", "scope_metrics", "metrics", _metric),
    Signal.LOGS: ("ResourceLog", "ScopeLog", "scope_logs", "log_records", _log_record),
}
