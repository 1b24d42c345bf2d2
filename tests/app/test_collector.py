"""A whole Collector in one event loop: order of life, crashes, what is left after a failed start, the ledger."""

import asyncio
import logging

import pytest

from heliograph.app.collector import Collector
from heliograph.component.batch import DELIVERED, Batch, Completion, Outcome
from heliograph.component.errors import Overloaded, Permanent, StartError
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.testing.parts import Parts, Pass, configuration
from heliograph.testing.wait import until


def logs(items: int = 1, outcomes: list[Outcome] | None = None, part: bytes = b"") -> Batch:
    completion = None if outcomes is None else Completion(outcomes.append)
    return Batch(Signal.LOGS, (part,), items, completion=completion)


async def test_life_goes_back_to_front_and_front_to_back() -> None:
    """Extensions and exporters first, receivers last; the other way at the end."""
    parts = Parts()
    loaded = configuration(
        {"logs": ("tap", "pass/1", "link"), "logs/2": ("link", "pass/2", "sink")}, connectors="link", extensions="side"
    )
    collector = Collector(loaded, factories=parts.factory)
    await collector.start()
    forth = ["extension/side", "exporter/sink/logs", "processor/pass/2/logs", "connector/link", "processor/pass/1/logs"]
    assert parts.events == [f"start {name}" for name in [*forth, "receiver/tap"]]
    assert collector.health.ready()
    parts.events.clear()
    await collector.shutdown(1)
    assert parts.events == [f"stop {name}" for name in ["receiver/tap", *reversed(forth)]]
    assert not collector.health.ready()
    assert {status for status, _ in collector.health.statuses().values()} == {Status.STOPPED}


async def test_a_connector_gets_nothing_that_an_exporter_may_refuse() -> None:
    """It stands before the exporter in the file; it is asked after it, so that what comes again is counted once."""
    parts = Parts()
    loaded = configuration({"logs": ("tap", "", "link sink"), "logs/2": ("link", "", "sink/2")}, connectors="link")
    collector = Collector(loaded, factories=parts.factory)
    await collector.start()
    parts.sink("sink", "logs").refuse = Overloaded("full")
    with pytest.raises(Overloaded):
        await parts.push("tap", logs(5))
    assert parts.sink("sink/2", "logs").items == 0
    await collector.shutdown(1)


async def test_data_flows_through_connector_and_fan_out_and_the_ledger_closes() -> None:
    """One receiver, two pipelines joined by a connector, three exporters; counted at every station."""
    parts = Parts()
    loaded = configuration(
        {"logs": ("tap", "pass", "sink link"), "logs/2": ("tap link", "", "sink/2 sink/3")}, connectors="link"
    )
    collector = Collector(loaded, factories=parts.factory)
    await collector.start()
    outcomes: list[Outcome] = []
    await parts.push("tap", logs(5, outcomes))
    assert outcomes == [DELIVERED]
    assert parts.sink("sink", "logs").items == 5
    assert parts.sink("sink/2", "logs").items == parts.sink("sink/3", "logs").items == 10
    account = collector.ledger[Signal.LOGS]
    assert (account.received, account.copied, account.sent) == (5, 20, 25)
    assert collector.ledger.closes()
    for direction in ("incoming", "outgoing"):
        labels = {"processor": "pass", "otel_signal": "logs"}
        assert collector.metrics.value(f"otelcol_processor_{direction}_items", labels) == 5
    await collector.shutdown(1)


async def test_a_failed_start_shuts_down_what_was_started_and_names_who_and_why() -> None:
    """The receiver fails: exporter and processor are stopped again, nothing keeps running."""
    parts = Parts(fail={"receiver/tap": StartError("port 1 is taken")})
    collector = Collector(configuration({"logs": ("tap", "pass", "sink")}), factories=parts.factory)
    with pytest.raises(StartError, match=r'failed to start "tap" receiver: port 1 is taken'):
        await collector.start()
    assert [event for event in parts.events if event.startswith("stop")] == [
        "stop receiver/tap",
        "stop processor/pass/logs",
        "stop exporter/sink/logs",
    ]
    assert [task for task in asyncio.all_tasks() if "work" in task.get_name()] == []


