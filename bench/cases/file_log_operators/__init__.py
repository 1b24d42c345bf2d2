"""Lines of an application through a chain of operators that is not the container parser's: regular expression, time,
severity, JSON, moves and removals. Four files are moved in when the Collector idles."""

from pathlib import Path

from bench import payload
from bench.case import Case, Measured, Options
from bench.cases.container_logs_to_otlp import follow
from bench.variant import Variant

CONFIG = Path(__file__).with_name("config.yaml")


def _run(case: Case, variant: Variant, options: Options) -> Measured:
    return follow(case, variant, options, CONFIG, payload.application_lines, 10_000 if options.quick else 40_000)


CASES = (Case("file_log_operators", "line", _run, 1 / 3),)
