"""Lines of the log in both forms, and the cap of repeated messages."""

import json
import logging
from pathlib import Path

import pytest

from heliograph.component.errors import StartError
from heliograph.telemetry.logs import LineFormatter, Log, LogOptions, Sampling, SamplingFilter


def record(
    message: str = "hello %s", *args: object, level: int = logging.INFO, created: float = 1e9
) -> logging.LogRecord:
    made = logging.LogRecord("heliograph.receiver.otlp", level, "x.py", 1, message, args or ("you",), None)
    made.created, made.msecs = created, 7.0
    made.__dict__["otelcol.component.id"] = "otlp"
    return made


def test_console_line_is_upstreams_layout() -> None:
    """Time, level, logger, message and fields, separated by tabs."""
    line = LineFormatter(LogOptions(initial_fields={"a": 1})).format(record(level=logging.WARNING))
    assert line == '2001-09-09T01:46:40.007Z\twarn\treceiver.otlp\thello you\t{"a": 1, "otelcol.component.id": "otlp"}'


def test_json_line_has_the_resource() -> None:
    """One object, with the resource and the fields beside the message."""
    options = LogOptions(encoding="json", resource={"service.name": "heliograph"}, disable_caller=True)
    assert json.loads(LineFormatter(options).format(record())) == {
        "level": "info",
        "ts": "2001-09-09T01:46:40.007Z",
        "msg": "hello you",
        "resource": {"service.name": "heliograph"},
        "otelcol.component.id": "otlp",
    }


def test_repeated_messages_are_capped_in_each_tick() -> None:
    """The first two, then every third; other messages and the next tick are not touched."""
    cap = SamplingFilter(Sampling(tick=10, initial=2, thereafter=3))
    passed = [number for number in range(1, 10) if cap.filter(record("same %s", number))]
    assert passed == [1, 2, 5, 8]
    assert cap.filter(record("other %s"))
    assert cap.filter(record("same %s", created=1e9 + 11))


def test_a_log_file_is_written_and_one_that_cannot_be_is_a_start_error(tmp_path: Path) -> None:
    """output_paths, with the key in the message."""
    path = tmp_path / "own.log"
    log = Log(LogOptions(output_paths=(f"file://{path}",), level="warn"))
    log.install()
    try:
        logging.getLogger("heliograph.x").info("quiet")
        logging.getLogger("heliograph.x").error("loud")
    finally:
        log.remove()
    assert path.read_text().count("\n") == 1
    assert "loud" in path.read_text()
    with pytest.raises(StartError, match="service::telemetry::logs::output_paths"):
        Log(LogOptions(output_paths=(str(tmp_path / "no" / "x.log"),)))
