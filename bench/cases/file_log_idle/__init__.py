"""Following 500 files in which nothing, or little, happens: the share of a core that looking at them costs, and memory.

`quiet`: no file changes. `some`: ten of the files get a line every 100 ms, the others none; all lines must arrive.
"""

import tempfile
import time
from pathlib import Path

from bench.case import Case, Measured, Options, started
from bench.process import BenchError, sink, wait
from bench.variant import Variant

CONFIG = Path(__file__).with_name("config.yaml")
FILES = 500
FOLDERS = 50
_LINE = b"2026-01-01T00:00:00.000000000Z stdout F GET /cart 200 12ms user=alice item=42\n"


def _run(case: Case, variant: Variant, options: Options, active: int) -> Measured:
    measured = Measured(case.name, variant.name, sent=FILES)
    with tempfile.TemporaryDirectory() as name, sink("otlp", Path(name), options.tools) as (port, count):
        paths = [Path(name, "logs", str(number % FOLDERS), f"{number}.log") for number in range(FILES)]
        for number, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"%d " % number + _LINE)  # different from the others, or they are copies of one
        environment = {"BENCH_LOGS": str(Path(name, "logs")), "BENCH_SINK": f"127.0.0.1:{port}"}
        with started(variant, CONFIG, environment) as collector:
            wait(lambda: count.value >= FILES, 60, "the first lines arrive")
            time.sleep(5 if options.quick else 45)  # until it knows that nothing happens here
            before = measured.start = collector.cpu()
            begun = time.perf_counter()
            end = begun + (5 if options.quick else 20)
            while time.perf_counter() < end:
                for path in paths[:active]:
                    with path.open("ab") as file:
                        file.write(_LINE)
                measured.sent += active
                time.sleep(0.1 if active else 1.0)
            try:
                wait(lambda: count.value >= measured.sent, 5, f"all {measured.sent} lines arrive")
            except BenchError as error:
                measured.problem = str(error)
            measured.seconds = time.perf_counter() - begun
            measured.cpu = collector.cpu() - before
            measured.steady, measured.peak = collector.memory()
            measured.arrived = count.value
            if measured.arrived > measured.sent:
                measured.problem = f"sent {measured.sent}, arrived {measured.arrived}"
            return measured


def _quiet(case: Case, variant: Variant, options: Options) -> Measured:
    return _run(case, variant, options, 0)


def _some(case: Case, variant: Variant, options: Options) -> Measured:
    return _run(case, variant, options, 10)


CASES = (
    Case("file_log_idle/quiet", "line", _quiet, idle=True),
    Case("file_log_idle/some", "line", _some, idle=True),
)
