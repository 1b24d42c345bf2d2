"""One Collector as a process: log, signals, drain, ledger, exit code.

Exit codes: 0 stopped as asked, 1 the configuration is wrong or something could not start (2, wrong command line, is
cli.py's). SIGTERM and SIGINT drain for at most HELIOGRAPH_DRAIN_SECONDS (25; below the 30 s that Kubernetes gives);
a second one, not at the same moment, ends the process at once with 1.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping

from heliograph import __version__
from heliograph.app.collector import DRAIN_SECONDS, Collector, resource_of, tune_collector_of_garbage
from heliograph.component.errors import ConfigError, StartError
from heliograph.component.ids import Signal
from heliograph.config.model import Loaded
from heliograph.telemetry.ledger import Ledger
from heliograph.telemetry.logs import Log, LogOptions, Sampling
from heliograph.telemetry.process import ENTRIES, entry

DRAIN_VARIABLE = "HELIOGRAPH_DRAIN_SECONDS"
SAME_SIGNAL_SECONDS = 0.3
"""A signal so soon after the first is the same wish: `timeout` and some init programs send it to the process and to its
group."""
LEAVE_SECONDS = 2.0
"""How long threads may take to end when everything else has."""
_log = logging.getLogger("heliograph.service")


def run(loaded: Loaded, environ: Mapping[str, str] | None = None) -> int:
    """Run until a signal comes; returns the exit code."""
    try:
        drain = _drain_seconds(os.environ if environ is None else environ)
        resource = resource_of(loaded)
        options = log_options(loaded, resource)
        log = Log(options)
    except (ConfigError, StartError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    log.install()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            code = runner.run(_serve(loaded, drain, resource, options.encoding == "json"))
            _leave(code)
            return code
    finally:
        log.remove()


def _leave(code: int) -> None:
    """End the process soon, also when a thread of it hangs in the kernel: Python would wait for it for ever."""

    def leave() -> None:
        names = ", ".join(sorted(thread.name for thread in threading.enumerate() if not thread.daemon))
        print(f"ending with work that hangs (a dead mount?): {names}", file=sys.stderr, flush=True)
        os._exit(code)

    timer = threading.Timer(LEAVE_SECONDS, leave)
    timer.daemon = True
    timer.start()


def log_options(loaded: Loaded, resource: Mapping[str, str]) -> LogOptions:
    """service::telemetry::logs as telemetry/logs.py takes it."""
    logs = loaded.telemetry.logs
    sampling = logs.sampling
    return LogOptions(
        level=logs.level,
        encoding=logs.encoding,
        output_paths=logs.output_paths,
        initial_fields=logs.initial_fields,
        resource={} if logs.disable_zap_resource else resource,
        disable_caller=logs.disable_caller,
        disable_stacktrace=logs.disable_stacktrace,
        sampling=Sampling(sampling.tick, sampling.initial, sampling.thereafter)
        if sampling is not None and sampling.enabled
        else None,
    )


def ledger_table(ledger: Ledger) -> str:
    """The ledger as a table, a line for each entry that is not 0 everywhere and one for each reason of a drop."""
    signals = [signal for signal in Signal if any(entry(ledger, signal, name) for name in ENTRIES)]
    if not signals:
        return "nothing came in"
    rows: list[tuple[str, list[int]]] = []
    for name in ENTRIES:
        numbers = [entry(ledger, signal, name) for signal in signals]
        if any(numbers) or name in ("received", "sent", "difference"):
            rows.append((name, numbers))
        if name == "dropped":
            reasons = sorted({reason for signal in signals for reason, n in ledger[signal].dropped.items() if n})
            rows.extend((f"  {reason}", [ledger[signal].dropped[reason] for signal in signals]) for reason in reasons)
    width = max(14, *(len(name) for name, _ in rows))
    lines = [" " * width + "".join(f"{signal:>14}" for signal in signals)]
    lines.extend(f"{name:<{width}}" + "".join(f"{number:>14}" for number in numbers) for name, numbers in rows)
    return "\n".join(lines)


async def _serve(loaded: Loaded, drain: float, resource: Mapping[str, str], json: bool) -> int:
    for warning in loaded.warnings:
        _log.warning("%s", warning)
    _log.info("starting heliograph %s on %d CPUs", __version__, os.cpu_count() or 1)
    try:
        collector = Collector(loaded, resource=resource)
    except (ConfigError, StartError) as error:
        _log.error("%s", error)
        return 1
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    first = 0.0

    def asked(number: signal.Signals) -> None:
        nonlocal first
        if stopping.is_set():
            if loop.time() - first < SAME_SIGNAL_SECONDS:
                return
            _log.error("received %s again: ending at once", number.name)
            logging.shutdown()
            os._exit(1)
        _log.info("received %s: draining for at most %g s", number.name, drain)
        first = loop.time()
        stopping.set()

    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, asked, number)
    try:
        return await _run(collector, stopping, drain, json)
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _run(collector: Collector, stopping: asyncio.Event, drain: float, json: bool) -> int:
    starting = asyncio.ensure_future(collector.start())
    stop = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return 0
    try:
        starting.result()
    except (ConfigError, StartError) as error:
        stop.cancel()
        _log.error("%s", error)
        return 1
    tune_collector_of_garbage()
    await stop
    await collector.shutdown(drain)
    _tell(collector.ledger, json)
    return 0


def _tell(ledger: Ledger, json: bool) -> None:
    if json:
        for signal_ in Signal:
            numbers = {name: entry(ledger, signal_, name) for name in ENTRIES}
            if any(numbers.values()):
                _log.info("ledger", extra={"signal": str(signal_), **numbers, "reasons": dict(ledger[signal_].dropped)})
    else:
        _log.info("ledger\n%s", ledger_table(ledger))
    if not ledger.closes():
        _log.error("the ledger does not close: items vanished or were counted twice")
    _log.info("shutdown complete")


def _drain_seconds(environ: Mapping[str, str]) -> float:
    text = environ.get(DRAIN_VARIABLE, "")
    if not text:
        return DRAIN_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise ConfigError(f"environment {DRAIN_VARIABLE}={text}: write a number of seconds, for example 25")
    return seconds


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's loop where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    loop: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return loop
