"""The daemon's preset with nothing to do but to measure its host every 10 s: its share of a core, and its memory.

What arrived must be what its own metric says was received: nothing was lost on the way.
"""

import tempfile
import time
import urllib.request
from pathlib import Path

from bench.case import Case, Measured, Options, started
from bench.process import BenchError, free_port, listens, sink, wait
from bench.variant import ROOT, Variant

CONFIG = ROOT / "src" / "heliograph" / "presets" / "daemon.yaml"
INTERVAL = 10.0


def _run(case: Case, variant: Variant, options: Options) -> Measured:
    measured = Measured(case.name, variant.name)
    with tempfile.TemporaryDirectory() as name, sink("otlp", Path(name), options.tools) as (port, count):
        ports = {key: free_port() for key in ("GRPC", "HTTP", "HEALTH", "METRICS")}
        environment = {
            "HELIOGRAPH_OTLP_GRPC": f"127.0.0.1:{ports['GRPC']}",
            "HELIOGRAPH_OTLP_HTTP": f"127.0.0.1:{ports['HTTP']}",
            "HELIOGRAPH_HEALTH": f"127.0.0.1:{ports['HEALTH']}",
            "HELIOGRAPH_METRICS_PORT": str(ports["METRICS"]),
            "HELIOGRAPH_GATEWAY": f"127.0.0.1:{port}",
            "HELIOGRAPH_STORAGE": name,
            "HELIOGRAPH_ROOT_PATH": "",
        }
        with started(variant, CONFIG, environment) as collector:
            wait(lambda: collector.cpu() > 0 and listens(ports["METRICS"]), 30, "the Collector listens")
            wait(lambda: count.value > 0, 2 * INTERVAL, "the first measurement arrives")
            collector.settle(0.5)
            before = measured.start = collector.cpu()
            begun = time.perf_counter()
            time.sleep(INTERVAL * (1 if options.quick else 3))
            measured.seconds = time.perf_counter() - begun
            measured.cpu = collector.cpu() - before
            measured.steady, measured.peak = collector.memory()
            measured.sent = _received(ports["METRICS"])
            try:
                wait(lambda: count.value >= measured.sent, 5, f"all {measured.sent} data points arrive")
            except BenchError as error:
                measured.problem = str(error)
            measured.arrived = count.value
            if measured.arrived != measured.sent and _received(ports["METRICS"]) != measured.arrived:
                measured.problem = f"received {measured.sent}, arrived {measured.arrived}"
            return measured


def _received(port: int) -> int:
    """Data points taken in by all receivers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    wanted = "otelcol_receiver_accepted_metric_points"
    return int(sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(wanted)))


CASES = (Case("host_metrics_idle", "data point", _run, idle=True),)
