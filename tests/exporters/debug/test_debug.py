"""The debug exporter's text, side by side with the upstream Collector's, and where it is written."""

import logging
import os
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shown_sample as sample
from heliograph.component.batch import Batch
from heliograph.component.errors import ConfigError, StartError
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.exporters.debug import FACTORY
from heliograph.exporters.debug.config import DebugConfig
from heliograph.exporters.debug.exporter import Sampler
from heliograph.exporters.debug.values import decimal, general, timestamp
from heliograph.otlp.request import request
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings

GOLDEN = Path(__file__).parent / "golden"
VERBOSITIES = ("basic", "normal", "detailed")


async def shown(batches: list[Batch], path: Path, **keys: object) -> str:
    """What our exporter writes for these batches."""
    config = from_plain(DebugConfig, {"use_internal_logger": False, "output_paths": [str(path)], **keys})
    for batch in batches:
        exporter: Any = FACTORY.create(settings("exporter", "debug", batch.signal), config)
        host = TestHost(clock=ManualClock())
        await exporter.start(host)
        await exporter.consume(batch)
        await exporter.shutdown(0)
        await host.close()
    return text_of(path)


def text_of(path: Path) -> str:
    return path.read_text()


def comparable(text: str) -> str:
    """Two things differ on purpose or by the last bit: upstream 0.156 writes the resource's number in place of the
    scope's in the normal form, and its exponential function rounds differently on some processors."""
    text = re.sub(r"^(Scope(?:Log|Traces|Metrics)) #\d+", r"\1 #", text, flags=re.MULTILINE)
    return re.sub(r"\d+\.\d{13,}", lambda found: f"{float(found[0]):.12g}", text)


@pytest.mark.parametrize("verbosity", VERBOSITIES)
async def test_the_text_is_as_recorded_from_upstream(tmp_path: Path, verbosity: str) -> None:
    ours = await shown(sample.batches(), tmp_path / "out", verbosity=verbosity)
    assert comparable(ours) == comparable((GOLDEN / f"{verbosity}.txt").read_text())


@pytest.mark.peer
def test_the_recorded_text_is_what_upstream_writes(
    tmp_path: Path, upstream_collector: Callable[[str], Any], free_port: Callable[[], int]
) -> None:
    """Run with HELIOGRAPH_RECORD=1 to write the golden files anew."""
    port = free_port()
    exporters = "\n".join(
        f"  debug/{name}: {{verbosity: {name}, use_internal_logger: false, output_paths: [{tmp_path}/{name}.txt]}}"
        for name in VERBOSITIES
    )
    pipeline = f"{{receivers: [otlp], exporters: [{', '.join(f'debug/{name}' for name in VERBOSITIES)}]}}"
    collector = upstream_collector(
        f"receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n"
        f"exporters:\n{exporters}\n"
        "service:\n  telemetry: {metrics: {level: none}}\n"
        f"  pipelines: {{logs: {pipeline}, traces: {pipeline}, metrics: {pipeline}}}\n"
    )
    for batch in sample.batches():
        post = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/{batch.signal}",
            data=request(batch.parts),
            headers={"Content-Type": "application/x-protobuf"},
        )
        with urllib.request.urlopen(post) as answer:
            assert answer.status == 200
    collector.stop()
    for name in VERBOSITIES:
        if os.environ.get("HELIOGRAPH_RECORD"):
            (GOLDEN / f"{name}.txt").write_text(text_of(tmp_path / f"{name}.txt"))
        assert text_of(tmp_path / f"{name}.txt") == (GOLDEN / f"{name}.txt").read_text()


async def test_the_internal_logger_gets_the_text_and_the_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "heliograph")
    config = from_plain(DebugConfig, {"verbosity": "normal"})
    exporter: Any = FACTORY.create(settings("exporter", "debug", "logs"), config)
    async with TestHost() as host:
        await exporter.start(host)
        await exporter.consume(sample.batches()[0])
        await exporter.shutdown(0)
    assert caplog.messages[0] == 'Logs\t{"resource logs": 2, "log records": 6}'
    assert caplog.messages[1].startswith("ResourceLog #0 [https://x/1] service.name=svc k8s.pod.name=p\n")


async def test_equal_messages_are_sampled_by_the_second() -> None:
    clock = ManualClock()
    sampler = Sampler(2, 3, clock)
    assert [sampler.passes("a") for _ in range(9)] == [True, True, False, False, True, False, False, True, False]
    assert sampler.passes("b")
    await clock.advance(1)
    assert sampler.passes("a")
    never = Sampler(1, 0, clock)
    assert [never.passes("a") for _ in range(3)] == [True, False, False]


async def test_a_path_that_cannot_be_opened_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot open .*missing/out: No such file"):
        await shown(sample.batches()[:1], tmp_path / "missing" / "out")


async def test_stdout_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    config = from_plain(DebugConfig, {"use_internal_logger": False})
    exporter: Any = FACTORY.create(settings("exporter", "debug", "traces"), config)
    async with TestHost() as host:
        await exporter.start(host)
        await exporter.consume(sample.batches()[1])
        await exporter.shutdown(0)
    assert capsys.readouterr().out == 'Traces\t{"resource spans": 1, "spans": 3}\n'


async def test_sending_queue_may_be_used(tmp_path: Path) -> None:
    text = await shown(
        [Batch(Signal.LOGS, [b""], 0)], tmp_path / "out", sending_queue={"num_consumers": 1, "batch": {"min_size": 0}}
    )
    assert text == 'Logs\t{"resource logs": 1, "log records": 0}\n'


def test_numbers_are_written_as_go_does() -> None:
    assert [general(number) for number in (0.0, -0.0, 1e5, 1e6, 1.5e-5, 12.25, 1e100)] == [
        "0", "-0", "100000", "1e+06", "1.5e-05", "12.25", "1e+100"
    ]  # fmt: skip
    assert [decimal(number) for number in (1e20, 1e21, 1e-6, 1e-7, 2.0)] == [
        "100000000000000000000", "1e+21", "0.000001", "1e-7", "2"
    ]  # fmt: skip


def test_any_time_can_be_written() -> None:
    assert timestamp(0) == "1970-01-01 00:00:00 +0000 UTC"
    assert timestamp(1_700_000_000_100_000_000) == "2023-11-14 22:13:20.1 +0000 UTC"
    assert timestamp((1 << 64) - 1).endswith("UTC")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"output_paths": ["stdout"]}, "use_internal_logger"),
        ({"use_internal_logger": False, "output_paths": []}, "must not be empty"),
        ({"verbosity": "loud"}, "verbosity"),
        ({"sampling_initial": -1}, "sampling_initial"),
    ],
)
def test_rules_name_the_key(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_plain(DebugConfig, keys)
