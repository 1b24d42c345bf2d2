"""The benchmark tells a run that lost items, or whose Collector ended, from one that counts."""

import sys
from pathlib import Path

import pytest
from bench.case import Case, Measured, Options
from bench.cases import otlp_to_otlp
from bench.process import BenchError, Count
from bench.table import table
from bench.variant import Variant

CASE = Case("a_to_b", "span", lambda case, variant, options: Measured(case.name, variant.name), target=0.5)


def _run(variant: str, cpu: float, problem: str = "") -> Measured:
    return Measured(CASE.name, variant, sent=1000, arrived=1000, cpu=cpu, seconds=1.0, problem=problem)


def test_the_ratio_is_to_upstream_in_the_same_case() -> None:
    """400 us beside 1000 us of upstream is 0.4, within the target of a half."""
    lines = table([CASE], [_run("compiled", 0.4), _run("upstream", 1.0)]).splitlines()
    assert lines[2].endswith("0.400 ok")
    assert "400.00" in lines[2]


def test_a_target_that_is_missed_is_shown() -> None:
    """The line ends with the target that was not reached."""
    assert table([CASE], [_run("compiled", 0.6), _run("upstream", 1.0)]).splitlines()[2].endswith("0.600 >0.5")


def test_a_run_that_lost_items_has_no_figure() -> None:
    """It shows as failed, with its reason, and is no peer for the others."""
    text = table([CASE], [_run("compiled", 0.4), _run("upstream", 1.0, "sent 1000, arrived 999")])
    assert "FAILED: sent 1000, arrived 999" in text
    assert "0.400" not in text


def test_a_count_is_shared_through_its_file(tmp_path: Path) -> None:
    """What one side adds, the other side reads."""
    writer = Count(tmp_path / "arrived")
    reader = Count(tmp_path / "arrived")
    writer.add(3)
    writer.add(4)
    assert reader.value == 7


def test_a_collector_that_ends_is_an_error_with_its_output(tmp_path: Path) -> None:
    """Nothing is measured of a process that is gone; what it said last is told."""
    variant = Variant("compiled", (sys.executable, "-c", "raise SystemExit('no such thing')"), None)
    options = Options(True, Path(__file__).resolve().parents[2] / "src")
    with pytest.raises(BenchError, match="no such thing"):
        otlp_to_otlp.CASES[1].run(otlp_to_otlp.CASES[1], variant, options)
