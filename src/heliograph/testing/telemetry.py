"""Random telemetry from a seed: requests of every signal that use every field and every kind of value.

The same seed gives the same bytes. For comparing two programs on one input, and for measuring.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.logs.v1 import logs_pb2 as logs
from opentelemetry.proto.metrics.v1 import metrics_pb2 as metrics
from opentelemetry.proto.resource.v1 import resource_pb2 as resource
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

START = 1_700_000_000_123_456_789

TEXTS = (
    "",
    "plain",
    'a "quoted" \\ text',
    "<html> & more",
    "line\nbreak\ttab\r\b\f\x00\x1f\x7f",
    "grüße \u2028\u2029 \U0001f600",
    "x" * 300,
)
DOUBLES = (
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.1,
    1e-4,
    1e-5,
    1.5e-7,
    999999.0,
    999999.5,
    1e6,
    123456789.5,
    1.7e12,
    2.5e15,
    1e16,
    1.2345678901234567e20,
    1e21,
    1e300,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
)
INTEGERS = (0, 1, -1, 5, 1 << 40, (1 << 63) - 1, -(1 << 63))
NAMES = ("a", "a.b", "a.b.c", "http.method", "k<&>", "ünï", "", 'q"q')
SCOPES = (
    "",
    "my.library",
    "github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver/internal/scraper/cpu",
    "x/connector/spanmetricsconnector",
    "/receiver/FooReceiver",
    "receiver/fooreceiver",
    "go.opentelemetry.io/collector/exporter/exporterhelper",
)


class Telemetry:
    """A source of random messages."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, depth: int = 0) -> common.AnyValue:
        """Any value: every kind, arrays and maps up to three deep."""
        kind = self.random.randrange(9 if depth < 3 else 6)
        if kind == 0:
            return common.AnyValue(string_value=self.random.choice(TEXTS))
        if kind == 1:
            return common.AnyValue(int_value=self.random.choice(INTEGERS))
        if kind == 2:
            return common.AnyValue(double_value=self.random.choice(DOUBLES))
        if kind == 3:
            return common.AnyValue(bool_value=self.random.random() < 0.5)
        if kind == 4:
            return common.AnyValue(bytes_value=self.random.randbytes(self.random.randrange(1, 9)))
        if kind == 5:
            return common.AnyValue()
        size = self.random.randrange(4)
        if kind == 6:
            items = [self.value(depth + 1) for _ in range(size)]
            return common.AnyValue(array_value=common.ArrayValue(values=items))
        if kind == 7:
            maps = [common.AnyValue(kvlist_value=self.map(depth + 1)) for _ in range(size)]
            return common.AnyValue(array_value=common.ArrayValue(values=maps))
        return common.AnyValue(kvlist_value=self.map(depth + 1))

    def map(self, depth: int) -> common.KeyValueList:
        """A map with distinct keys."""
        names = self.random.sample(NAMES, self.random.randrange(4))
        return common.KeyValueList(values=[common.KeyValue(key=name, value=self.value(depth)) for name in names])

    def attributes(self, routing: bool = True) -> list[common.KeyValue]:
        """Attributes, some twice, some of those that steer the elasticsearch exporter."""
        pairs = [(self.random.choice(NAMES), self.value()) for _ in range(self.random.randrange(6))]
        if self.maybe(0.2):
            for name in self.random.sample(("lat", "lon"), self.random.randrange(1, 3)):
                pairs.append((f"x.geo.location.{name}", common.AnyValue(double_value=self.random.choice(DOUBLES))))
        if routing and self.maybe(0.3):
            pairs.extend(self.random.sample(self.steering(), self.random.randrange(1, 4)))
        self.random.shuffle(pairs)
        return [common.KeyValue(key=key, value=value) for key, value in pairs]

    def steering(self) -> Sequence[tuple[str, common.AnyValue]]:
        """Attributes that say where a document goes."""
        text = self.random.choice(("shop", "Nginx.Access", "a-b/c:d#e", "x" * 120, "ÄÖ İ", "a.otel", "_x"))
        return (
            ("data_stream.dataset", common.AnyValue(string_value=text)),
            ("data_stream.dataset", common.AnyValue(int_value=5)),
            ("data_stream.namespace", common.AnyValue(string_value=text)),
            ("data_stream.namespace", common.AnyValue(double_value=self.random.choice((1.0, 1e21, 1.5e-7, 1e6)))),
            ("data_stream.type", common.AnyValue(string_value="metrics")),
            ("elasticsearch.index", common.AnyValue(string_value="My-Index")),
            ("elasticsearch.document_id", self.document_id()),
            ("elasticsearch.ingest_pipeline", common.AnyValue(string_value="my-pipeline")),
            ("event.name", common.AnyValue(string_value="from.attribute")),
            ("encoding.format", common.AnyValue(string_value="aws.elb")),
            ("elastic.mapping.mode", common.AnyValue(string_value="otel")),
        )

    def document_id(self) -> common.AnyValue:
        """An id: mostly text, sometimes a number."""
        if self.maybe(0.2):
            return common.AnyValue(int_value=self.random.randrange(100))
        return common.AnyValue(string_value=f"id-{self.random.random()}")

    def number_of(self, *choices: int) -> Any:
        """One of these, as protobuf's enumerations want it."""
        return self.random.choice(choices)

    def maybe(self, chance: float = 0.5) -> bool:
        """True with this chance."""
        return self.random.random() < chance

    def text(self) -> str:
        """A text, often empty."""
        return self.random.choice(TEXTS)

    def trace_id(self, size: int = 16) -> bytes:
        """An id; sometimes absent, sometimes zeros."""
        return self.random.choice((b"", bytes(size), self.random.randbytes(size), self.random.randbytes(size)))

    def time(self) -> int:
        """A time in nanoseconds; sometimes 0."""
        return self.random.choice((0, START, START + self.random.randrange(10**9), 1_700_000_000_123_000_005))

    def count(self) -> int:
        """A dropped count; mostly 0."""
        return self.random.choice((0, 0, 3, 4294967295))

    def resource(self) -> resource.Resource:
        """A resource."""
        return resource.Resource(attributes=self.attributes(), dropped_attributes_count=self.count())

    def scope(self) -> common.InstrumentationScope:
        """A scope."""
        return common.InstrumentationScope(
            name=self.random.choice(SCOPES),
            version=self.random.choice(("", "1.2")),
            attributes=self.attributes(),
            dropped_attributes_count=self.count(),
        )

    def schema(self) -> str:
        """A schema URL, or none."""
        return self.random.choice(("", "https://opentelemetry.io/schemas/1.40.0"))

    def log(self) -> logs.LogRecord:
        """A log record."""
        record = logs.LogRecord(
            time_unix_nano=self.time(),
            observed_time_unix_nano=self.time(),
            severity_number=self.number_of(0, 1, 9, 24),
            severity_text=self.text(),
            attributes=self.attributes(),
            dropped_attributes_count=self.count(),
            flags=self.random.choice((0, 1)),
            trace_id=self.trace_id(),
            span_id=self.trace_id(8),
            event_name=self.random.choice(("", "", "my.event")),
        )
        if self.maybe(0.9):
            record.body.CopyFrom(self.value())
        return record

    def span(self) -> trace.Span:
        """A span with events and links."""
        return trace.Span(
            trace_id=self.trace_id(),
            span_id=self.trace_id(8),
            trace_state=self.random.choice(("", "a=b")),
            parent_span_id=self.trace_id(8),
            flags=self.random.choice((0, 257)),
            name=self.text(),
            kind=self.number_of(0, 1, 2, 3, 4, 5),
            start_time_unix_nano=self.time(),
            end_time_unix_nano=self.time(),
            attributes=self.attributes(),
            dropped_attributes_count=self.count(),
            dropped_events_count=self.count(),
            dropped_links_count=self.count(),
            events=[
                trace.Span.Event(
                    time_unix_nano=self.time(),
                    name=self.random.choice(("", "exception", "a<b")),
                    attributes=self.attributes(),
                    dropped_attributes_count=self.count(),
                )
                for _ in range(self.random.randrange(3))
            ],
            links=[
                trace.Span.Link(
                    trace_id=self.trace_id(),
                    span_id=self.trace_id(8),
                    trace_state=self.random.choice(("", "l=1")),
                    attributes=self.attributes(),
                    dropped_attributes_count=self.count(),
                    flags=self.random.choice((0, 257)),
                )
                for _ in range(self.random.randrange(3))
            ],
            status=trace.Status(message=self.text(), code=self.number_of(0, 1, 2)),
        )

    def point_attributes(self) -> list[common.KeyValue]:
        """Attributes of a data point: few, so that points meet, sometimes with mapping hints."""
        pairs = [
            common.KeyValue(key=name, value=common.AnyValue(string_value=self.random.choice("xy")))
            for name in self.random.sample(("cpu", "state"), self.random.randrange(3))
        ]
        if self.maybe(0.15):
            pairs += self.attributes()
        if self.maybe(0.3):
            hints = ("aggregate_metric_double", "_doc_count", "histogram:raw", "unknown", "_noindex")
            chosen = [common.AnyValue(string_value=hint) for hint in self.random.sample(hints, 2)]
            value = common.AnyValue(array_value=common.ArrayValue(values=chosen))
            pairs.append(common.KeyValue(key="elasticsearch.mapping.hints", value=value))
        return pairs

    def number(self) -> metrics.NumberDataPoint:
        """A number, or sometimes none."""
        point = metrics.NumberDataPoint(attributes=self.point_attributes(), **self.point_times())
        if self.maybe(0.45):
            point.as_int = self.random.choice(INTEGERS)
        elif self.maybe(0.9):
            point.as_double = self.random.choice(DOUBLES)
        return point

    def point_times(self) -> dict[str, Any]:
        """Times of a data point: few, so that points meet."""
        return {
            "time_unix_nano": self.random.choice((START, START + 10**9)),
            "start_time_unix_nano": self.random.choice((0, START - 10**9)),
        }

    def metric(self) -> metrics.Metric:
        """A metric of any kind with a few points."""
        metric = metrics.Metric(
            name=self.random.choice(("m.a", "m.b", "m.c", "m<d>", "m.e", "m.f")),
            unit=self.random.choice(("", "By", "1")),
        )
        makers: Sequence[Callable[[metrics.Metric], Any]] = (
            self._gauge,
            self._sum,
            self._histogram,
            self._exponential,
            self._summary,
        )
        self.random.choice(makers)(metric)
        return metric

    def _points(self, make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(self.random.randrange(4))]

    def _gauge(self, metric: metrics.Metric) -> None:
        metric.gauge.data_points.extend(self._points(self.number))

    def _sum(self, metric: metrics.Metric) -> None:
        metric.sum.aggregation_temporality = self.number_of(0, 1, 2)
        metric.sum.is_monotonic = self.maybe()
        metric.sum.data_points.extend(self._points(self.number))

    def _histogram(self, metric: metrics.Metric) -> None:
        metric.histogram.aggregation_temporality = self.number_of(1, 1, 1, 2)
        metric.histogram.data_points.extend(self._points(self._histogram_point))

    def _histogram_point(self) -> metrics.HistogramDataPoint:
        bounds = self.random.choice(([], [1.0, 5.0, 10.0], [-2.0, 0.0, 3.5], [0.1]))
        size = self.random.choice((len(bounds) + 1, len(bounds) + 1, len(bounds) + 1, 0, 2))
        counts = [self.random.choice((0, 1, 7, 1 << 61)) for _ in range(size)]
        return metrics.HistogramDataPoint(
            attributes=self.point_attributes(),
            count=sum(counts) % (1 << 64),
            sum=self.random.choice((0.0, 10.5, -3.25)),
            explicit_bounds=bounds,
            bucket_counts=counts,
            **self.point_times(),
        )

    def _exponential(self, metric: metrics.Metric) -> None:
        metric.exponential_histogram.aggregation_temporality = self.number_of(1, 1, 1, 2)
        metric.exponential_histogram.data_points.extend(self._points(self._exponential_point))

    def _exponential_point(self) -> metrics.ExponentialHistogramDataPoint:
        buckets = metrics.ExponentialHistogramDataPoint.Buckets
        return metrics.ExponentialHistogramDataPoint(
            attributes=self.point_attributes(),
            count=6,
            sum=self.random.choice((0.0, 10.5)),
            scale=self.random.choice((-3, 0, 1, 5, 20)),
            zero_count=self.random.choice((0, 2)),
            positive=buckets(offset=self.random.randrange(-4, 5), bucket_counts=self._bucket_counts()),
            negative=buckets(offset=self.random.randrange(-4, 5), bucket_counts=self._bucket_counts()),
            **self.point_times(),
        )

    def _bucket_counts(self) -> list[int]:
        return [self.random.choice((0, 1, 300)) for _ in range(self.random.randrange(4))]

    def _summary(self, metric: metrics.Metric) -> None:
        metric.summary.data_points.extend(self._points(self._summary_point))

    def _summary_point(self) -> metrics.SummaryDataPoint:
        return metrics.SummaryDataPoint(
            attributes=self.point_attributes(),
            count=self.random.choice((0, 4, (1 << 64) - 1)),
            sum=self.random.choice((0.0, 10.5, float("nan"))),
            **self.point_times(),
        )

    def resource_logs(self, records: int = 4) -> logs.ResourceLogs:
        """Logs of one resource and two scopes."""
        scopes = [
            logs.ScopeLogs(
                scope=self.scope(), schema_url=self.schema(), log_records=[self.log() for _ in range(records)]
            )
            for _ in range(2)
        ]
        return logs.ResourceLogs(resource=self.resource(), schema_url=self.schema(), scope_logs=scopes)

    def resource_spans(self, records: int = 4) -> trace.ResourceSpans:
        """Spans of one resource and two scopes."""
        scopes = [
            trace.ScopeSpans(scope=self.scope(), schema_url=self.schema(), spans=[self.span() for _ in range(records)])
            for _ in range(2)
        ]
        return trace.ResourceSpans(resource=self.resource(), schema_url=self.schema(), scope_spans=scopes)

    def resource_metrics(self, records: int = 6) -> metrics.ResourceMetrics:
        """Metrics of one resource and two scopes."""
        scopes = [
            metrics.ScopeMetrics(
                scope=self.scope(), schema_url=self.schema(), metrics=[self.metric() for _ in range(records)]
            )
            for _ in range(2)
        ]
        return metrics.ResourceMetrics(resource=self.resource(), schema_url=self.schema(), scope_metrics=scopes)

    def parts(self, signal: str, resources: int = 3, records: int = 4) -> list[bytes]:
        """Serialized Resource* messages of a signal."""
        make = {"logs": self.resource_logs, "traces": self.resource_spans, "metrics": self.resource_metrics}[signal]
        return [make(records).SerializeToString() for _ in range(resources)]
