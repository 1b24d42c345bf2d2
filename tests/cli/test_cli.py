"""The command line as a process: output, exit codes, what is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
receivers: {nop: }
exporters: {debug: {verbosity: "${env:VERBOSITY}"}}
service: {pipelines: {logs: {receivers: [nop], exporters: [debug]}}}
"""


def heliograph(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the command and wait for it."""
    return subprocess.run(
        [sys.executable, "-m", "heliograph.cli", *arguments],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A good configuration."""
    path = tmp_path / "agent.yaml"
    path.write_text(GOOD)
    return str(path)


def test_validate_accepts_a_good_configuration(config: str) -> None:
    """Exit code 0, a summary on stdout, warnings on stderr."""
    done = heliograph("validate", f"--config={config}", "--feature-gates=foo,-logs.assignKeys", VERBOSITY="normal")
    assert (done.returncode, done.stdout) == (0, "valid: 2 components, 1 pipeline\n")
    assert 'Warning: --feature-gates: there is no gate "foo"' in done.stderr


def test_validate_lists_all_mistakes_on_stderr(config: str) -> None:
    """Exit code 1, one line for each."""
    done = heliograph("validate", "--config", config, "--set", "exporters.nope={}", VERBOSITY="loud")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "Error: 2 mistakes in the configuration; nothing was started"
    assert "--set exporters.nope" in lines[1]
    assert lines[2].startswith(f"{config}:2:21 (environment VERBOSITY): exporters::debug::verbosity: ")


def test_run_refuses_a_wrong_configuration_with_code_1(config: str) -> None:
    """With and without the word run; nothing starts."""
    for arguments in (("run",), ()):
        done = heliograph(*arguments, f"--config={config}", VERBOSITY="loud")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error: ")
        assert "Traceback" not in done.stderr


def test_a_cycle_is_found_by_validate(tmp_path: Path) -> None:
    """The plan of the pipelines belongs to the check."""
    path = tmp_path / "cycle.yaml"
    path.write_text(
        "connectors: {forward/a: , forward/b: }\nservice: {pipelines: {"
        "logs/1: {receivers: [forward/a], exporters: [forward/b]},"
        "logs/2: {receivers: [forward/b], exporters: [forward/a]}}}\n"
    )
    done = heliograph("validate", f"--config={path}")
    assert done.returncode == 1
    assert "cycle" in done.stderr


def test_print_config_shows_values_and_origins(config: str) -> None:
    """YAML on stdout with comments."""
    done = heliograph("print-config", f"--config={config}", VERBOSITY="detailed")
    assert done.returncode == 0
    assert (
        f"verbosity: detailed                                      # {config}:2 (environment VERBOSITY)" in done.stdout
    )
    assert "# default" in done.stdout


def test_components_lists_every_type() -> None:
    """Kind, type, deprecated names, signals."""
    done = heliograph("components")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["exporter", "otlp_grpc", "otlp", "logs,", "metrics,", "traces"] in rows
    assert ["extension", "file_storage"] in rows


def test_version_help_and_wrong_words() -> None:
    """Versions and help on stdout with 0, a wrong command line with 2."""
    assert heliograph("--version").stdout.startswith("heliograph version ")
    done = heliograph("--help")
    assert done.returncode == 0
    assert "print-config" in done.stdout
    for arguments in ((), ("nosuch",), ("validate", "--nosuch")):
        done = heliograph(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage" in done.stderr


def test_run_loads_nothing_of_the_other_commands() -> None:
    """The modules of search, tail, print-config and unused components stay out of a collector's memory."""
    code = (
        "import sys; from heliograph import cli\n"
        "cli.main(['validate', '--config=yaml:{receivers: {nop: }, exporters: {nop: },"
        " service: {pipelines: {logs: {receivers: [nop], exporters: [nop]}}}}'])\n"
        "print(*sorted(m for m in sys.modules if m.startswith('heliograph')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "heliograph.exporters.nop" in loaded
    for module in ("heliograph.store.commands", "heliograph.config.printed", "heliograph.exporters.elasticsearch"):
        assert module not in loaded
