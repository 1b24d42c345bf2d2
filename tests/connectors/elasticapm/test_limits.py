"""Limits of cardinality: what does not fit is under `_other`, and nothing grows without end."""

from collections.abc import Mapping
from typing import Any

import pytest

from apm_metrics import DESTINATION, Bench, resource_spans, span, transaction
from heliograph.component.batch import Context
from heliograph.connectors.elasticapm import aggregator, window
from heliograph.connectors.elasticapm.cardinality import Estimator


def limits(**values: int) -> Mapping[str, Any]:
    """A configuration."""
    return {"aggregation": {"limits": {name: {"max_cardinality": value} for name, value in values.items()}}}


async def test_resources_beyond_the_limit_are_one_called_other(bench: Bench) -> None:
    """Nothing of their values is lost, in any interval."""
    await bench.start(limits(resource=2))
    for number in range(6):
        await bench.send(resource_spans(span(DESTINATION), span(), resource={"service.name": f"s{number}"}))
    found = await bench.rows(3600)
    for interval in ("1m", "10m", "60m"):
        values = {
            (row.resource["service.name"], row.resource.get("overflow"), row.value)
            for row in found
            if row.dataset == f"service_summary.{interval}"
        }
        assert values == {("s0", None, 2), ("s1", None, 2), ("_other", "resource", 8)}
        calls = [row.value for row in found if row.dataset == f"service_destination.{interval}" and not row.unit]
        assert sorted(calls) == [1, 1, 4]
    labels = {"connector": "elasticapm", "interval": "1m", "kind": "resource"}
    assert bench.settings.telemetry.metrics.value("otelcol_lsminterval_overflow", labels) == 4


async def test_points_beyond_the_limit_are_one_called_other_and_their_number_is_estimated(bench: Bench) -> None:
    await bench.start(limits(datapoint=3))
    spans = [transaction({"transaction.name": f"t{n}", "team": "x"}, us=10, root=n % 2 == 0) for n in range(50)]
    await bench.send(resource_spans(*spans, resource={"service.name": "shop", "host.name": "h"}))
    found = [row for row in await bench.rows(3600) if row.dataset == "transaction.10m"]
    counts = {
        row.attributes.get("transaction.name"): (row.count, row.attributes.get("overflow"))
        for row in found
        if row.metric == "transaction.duration.histogram"
    }
    assert counts == {"t0": (1, None), "t1": (1, None), "t2": (1, None), "_other": (47, "datapoint")}
    (estimated,) = [row for row in found if row.metric == "_overflow_datapoints"]
    assert 44 <= estimated.value <= 50
    assert estimated.attributes["overflow"] == "datapoint"


async def test_metrics_beyond_the_limit_are_left_out_and_counted(bench: Bench) -> None:
    await bench.start(limits(metric=1))
    await bench.send(resource_spans(span(DESTINATION), span()))
    found = [row for row in await bench.rows() if row.dataset.endswith(".1m")]
    assert {(row.metric, row.value) for row in found} == {
        ("span.destination.service.response_time.sum.us", 1000.0),
        ("_overflow_metric", 2),
    }


async def test_no_limit_is_still_one_on_the_points_of_a_window(bench: Bench, limited: None) -> None:
    """The product of 8000 resources and 4000 points is no bound."""
    await bench.start(limits(resource=0, datapoint=0))
    for service in range(8):
        spans = [transaction({"transaction.name": f"t{n}"}) for n in range(10)]
        await bench.send(resource_spans(*spans, resource={"service.name": f"s{service}"}))
    found = await bench.rows(3600)
    for interval in ("1m", "10m", "60m"):
        counts = [
            row.count
            for row in found
            if row.dataset == f"transaction.{interval}" and row.metric == "transaction.duration.histogram"
        ]
        assert sum(counts) == 80
        assert len(counts) < 45


@pytest.fixture
def limited() -> Any:
    """Windows of 40 points."""
    before = window.MAX_POINTS
    window.MAX_POINTS = 40
    yield
    window.MAX_POINTS = before


async def test_cells_that_are_too_many_become_metrics_early(bench: Bench) -> None:
    """Many names: the cells stay below their limit, and the points, too."""
    await bench.start()
    for part in range(4):
        await bench.send(resource_spans(*(transaction({"transaction.name": f"{part}-{n}"}) for n in range(5000))))
        assert bench.connector._aggregator._cells_weight() <= aggregator.MAX_CELL_BYTES
    found = [row for row in await bench.rows(least=3 * 4000) if row.metric == "event.success_count"]
    assert sum(row.count for row in found if row.dataset == "transaction.1m") == 20_000
    assert len(found) < 4005


async def test_metadata_that_a_sender_makes_up_is_bounded(bench: Bench) -> None:
    await bench.start({"aggregation": {"metadata_keys": ["tenant"]}})
    for number in range(aggregator.MAX_GROUPS + 5):
        await bench.send(resource_spans(span()), context=Context(metadata={"tenant": (str(number),)}))
    assert bench.skipped("metadata") == 5
    assert (
        len([row for row in await bench.rows(least=1000) if row.dataset == "service_summary.1m"])
        == aggregator.MAX_GROUPS
    )


@pytest.mark.parametrize("number", [1, 10, 300, 5000, 100_000])
def test_estimates_are_near_the_truth_and_merging_changes_nothing(number: int) -> None:
    whole, halves = Estimator(), (Estimator(), Estimator())
    for n in range(number):
        thing = (str(n).encode(), b"x")
        whole.add(thing)
        halves[n % 2].add(thing)
    halves[1].merge(halves[0])
    assert halves[1].registers == whole.registers
    assert abs(whole.estimate() - number) <= max(1, number * 0.1)
