"""Reading, parsing and sending the files of four containers. They are moved in when the Collector idles, so that
start-up does not count."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import payload
from bench.case import ARRIVAL_SECONDS, Case, Measured, Options, finish, started
from bench.process import BenchError, sink, wait
from bench.variant import Variant

CONFIG = Path(__file__).with_name("config.yaml")
FILES = 4


def follow(
    case: Case, variant: Variant, options: Options, config: Path, write: Callable[[Path, int, int], None], lines: int
) -> Measured:
    """Move FILES files of so many lines into sight of a Collector that idles, and count what arrives. `write` makes a
    file: path, lines, its number."""
    measured = Measured(case.name, variant.name, sent=lines * FILES)
    with tempfile.TemporaryDirectory() as name, sink("otlp", Path(name), options.tools) as (port, count):
        ready, watched = Path(name, "ready"), Path(name, "pods")
        watched.mkdir()
        for number in range(FILES):
            folder = ready / f"shop_web-{number}_1111-aaaa-{number}" / "web"
            folder.mkdir(parents=True)
            write(folder / "0.log", lines, number)
        environment = {"BENCH_LOGS": str(watched), "BENCH_SINK": f"127.0.0.1:{port}"}
        with started(variant, config, environment) as collector:
            wait(lambda: collector.cpu() > 0.05, 30, "the Collector starts")
            collector.settle()
            before = measured.start = collector.cpu()
            begun = time.perf_counter()
            for folder in ready.iterdir():
                folder.rename(watched / folder.name)
            try:
                wait(lambda: count.value >= measured.sent, ARRIVAL_SECONDS, f"all {measured.sent} lines arrive")
            except BenchError as error:
                measured.problem = str(error)
            measured.seconds = time.perf_counter() - begun
            return finish(measured, collector, before, count)


def _run(case: Case, variant: Variant, options: Options) -> Measured:
    return follow(case, variant, options, CONFIG, payload.container_lines, 20_000 if options.quick else 100_000)


CASES = (Case("container_logs_to_otlp", "line", _run, 1 / 8),)
