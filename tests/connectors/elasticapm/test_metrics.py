"""What is made of spans, logs and metrics: names, kinds, units, dimensions and values."""

from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

from apm_metrics import DESTINATION, INSTANCE, NOON, Bench, Row, attributes, resource_spans, span, transaction
from heliograph.component.batch import Batch
from heliograph.component.ids import Signal

_MINUTE_ATTRIBUTES = {"metricset.interval": "1m", "processor.event": "metric"}


def only(found: list[Row], metric: str, dataset: str) -> Row:
    """The one point of a metric in a data stream."""
    matching = [row for row in found if row.metric == metric and row.dataset == dataset]
    assert len(matching) == 1, found
    return matching[0]


async def test_a_transaction_is_in_three_metrics_of_two_metricsets_and_in_the_summary(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(transaction(us=1500), transaction(us=500, values={"event.outcome": "failure"})))
    found = await bench.rows()
    assert {(row.metric, row.dataset, row.kind, row.unit) for row in found} == {
        ("service_summary", "service_summary.1m", "sum", ""),
        *(
            (metric, f"{metricset}.1m", kind, "us")
            for metricset in ("service_transaction", "transaction")
            for metric, kind in (
                ("transaction.duration.histogram", "exponential_histogram"),
                ("transaction.duration.summary", "histogram"),
                ("event.success_count", "histogram"),
            )
        ),
    }
    assert only(found, "service_summary", "service_summary.1m").value == 2
    histogram = only(found, "transaction.duration.histogram", "service_transaction.1m")
    assert (histogram.count, histogram.value) == (2, 2000)
    assert (histogram.point.min, histogram.point.max) == (500, 1500)
    assert sum(histogram.point.positive.bucket_counts) == 2
    assert histogram.attributes == {
        **_MINUTE_ATTRIBUTES,
        "metricset.name": "service_transaction",
        "data_stream.dataset": "service_transaction.1m",
        "transaction.root": True,
        "transaction.type": "request",
        "elasticsearch.mapping.hints": ["_doc_count"],
    }
    summary = only(found, "transaction.duration.summary", "service_transaction.1m")
    assert (summary.count, summary.value, list(summary.point.bucket_counts)) == (2, 2000, [0, 2])
    assert summary.attributes["elasticsearch.mapping.hints"] == ["aggregate_metric_double"]
    success = only(found, "event.success_count", "service_transaction.1m")
    assert (success.count, success.value, list(success.point.explicit_bounds)) == (2, 1, [1])


async def test_dimensions_of_metricset_transaction_include_name_result_and_outcome(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(transaction(root=False)))
    found = await bench.rows()
    assert only(found, "event.success_count", "transaction.1m").attributes == {
        **_MINUTE_ATTRIBUTES,
        "metricset.name": "transaction",
        "data_stream.dataset": "transaction.1m",
        "transaction.root": False,
        "transaction.type": "request",
        "transaction.name": "GET /",
        "transaction.result": "HTTP 2xx",
        "event.outcome": "success",
        "elasticsearch.mapping.hints": ["aggregate_metric_double"],
    }


@pytest.mark.parametrize(
    ("values", "datasets"),
    [
        ({"transaction.type": "request"}, {"service_summary.1m", "service_transaction.1m"}),
        (
            {"transaction.type": "request", "event.outcome": "success"},
            {"service_summary.1m", "service_transaction.1m", "transaction.1m"},
        ),
        ({"transaction.name": "x", "event.outcome": "success"}, {"service_summary.1m"}),
        (DESTINATION, {"service_summary.1m", "service_destination.1m"}),
        *(
            ({key: value for key, value in DESTINATION.items() if key != missing}, {"service_summary.1m"})
            for missing in DESTINATION
        ),
    ],
)
async def test_a_missing_dimension_leaves_a_metric_out_unless_it_is_optional(
    bench: Bench, values: dict[str, Any], datasets: set[str]
) -> None:
    await bench.start()
    await bench.send(resource_spans(span(values)))
    assert {row.dataset for row in await bench.rows()} == datasets


async def test_the_outcome_unknown_to_the_span_has_no_success_count(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(span({"transaction.type": "request"})))
    assert "event.success_count" not in {row.metric for row in await bench.rows()}


async def test_a_call_counts_its_time_and_number(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(*(span(DESTINATION, us=us, root=False, name="SELECT") for us in (100, 250))))
    found = await bench.rows()
    calls = only(found, "span.destination.service.response_time.count", "service_destination.1m")
    time = only(found, "span.destination.service.response_time.sum.us", "service_destination.1m")
    assert (calls.value, calls.unit, time.value, time.unit) == (2, "", 350.0, "us")
    assert calls.point.WhichOneof("value") == "as_int"
    assert time.point.WhichOneof("value") == "as_double"
    assert calls.attributes == time.attributes
    assert calls.attributes == {
        **_MINUTE_ATTRIBUTES,
        **DESTINATION,
        "span.name": "SELECT",
        "metricset.name": "service_destination",
        "data_stream.dataset": "service_destination.1m",
    }


async def test_a_composite_span_counts_the_calls_it_stands_for(bench: Bench) -> None:
    composite = {**DESTINATION, "span.composite.count": 7, "span.composite.sum.us": 900.5}
    await bench.start()
    await bench.send(resource_spans(span(composite, us=5000, trace_state="ot=th:8"), span(DESTINATION, us=100)))
    found = await bench.rows()
    assert only(found, "span.destination.service.response_time.count", "service_destination.1m").value == 7 * 2 + 1
    assert (
        only(found, "span.destination.service.response_time.sum.us", "service_destination.1m").value == 900.5 * 2 + 100
    )


