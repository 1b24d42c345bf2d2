"""The command `heliograph`: arguments -> command -> exit code.

Without a command it runs a collector, with upstream's flags: `heliograph --config=agent.yaml`. Each command imports
what it needs when it is chosen, so that `run` loads nothing of the others. Exit codes: 0 fine, 1 the configuration is
wrong or something could not start, 2 a wrong command line, 130 interrupted. Errors go to stderr.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from heliograph import __version__
from heliograph.component.errors import ConfigError, HeliographError

if TYPE_CHECKING:
    from heliograph.config.model import Loaded

_WITH_VALUE = ("--config", "--set", "--feature-gates", "--mode")


@dataclass(frozen=True, slots=True)
class Command:
    """One command. module: where it is, imported when chosen; prepare: adds its arguments to a parser; main: runs it
    with the parsed arguments and returns the exit code."""

    help: str
    module: str
    prepare: str = "add_arguments"
    main: str = "main"

    def attribute(self, name: str) -> Callable[[Any], Any]:
        """A function of its module."""
        found: Callable[[Any], Any] = getattr(import_module(self.module), name)
        return found

    def exists(self) -> bool:
        """Whether this installation has it."""
        return find_spec(self.module) is not None


_HERE = "heliograph.cli"
COMMANDS: dict[str, Command] = {
    "run": Command("run a collector (the default)", _HERE, "add_source_arguments", "run"),
    "validate": Command("check a configuration and start nothing", _HERE, "add_source_arguments", "validate"),
    "print-config": Command("print the effective configuration with origins", _HERE, "add_print_arguments", "show"),
    "components": Command("list what can be configured", _HERE, "add_no_arguments", "components"),
    "dead-letters": Command(
        "documents that Elasticsearch rejected: list, show, redrive", "heliograph.app.dead_letters"
    ),
    "up": Command("run the whole architecture on this machine", "heliograph.app.up"),
    "search": Command("search what arrived", "heliograph.store.commands", main="search"),
    "tail": Command("watch what arrives", "heliograph.store.commands", main="tail"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands = {name: command for name, command in COMMANDS.items() if command.exists()}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        _overview(commands).print_help(sys.stdout if arguments else sys.stderr)
        return 0 if arguments else 2
    if arguments[0] in ("-v", "--version"):
        print(f"heliograph version {__version__}")
        return 0
    place = _command_at(arguments)
    name = "run"
    if place is not None:
        name = arguments.pop(place)
    if name not in commands:
        _overview(commands).error(f"there is no command {name!r}; commands are {', '.join(commands)}")
    command = commands[name]
    parser = argparse.ArgumentParser(prog=f"heliograph {name}", description=command.help, allow_abbrev=False)
    command.attribute(command.prepare)(parser)
    try:
        code: int = command.attribute(command.main)(parser.parse_args(arguments))
    except HeliographError as error:
        print(_told(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def add_no_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the configuration comes from, with upstream's flags."""
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="SOURCE",
        help="a file, or yaml:..., env:NAME, file:PATH, http(s)://...; repeat it to merge, the later one wins",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set one key, for example exporters.debug.verbosity=detailed; applied last",
    )
    parser.add_argument(
        "--feature-gates", action="append", default=[], metavar="GATES", help="upstream's gates; none has an effect"
    )


def add_print_arguments(parser: argparse.ArgumentParser) -> None:
    """The source arguments, and what to do with secrets."""
    add_source_arguments(parser)
    parser.add_argument("--mode", choices=("redacted", "unredacted"), default="redacted", help="whether secrets show")


def run(arguments: argparse.Namespace) -> int:
    """Run a collector until it is stopped."""
    loaded = _load(arguments)
    code: int = import_module("heliograph.app.run").run(loaded)
    return code


def validate(arguments: argparse.Namespace) -> int:
    """Check a configuration, the plan of its pipelines included."""
    loaded = _load(arguments)
    import_module("heliograph.app.collector").check(loaded)
    _warn(loaded)
    print(f"valid: {_counted(len(loaded.components), 'component')}, {_counted(len(loaded.pipelines), 'pipeline')}")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print the effective configuration."""
    from heliograph.config.printed import printed

    loaded = _load(arguments)
    _warn(loaded)
    sys.stdout.write(printed(loaded, redacted=arguments.mode == "redacted"))
    return 0


def components(_: argparse.Namespace) -> int:
    """Print a table of all components."""
    from heliograph import catalog, otlp
    from heliograph.component.ids import Kind

    rows = [("KIND", "TYPE", "DEPRECATED NAMES", "SIGNALS")]
    for kind in Kind:
        for type_ in catalog.types(kind):
            factory = catalog.factory(kind, type_)
            signals = [f"{a} to {b}" for a, b in sorted(factory.pairs)] or sorted(factory.signals)
            if kind is Kind.EXTENSION:
                signals = []
            rows.append((str(kind), type_, ", ".join(factory.aliases), ", ".join(signals)))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, (*widths, 0), strict=True)).rstrip())
    compiled = getattr(otlp, "compiled", None)
    if compiled is not None:
        print(f"\nhot modules: {'compiled' if compiled() else 'plain Python (slower)'}")
    return 0


def _load(arguments: argparse.Namespace) -> "Loaded":
    from heliograph.config.gates import warnings
    from heliograph.config.load import load

    loaded = load(arguments.config, arguments.set, os.environ)
    return replace(loaded, warnings=(*loaded.warnings, *warnings(arguments.feature_gates)))


def _warn(loaded: "Loaded") -> None:
    for warning in loaded.warnings:
        print(f"Warning: {warning}", file=sys.stderr)


def _told(error: HeliographError) -> str:
    lines = str(error).splitlines()
    if not isinstance(error, ConfigError) or len(lines) < 2:
        return f"Error: {error}"
    return "\n".join((f"Error: {len(lines)} mistakes in the configuration; nothing was started", *lines))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _command_at(arguments: list[str]) -> int | None:
    """Where the command stands: the first word that is neither an option nor the value of one."""
    for index, argument in enumerate(arguments):
        if not argument.startswith("-") and (index == 0 or arguments[index - 1] not in _WITH_VALUE):
            return index
    return None


def _overview(commands: dict[str, Command]) -> argparse.ArgumentParser:
    width = max(map(len, commands))
    listed = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in commands.items())
    return argparse.ArgumentParser(
        prog="heliograph",
        usage="heliograph [COMMAND] [--config=SOURCE ...] [--set=KEY=VALUE ...]",
        description=f"An OpenTelemetry Collector distribution.\n\ncommands:\n{listed}",
        epilog="heliograph COMMAND --help tells more. Without a command: run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )


if __name__ == "__main__":
    sys.exit(main())