async def test_a_foreign_exception_at_start_is_a_start_error_too() -> None:
    """A mistake in a component does not come out as a bare exception."""
    parts = Parts(fail={"exporter/sink": ValueError("oops")})
    collector = Collector(configuration({"logs": ("tap", "", "sink")}), factories=parts.factory)
    with pytest.raises(StartError, match=r'failed to start "sink" exporter: ValueError: oops'):
        await collector.start()


async def test_a_crash_shows_in_health_and_takes_no_sibling_down(caplog: pytest.LogCaptureFixture) -> None:
    """Background work of one exporter dies: status and log say so, data goes on to the other, its report of OK does
    not hide it."""
    parts = Parts()
    collector = Collector(configuration({"logs": ("tap", "", "sink sink/2")}), factories=parts.factory)
    await collector.start()
    broken = parts.sink("sink", "logs")
    assert broken.crash is not None
    assert broken.host is not None
    with caplog.at_level(logging.ERROR):
        broken.crash.set_exception(ZeroDivisionError("bug in it"))
        await until(lambda: collector.health.statuses()["exporter/sink"][0] is Status.PERMANENT_ERROR)
    assert "ZeroDivisionError: bug in it" in collector.health.statuses()["exporter/sink"][1]
    assert "Traceback" in caplog.text
    broken.host.report(Status.OK)
    assert collector.health.statuses()["exporter/sink"][0] is Status.PERMANENT_ERROR
    assert collector.health.statuses()["exporter/sink/2"][0] is Status.OK
    assert collector.health.ready()
    await parts.push("tap", logs())
    assert parts.sink("sink/2", "logs").items == 1
    await collector.shutdown(1)


async def test_a_processor_that_raises_is_answered_as_permanent_and_the_next_batch_passes() -> None:
    """A mistake on one batch is told to its sender and harms nobody else."""
    parts = Parts()
    collector = Collector(configuration({"logs": ("tap", "pass", "sink")}), factories=parts.factory)
    await collector.start()
    processor = parts.part("processor/pass/logs")
    assert isinstance(processor, Pass)
    processor.error = IndexError("bug")
    with pytest.raises(Permanent, match="IndexError"):
        await parts.push("tap", logs())
    processor.error = None
    await parts.push("tap", logs())
    assert parts.sink("sink", "logs").items == 1
    assert collector.metrics.value("otelcol_receiver_failed_log_records", {"receiver": "tap", "transport": ""}) == 1
    assert collector.ledger.closes()
    await collector.shutdown(1)


async def test_shutdown_goes_past_components_that_fail_or_hang(caplog: pytest.LogCaptureFixture) -> None:
    """One raises, one never returns: the others are stopped, and it says who."""
    parts = Parts()
    collector = Collector(configuration({"logs": ("tap", "pass", "sink sink/2")}), factories=parts.factory)
    await collector.start()
    parts.part("receiver/tap").fail_stop = OSError("no")
    parts.sink("sink", "logs").hang = True
    with caplog.at_level(logging.ERROR):
        await collector.shutdown(0)
    assert "stop exporter/sink/2/logs" in parts.events
    assert "did not stop within" in caplog.text
    assert "failed to stop" in caplog.text
    assert {status for status, _ in collector.health.statuses().values()} == {Status.STOPPED}


async def test_asking_for_an_extension_that_is_not_there_says_what_is() -> None:
    """The message has the id, what is started, and where to write it."""
    parts = Parts()
    collector = Collector(configuration({"logs": ("tap", "", "sink")}, extensions="side"), factories=parts.factory)
    await collector.start()
    host = parts.part("receiver/tap").host
    assert host is not None
    with pytest.raises(StartError, match=r'extension "other" is not started \(started: side\)'):
        host.extension(type(parts.part("extension/side").settings.id)("other"), Parts)
    with pytest.raises(StartError, match=r'extension "side" does not offer Parts'):
        host.extension(type(parts.part("extension/side").settings.id)("side"), Parts)
    await collector.shutdown(1)