async def test_a_sampled_span_counts_for_those_it_stands_for(bench: Bench) -> None:
    """th:c says that three of four were thrown away; p is not looked at, as in Elastic's."""
    await bench.start()
    await bench.send(
        resource_spans(
            transaction({**DESTINATION}, us=10, trace_state="ot=th:c"), transaction(us=30, trace_state="ot=p:3")
        )
    )
    found = await bench.rows()
    assert only(found, "service_summary", "service_summary.1m").value == 5
    histogram = only(found, "transaction.duration.histogram", "transaction.1m")
    assert (histogram.count, histogram.value, histogram.point.max) == (5, 70, 30)
    assert only(found, "event.success_count", "service_transaction.1m").value == 5
    assert only(found, "span.destination.service.response_time.count", "service_destination.1m").value == 4
    assert only(found, "span.destination.service.response_time.sum.us", "service_destination.1m").value == 40.0


async def test_a_bad_tracestate_and_a_broken_span_are_skipped_and_counted(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(transaction(), transaction(trace_state="ot=th:8;rv:0"), transaction()))
    assert bench.skipped("tracestate") == 1
    broken = resource_spans(transaction()).SerializeToString() + b"\x12\x06\x12\x04\x4a\x7f\x0a\x01"
    await bench.connector.consume(Batch(Signal.TRACES, [broken], 2))
    assert bench.skipped("odd") == 1
    assert only(await bench.rows(), "service_summary", "service_summary.1m").value == 3


async def test_a_span_that_ends_before_it_starts_took_no_time(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(transaction(us=-50)))
    histogram = only(await bench.rows(), "transaction.duration.histogram", "transaction.1m")
    assert (histogram.count, histogram.value, histogram.point.zero_count) == (1, 0, 1)


async def test_logs_and_data_points_are_in_the_summary_with_the_spans(bench: Bench) -> None:
    service = attributes({"service.name": "shop"})
    logs = ResourceLogs()
    logs.resource.attributes.extend(service)
    logs.scope_logs.add().log_records.add()
    logs.scope_logs.add().log_records.add()
    metrics = ResourceMetrics()
    metrics.resource.attributes.extend(service)
    points = metrics.scope_metrics.add().metrics.add(name="m").gauge.data_points
    for _ in range(3):
        points.add()
    await bench.start()
    await bench.send(resource_spans(span(), transaction()))
    await bench.send(logs)
    await bench.send(metrics)
    summary = only(await bench.rows(), "service_summary", "service_summary.1m")
    assert (summary.value, summary.attributes["metricset.name"]) == (7, "service_summary")


async def test_the_resource_has_few_attributes_and_that_of_transactions_more(bench: Bench) -> None:
    common = {"service.name": "shop", "deployment.environment": "qa", "telemetry.sdk.language": "go"}
    more = {"agent.name": "otlp/go", "data_stream.namespace": "prod", "team": "blue"}
    of_transactions = {
        "service.version": "3",
        "k8s.pod.name": "p-1",
        "cloud.machine.type": "m4",
        "faas.coldstart": True,
    }
    await bench.start({"custom_resource_attributes": ["team", {"key": "absent"}]})
    await bench.send(resource_spans(transaction(), resource={**common, **more, **of_transactions, "other": "x"}))
    for row in await bench.rows():
        extra = of_transactions if row.dataset == "transaction.1m" else {}
        assert {**row.resource, INSTANCE: ""} == {**common, **more, **extra, INSTANCE: ""}
        assert len(row.resource[INSTANCE]) == 36


async def test_an_agent_without_a_name_is_unknown(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(span()))
    assert (await bench.rows())[0].resource["agent.name"] == "unknown"


async def test_custom_span_attributes_are_dimensions_where_present(bench: Bench) -> None:
    await bench.start({"custom_span_attributes": ["tenant", "absent"]})
    await bench.send(resource_spans(*(transaction({"tenant": tenant}) for tenant in ("a", "b", "b"))))
    found = await bench.rows()
    counts = {
        (row.dataset, row.attributes["tenant"]): row.count
        for row in found
        if row.metric == "transaction.duration.summary"
    }
    assert counts == {
        (f"{metricset}.1m", tenant): count
        for metricset in ("transaction", "service_transaction")
        for tenant, count in (("a", 1), ("b", 2))
    }
    assert "tenant" not in only(found, "service_summary", "service_summary.1m").attributes


async def test_attributes_that_say_what_the_span_says_itself_are_overruled(bench: Bench) -> None:
    await bench.start({"custom_span_attributes": []})
    await bench.send(resource_spans(transaction({"transaction.root": True}, root=False)))
    assert only(await bench.rows(), "event.success_count", "transaction.1m").attributes["transaction.root"] is False


async def test_nothing_has_a_start_and_all_is_delta_at_the_begin_of_its_window(bench: Bench) -> None:
    await bench.start()
    await bench.send(resource_spans(transaction(DESTINATION)))
    found = await bench.rows(3600)
    assert len(found) == 9 * 3
    for row in found:
        assert row.point.start_time_unix_nano == 0
        assert row.time == NOON
    for message in bench.sink.messages:
        for scope in message.scope_metrics:
            assert scope.scope.name.endswith("/signaltometricsconnector")
            for metric in scope.metrics:
                data = getattr(metric, metric.WhichOneof("data"))
                assert data.aggregation_temporality == 1
                if metric.HasField("sum"):
                    assert not data.is_monotonic
