"""What a case is, what a run of it gives, and the run that most cases share: OTLP in, something out, all counted."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import BenchError, Collector, Count, free_port, listens, sink, tool, wait
from bench.variant import Variant

ARRIVAL_SECONDS = 120.0
_ALL_STEADY = 0.3


@dataclass(frozen=True, slots=True)
class Options:
    """quick: small, for a first look. tools: sources that the load generator and the sink run with."""

    quick: bool
    tools: Path


@dataclass(slots=True)
class Measured:
    """One run. cpu: seconds of the Collector from the first record to the last. seconds: the same by the wall.
    peak: MiB. steady: MiB after it. start: CPU seconds until it was ready. problem: why the run counts as failed."""

    case: str
    variant: str
    sent: int = 0
    arrived: int = 0
    cpu: float = 0.0
    seconds: float = 0.0
    peak: float = 0.0
    steady: float = 0.0
    start: float = 0.0
    problem: str = ""

    @property
    def micros(self) -> float:
        """CPU microseconds a record."""
        return self.cpu / self.arrived * 1e6 if self.arrived else 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """name: as on the command line. unit: what a record is. run: raises BenchError. target: of upstream's CPU a record,
    0 for none. idle: what is measured is doing nothing, so CPU is shown as a share of a core."""

    name: str
    unit: str
    run: Callable[["Case", Variant, Options], Measured]
    target: float = 0.0
    idle: bool = False


@contextmanager
def started(variant: Variant, config: Path, environment: dict[str, str]) -> Iterator[Collector]:
    """The Collector, running, with its output in any error."""
    with Collector([*variant.command, f"--config={config}"], {**variant.environment, **environment}) as collector:
        try:
            yield collector
        except BenchError as error:
            raise BenchError(f"{error}\n{collector.tail()}") from None


def finish(measured: Measured, collector: Collector, before: float, count: Count) -> Measured:
    """Read the clocks once all has arrived, and whether it is neither less nor more than was sent."""
    measured.cpu = collector.cpu() - before
    measured.steady, measured.peak = collector.memory()
    collector.settle(_ALL_STEADY, 3.0)
    measured.arrived = count.value
    if measured.arrived != measured.sent:
        measured.problem = f"sent {measured.sent}, arrived {measured.arrived}"
    return measured


def forward(
    case: Case,
    variant: Variant,
    options: Options,
    config: Path,
    far_end: str,
    *,
    signal: str,
    items: int,
    requests: int,
    compression: str = "none",
) -> Measured:
    """Send `requests` of `items` through the Collector into a sink of the kind `far_end`. Raises BenchError."""
    measured = Measured(case.name, variant.name, sent=items * requests)
    with tempfile.TemporaryDirectory() as name, sink(far_end, Path(name), options.tools) as (far, count):
        near = free_port()
        environment = {
            "BENCH_LISTEN": f"127.0.0.1:{near}",
            "BENCH_SINK": f"127.0.0.1:{far}",
            "BENCH_COMPRESSION": compression,
        }
        arguments = ["bench.load", str(near), signal, str(items), str(requests), compression]
        with started(variant, config, environment) as collector, tool(arguments, options.tools) as load:
            assert load.stdin is not None
            assert load.stdout is not None
            if load.stdout.readline().strip() != "ready":
                raise BenchError("the load generator does not start")
            wait(lambda: collector.cpu() > 0 and listens(near), 30, "the Collector listens")
            collector.settle()
            before = measured.start = collector.cpu()
            load.stdin.write("go\n")
            load.stdin.flush()
            said = load.stdout.readline().split()
            if len(said) != 3:
                raise BenchError("the load generator did not end well")
            taken, refused, seconds = int(said[0]), int(said[1]), float(said[2])
            measured.seconds = seconds
            try:
                wait(lambda: count.value >= taken, ARRIVAL_SECONDS, f"all {taken} arrive")
            except BenchError as error:
                measured.problem = str(error)
            finish(measured, collector, before, count)
            if refused:
                measured.problem = f"{refused} requests were refused"
            return measured
