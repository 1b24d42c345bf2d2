"""The graph: instances, order of starting, and mistakes in upstream's words."""

import pytest

from heliograph.app.collector import check
from heliograph.component.errors import ConfigError
from heliograph.component.ids import Kind
from heliograph.testing.parts import Parts, configuration


def planned(pipelines: dict[str, tuple[str, str, str]], connectors: str = ""):
    return check(configuration(pipelines, connectors=connectors), Parts().factory)


def mistakes(pipelines: dict[str, tuple[str, str, str]], connectors: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        planned(pipelines, connectors)
    return str(caught.value).removeprefix("failed to build pipelines: ").split("\nfailed to build pipelines: ")


def test_instances_are_one_per_id_pipeline_or_signal() -> None:
    """A receiver is made once for all pipelines, a processor once for each, an exporter once for each signal."""
    plan = planned({"logs": ("tap", "pass", "sink"), "logs/2": ("tap", "pass", "sink"), "traces": ("tap", "", "sink")})
    kinds = [instance.kind for instance in plan.order]
    assert kinds.count(Kind.RECEIVER) == 1
    assert kinds.count(Kind.PROCESSOR) == 2
    assert kinds.count(Kind.EXPORTER) == 2


def test_order_starts_what_is_fed_before_what_feeds_it() -> None:
    """Exporters, then each processor and connector after everything behind it, receivers last."""
    plan = planned({"logs": ("tap", "pass/1 pass/2", "link"), "logs/2": ("link", "pass/3", "sink")}, "link")
    assert [str(instance.id) for instance in plan.order] == ["sink", "pass/3", "link", "pass/2", "pass/1", "tap"]


def test_a_connector_used_at_one_end_only_is_refused_as_upstream_does() -> None:
    """Both ends have their message."""
    assert mistakes({"logs": ("tap", "", "link")}, "link") == [
        'connector "link" used as exporter in [logs] pipeline but not used in any supported receiver pipeline'
    ]
    assert mistakes({"logs": ("link", "", "sink")}, "link") == [
        'connector "link" used as receiver in [logs] pipeline but not used in any supported exporter pipeline'
    ]


def test_a_connector_that_cannot_join_the_signals_is_refused() -> None:
    """forward joins equal signals; every mistake is told, not only the first."""
    found = mistakes({"logs": ("tap", "", "forward"), "traces": ("forward", "", "sink")}, "forward")
    assert len(found) == 2
    assert all('connector "forward" used as' in text for text in found)


def test_a_cycle_is_told_with_its_way() -> None:
    """The words of upstream for a cycle over two connectors."""
    pipelines = {"logs": ("tap link/b", "", "link"), "logs/2": ("link", "", "link/b")}
    assert mistakes(pipelines, "link link/b") == [
        'cycle detected: connector "link/b" (logs to logs) -> connector "link" (logs to logs) -> '
        'connector "link/b" (logs to logs)'
    ]
    assert mistakes({"logs": ("link", "pass", "link")}, "link") == [
        'cycle detected: connector "link" (logs to logs) -> processor "pass" in pipeline "logs" -> '
        'connector "link" (logs to logs)'
    ]


def test_a_signal_that_a_component_does_not_do_is_refused() -> None:
    """With the signal and the pipeline."""
    found = mistakes({"traces": ("log_tap", "", "sink")})
    assert found == ['failed to create "log_tap" receiver for data type "traces": telemetry type is not supported']
