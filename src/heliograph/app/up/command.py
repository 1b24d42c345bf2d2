"""The command line of `up` and the terminal it shows."""

import argparse
import asyncio
import contextlib
import signal
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from heliograph.app.up.arrivals import Arrival, Arrivals
from heliograph.app.up.plan import HOST, Role, plan
from heliograph.app.up.processes import Processes
from heliograph.component.errors import ConfigError
from heliograph.config.scalar import duration
from heliograph.store.client import data_directory

_LOOK_SECONDS = 2.0
_PRINT_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `heliograph up`."""
    parser.add_argument("--demo", action="store_true", help="add a small instrumented shop and its container logs")
    parser.add_argument("--for", dest="seconds", type=_seconds, metavar="TIME", help="stop by itself, for example 60s")
    parser.add_argument("--elasticsearch", metavar="URL", help="write to this Elasticsearch instead of the store")
    parser.add_argument("--api-key", help="API key for --elasticsearch")
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="add the cluster collector, for the cluster of this file"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=data_directory(),
        help="store, queues, checkpoints, logs (default: %(default)s)",
    )
    for flag, port, what in (
        ("--otlp-grpc-port", 4317, "applications send OTLP/gRPC here"),
        ("--otlp-http-port", 4318, "applications send OTLP/HTTP here"),
        ("--store-port", 9200, "the store answers Elasticsearch's calls here"),
        ("--gateway-port", 14317, "the daemon sends to the gateway here"),
        ("--backend-port", 24317, "the gateway sends to the backend here"),
        (
            "--health-port",
            13133,
            "health of the daemon; the next are the gateway's, the backend's and the cluster collector's",
        ),
        ("--metrics-port", 8888, "own metrics of the daemon, the next as with --health-port"),
    ):
        parser.add_argument(flag, type=int, default=port, metavar="PORT", help=f"{what} (default {port})")


def main(arguments: argparse.Namespace) -> int:
    """Run until Ctrl-C, SIGTERM or the end of --for. Returns the exit code. Raises StartError."""
    arguments.directory = arguments.directory.absolute()
    return asyncio.run(_run(arguments, Console()))


def _seconds(text: str) -> float:
    try:
        return float(duration(text))
    except (ValueError, ConfigError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _run(arguments: argparse.Namespace, console: Console) -> int:
    roles = plan(arguments)
    _introduce(roles, arguments, console)
    processes = Processes(roles, arguments.directory / "log", console.print)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    url = arguments.elasticsearch or f"http://{HOST}:{arguments.store_port}"
    arrivals = Arrivals(url, arguments.api_key)
    kept_before = _dead_letters(arguments.directory)
    begun = {role.name: _size(processes.log(role.name)) for role in roles}
    try:
        if not await _unless_stopped(processes.start(), stop):
            console.print("stopped while starting")
            return 130
        await _show(arrivals, stop, arguments.seconds, console)
        console.print("stopping: each role drains into the next")
        await processes.stop(but="store")
        with contextlib.suppress(OSError, ValueError):
            console.print(_table(await asyncio.to_thread(arrivals.look, time.monotonic()), rates=False))
    finally:
        await processes.stop()
    for role in roles:
        _show_ledger(role, processes.log(role.name), begun[role.name], console)
    kept = _dead_letters(arguments.directory) - kept_before
    if kept > 0:
        console.print(f"dead letters: {kept} documents were refused for good; they are kept with the reason in")
        console.print(f"  {arguments.directory}/backend/dead-letters", soft_wrap=True, markup=False, highlight=False)
    where = f"--url {arguments.elasticsearch}" if arguments.elasticsearch else f"--directory {arguments.directory}"
    console.print(f"search it: heliograph search 'service.name:*' {where}", soft_wrap=True, markup=False)
    return 0


async def _unless_stopped(work: Coroutine[None, None, None], stop: asyncio.Event) -> bool:
    """Do the work; False when it was to stop before that was done."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait((working,))
        return False
    working.result()
    return True


def _introduce(roles: Sequence[Role], arguments: argparse.Namespace, console: Console) -> None:
    console.print("[bold]heliograph up[/bold]: daemon -> gateway -> backend -> " + (arguments.elasticsearch or "store"))
    for role in roles:
        variables = " ".join(f"{name}={value}" for name, value in role.environment.items() if "KEY" not in name)
        console.print(
            f"  [cyan]{role.name:<8}[/cyan] {variables} {' '.join(role.command)}", soft_wrap=True, highlight=False
        )
    console.print(
        f"send OTLP to {HOST}:{arguments.otlp_grpc_port} (gRPC) or {HOST}:{arguments.otlp_http_port} (HTTP);"
        f" data, queues and logs are in {arguments.directory}",
        soft_wrap=True,
    )


async def _show(arrivals: Arrivals, stop: asyncio.Event, seconds: float | None, console: Console) -> None:
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    printed = time.monotonic()
    with live or contextlib.nullcontext():
        while not stop.is_set() and (now := time.monotonic()) < end:
            try:
                table = _table(await asyncio.to_thread(arrivals.look, now))
                if live is not None:
                    live.update(table, refresh=True)
                elif now - printed >= _PRINT_SECONDS:
                    printed = now
                    console.print(table)
            except (OSError, ValueError) as error:
                console.print(f"cannot see what arrives: {error}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(_LOOK_SECONDS, max(0.0, end - now))):
                    await stop.wait()


def _table(arrivals: Sequence[Arrival], rates: bool = True) -> Table:
    table = Table("data stream", title="what arrived", title_justify="left")
    table.add_column("documents", justify="right")
    if rates:
        table.add_column("per second", justify="right")
    for one in arrivals:
        table.add_row(one.stream, f"{one.documents:,}", *([f"{one.rate:,.1f}"] if rates else []))
    return table


def _dead_letters(directory: Path) -> int:
    """How many documents the files of dead letters hold."""
    return sum(path.read_bytes().count(b"\n") for path in (directory / "backend" / "dead-letters").glob("*.ndjson"))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _show_ledger(role: Role, log: Path, begun: int, console: Console) -> None:
    """The ledger that a collector wrote to its log when it ended. begun: the log's size before that, unless the log was
    put aside since."""
    content = log.read_bytes() if log.exists() else b""
    text = content[begun if begun <= len(content) else 0 :].decode("utf-8", "replace")
    _, found, ledger = text.rpartition("\tledger\n")
    if found:
        lines = ledger.splitlines()
        rows = lines[: next((number for number, line in enumerate(lines) if "\t" in line), len(lines))]
        console.print(f"[bold]{role.name}[/bold]\n" + "\n".join(rows), highlight=False)
