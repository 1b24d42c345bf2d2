"""The real process: start, signals, exit codes, the ledger at the end."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliograph.app.run import SAME_SIGNAL_SECONDS

PROGRAM = """
import os, sys
from heliograph.app.run import SAME_SIGNAL_SECONDS
from heliograph.app.run import run
from heliograph.config.load import load
sys.exit(run(load(sys.argv[1:], [], os.environ)))
"""

Start = Callable[..., "Process"]


class Process:
    """A running Collector; its log goes to a file."""

    def __init__(self, config: str, log: Path, environ: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, f"yaml:{config}"],
                stdout=output,
                stderr=output,
                env={**os.environ, **environ},
            )

    def wait_for(self, text: str, timeout: float = 15) -> None:
        """Return when the log has this text."""
        end = time.monotonic() + timeout
        while text not in self.log.read_text():
            if time.monotonic() > end or (self.popen.poll() is not None and text not in self.log.read_text()):
                raise AssertionError(f"{text!r} is not in the log:\n{self.log.read_text()}")
            time.sleep(0.02)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; the exit code and the log."""
        self.popen.send_signal(number)
        return self.popen.wait(15), self.log.read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processes and ends what is left."""
    running: list[Process] = []

    def begin(config: str, **environ: str) -> Process:
        running.append(Process(config, tmp_path / f"log-{len(running)}", environ))
        return running[-1]

    yield begin
    for process in running:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def nop(metrics: str = "{level: none}", extra: str = "") -> str:
    return f"""
receivers: {{nop: {{}}}}
exporters: {{nop: {{}}}}
{extra}
  telemetry: {{metrics: {metrics}, logs: {{encoding: json}}}}
  pipelines: {{logs: {{receivers: [nop], exporters: [nop]}}}}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_prints_the_ledger_and_exits_0(start: Start, number: signal.Signals) -> None:
    """Either signal; every line of the log is JSON when it is asked for."""
    process = start(nop(extra="service:"))
    process.wait_for("everything is ready")
    code, log = process.end(number)
    assert code == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert lines[-1]["msg"] == "shutdown complete"
    assert any(f"received {number.name}: draining" in line["msg"] for line in lines)
    assert lines[0]["resource"]["service.name"] == "heliograph"


def test_health_and_own_metrics_answer_while_it_runs(start: Start, free_port: Callable[[], int]) -> None:
    """13133 and 8888 on other ports: upstream's JSON, upstream's names, the ledger, the resource."""
    health, metrics = free_port(), free_port()
    reader = f"{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}"
    extra = f"extensions: {{health_check: {{endpoint: '127.0.0.1:{health}'}}}}\nservice:\n  extensions: [health_check]"
    process = start(nop(f"{{readers: [{reader}]}}", extra))
    process.wait_for("everything is ready")
    status, body = get(f"http://127.0.0.1:{health}/")
    assert status == 200
    assert json.loads(body).keys() == {"status", "upSince", "uptime"}
    assert json.loads(body)["status"] == "Server available"
    status, text = get(f"http://127.0.0.1:{metrics}/metrics")
    assert status == 200
    for name in ("otelcol_process_uptime", "otelcol_process_cpu_seconds", "otelcol_process_memory_rss", "target_info"):
        assert f"\n{name}" in text
    assert 'heliograph_ledger_items{entry="received",signal="logs"} 0' in text
    assert 'service_name="heliograph"' in text
    assert get(f"http://127.0.0.1:{metrics}/")[0] == 404
    assert process.end()[0] == 0


def test_a_taken_port_is_told_with_its_key_and_exits_1(start: Start, free_port: Callable[[], int]) -> None:
    """The second process on the same metrics port."""
    port = free_port()
    reader = f"{{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {port}}}}}}}}}]}}"
    start(nop(reader, "service:")).wait_for("everything is ready")
    second = start(nop(reader, "service:"))
    assert second.popen.wait(15) == 1
    assert f"cannot listen on 127.0.0.1:{port}: the port is taken" in second.log.read_text()
    assert "service::telemetry::metrics::readers" in second.log.read_text()


def test_a_wrong_graph_exits_1(start: Start) -> None:
    """What only the graph shows is told at start."""
    text = nop(extra="connectors: {forward: {}}\nservice:")
    text = text.replace("receivers: [nop], exporters: [nop]", "receivers: [nop, forward], exporters: [nop, forward]")
    process = start(text)
    assert process.popen.wait(15) == 1
    assert 'cycle detected: connector \\"forward\\" (logs to logs)' in process.log.read_text()


def test_a_wrong_drain_time_exits_1(start: Start) -> None:
    """The variable is named."""
    process = start(nop(extra="service:"), HELIOGRAPH_DRAIN_SECONDS="soon")
    assert process.popen.wait(15) == 1
    assert "HELIOGRAPH_DRAIN_SECONDS=soon" in process.log.read_text()


def test_what_waits_is_drained_until_the_time_is_over_and_a_second_signal_ends_at_once(
    start: Start, free_port: Callable[[], int]
) -> None:
    """An exporter whose backend is away holds metrics: the first process drops and counts them when its time is over,
    the ledger closes; the second is ended by a second signal."""
    config = f"""
receivers: {{host_metrics: {{collection_interval: 1s, initial_delay: 0s, scrapers: {{load: {{}}}}}}}}
exporters: {{otlp_http: {{endpoint: "http://127.0.0.1:{free_port()}"}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [host_metrics], exporters: [otlp_http]}}}}
"""
    first, second = start(config, HELIOGRAPH_DRAIN_SECONDS="1"), start(config, HELIOGRAPH_DRAIN_SECONDS="60")
    for process in (first, second):
        process.wait_for("everything is ready")
        process.wait_for("127.0.0.1")
    code, log = first.end()
    assert code == 0
    assert "shutdown" in log
    assert "the ledger does not close" not in log
    difference = next(line for line in log.splitlines() if line.startswith("difference"))
    assert difference.split()[1] == "0"
    second.popen.send_signal(signal.SIGTERM)
    second.wait_for("draining")
    second.popen.send_signal(signal.SIGTERM)  # at the same moment: the same wish, and it goes on draining
    with pytest.raises(subprocess.TimeoutExpired):
        second.popen.wait(2 * SAME_SIGNAL_SECONDS)
    code, log = second.end()
    assert code == 1
    assert "ending at once" in log


def test_a_scrape_that_hangs_does_not_keep_the_process(start: Start, tmp_path: Path) -> None:
    """A file of the host that never answers, as on a dead mount: health says so, and SIGTERM ends the process."""
    (tmp_path / "proc").mkdir()
    os.mkfifo(tmp_path / "proc" / "stat")
    process = start(
        f"{{receivers: {{host_metrics: {{root_path: {tmp_path}, collection_interval: 200ms, initial_delay: 0s, "
        "scrapers: {cpu: }}}, exporters: {nop: }, service: {telemetry: {metrics: {level: none}}, "
        "pipelines: {metrics: {receivers: [host_metrics], exporters: [nop]}}}}"
    )
    process.wait_for("takes longer than 0.2 s")
    code, log = process.end()
    assert code == 0
    assert "shutdown complete" in log
    assert "ending with work that hangs (a dead mount?): MainThread, host_metrics_0" in log
