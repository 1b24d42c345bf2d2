"""The operators of file_log: the table of types, reading them from the configuration, and joining them into a chain.

`AnyOperator` in a configuration class reads the `operators` key: each item by its `type`, operators known upstream
but not done here refused by name.
"""

from collections.abc import Callable, Iterator
from typing import Any

from heliograph.component.config import Decoder, Node
from heliograph.receivers.file_log.operators.base import Logger, Operator, OperatorConfig, Target
from heliograph.receivers.file_log.operators.container import Container, ContainerConfig
from heliograph.receivers.file_log.operators.entry import Entry
from heliograph.receivers.file_log.operators.parsers import (
    CsvParser,
    CsvParserConfig,
    JsonParser,
    JsonParserConfig,
    KeyValueParser,
    KeyValueParserConfig,
    RegexParser,
    RegexParserConfig,
    SeverityOperator,
    SeverityParserConfig,
    TimeParser,
    TimeParserConfig,
)
from heliograph.receivers.file_log.operators.recombine import Recombine, RecombineConfig
from heliograph.receivers.file_log.operators.transforms import (
    Add,
    AddConfig,
    Copy,
    FieldConfig,
    Filter,
    FilterConfig,
    Flatten,
    Move,
    MoveConfig,
    NoopConfig,
    RegexReplace,
    RegexReplaceConfig,
    Remove,
    Retain,
    RetainConfig,
    Router,
    RouterConfig,
    Unquote,
)

OPERATORS: dict[str, tuple[type[Any], Callable[[Any, Logger], Operator]]] = {
    "add": (AddConfig, Add),
    "container": (ContainerConfig, Container),
    "copy": (MoveConfig, Copy),
    "csv_parser": (CsvParserConfig, CsvParser),
    "filter": (FilterConfig, Filter),
    "flatten": (FieldConfig, Flatten),
    "json_parser": (JsonParserConfig, JsonParser),
    "key_value_parser": (KeyValueParserConfig, KeyValueParser),
    "move": (MoveConfig, Move),
    "noop": (NoopConfig, Operator),
    "recombine": (RecombineConfig, Recombine),
    "regex_parser": (RegexParserConfig, RegexParser),
    "regex_replace": (RegexReplaceConfig, RegexReplace),
    "remove": (FieldConfig, Remove),
    "retain": (RetainConfig, Retain),
    "router": (RouterConfig, Router),
    "severity_parser": (SeverityParserConfig, SeverityOperator),
    "time_parser": (TimeParserConfig, TimeParser),
    "unquote": (FieldConfig, Unquote),
}
"""type -> configuration class, operator class."""

UNSUPPORTED_OPERATORS = (
    "assign_keys",
    "file_input",
    "file_output",
    "generate_input",
    "headerless_jarray_parser",
    "journald_input",
    "json_array_parser",
    "k8s_event_input",
    "namedpipe",
    "sanitize_utf8",
    "scope_name_parser",
    "stdin",
    "stdout",
    "strip_ansi_escape_codes",
    "syslog_input",
    "syslog_parser",
    "tcp_input",
    "trace_parser",
    "udp_input",
    "uri_parser",
    "windows_eventlog_input",
)
_INSTEAD = {
    "strip_ansi_escape_codes": "write regex_replace with regex_name: ansi_control_sequences",
    "sanitize_utf8": "invalid UTF-8 is always replaced here: leave it out",
}


class AnyOperator:
    """Reads one item of `operators`: a configuration class of this package, chosen by the item's type."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> OperatorConfig | None:
        """The operator's configuration, or None when problems were noted."""
        fields = node.value
        if not isinstance(fields, dict):
            decoder.problem(node, "an operator is a map with a type", "write '- type: json_parser'")
            return None
        type_node = fields.get("type")
        if type_node is None or not isinstance(type_node.value, str):
            decoder.problem(node, "an operator needs a type", "write '- type: json_parser'")
            return None
        if type_node.value in UNSUPPORTED_OPERATORS:
            instead = _INSTEAD.get(type_node.value, "remove it, or do it in a later component")
            decoder.problem(type_node, f"operator {type_node.value!r} is not supported", instead)
            return None
        if type_node.value not in OPERATORS:
            decoder.problem(type_node, f"unknown operator {type_node.value!r}", "one of " + ", ".join(OPERATORS))
            return None
        found: OperatorConfig | None = decoder.decode(OPERATORS[type_node.value][0], node)
        return found


def ids(configs: list[OperatorConfig]) -> list[str]:
    """The id of each operator: as configured, else its type, with a number where that is taken."""
    taken: set[str] = {config.id for config in configs if config.id}
    result: list[str] = []
    for config in configs:
        name = config.id or config.type
        number = 0
        while not config.id and name in taken:
            number += 1
            name = f"{config.type}{number}"
        taken.add(name)
        result.append(name)
    return result


def check_outputs(configs: list[OperatorConfig]) -> Iterator[tuple[str, str]]:
    """Problems of ids and outputs across operators: unknown ids, ids used twice, cycles."""
    names = ids(configs)
    places = {name: number for number, name in enumerate(names)}
    if len(places) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        yield "operators", f"id {twice!r} is used more than once"
        return
    edges: dict[int, list[int]] = {}
    for number, config in enumerate(configs):
        wanted = list(_named(config.output))
        if isinstance(config, RouterConfig):
            wanted += [name for route in config.routes for name in _named(route.output)] + list(_named(config.default))
        elif config.output is None and number + 1 < len(configs):
            wanted.append(names[number + 1])
        edges[number] = [places[name] for name in wanted if name in places]
        for name in wanted:
            if name not in places:
                yield f"operators.{number}.output", f"operator {name!r} does not exist"
    state = [0] * len(configs)
    for first in range(len(configs)):
        if _cycle(first, edges, state):
            yield "operators", f"the outputs of {names[first]!r} lead back to it"
            return


def _cycle(number: int, edges: dict[int, list[int]], state: list[int]) -> bool:
    if state[number]:
        return state[number] == 1
    state[number] = 1
    found = any(_cycle(following, edges, state) for following in edges[number])
    state[number] = 2
    return found


def _named(output: Any) -> list[str]:
    return [] if output is None else [output] if isinstance(output, str) else [str(name) for name in output]


class Chain:
    """All operators of a receiver, ending in a sink. Entries go in at `process`."""

    def __init__(self, configs: list[OperatorConfig], sink: Target, log: Logger) -> None:
        self.operators = [OPERATORS[config.type][1](config, log) for config in configs]
        names = ids(configs)
        by_name: dict[str, Target] = {}
        for name, operator in zip(names, self.operators, strict=True):
            operator.id = name
            by_name[name] = operator
        following: list[Target] = [*self.operators[1:], sink] if self.operators else []
        for config, operator, after in zip(configs, self.operators, following, strict=True):
            if isinstance(operator, Router):
                assert isinstance(config, RouterConfig)
                for route, (_, _, outputs) in zip(config.routes, operator.routes, strict=True):
                    outputs.extend(by_name[name] for name in _named(route.output))
                operator.default = [by_name[name] for name in _named(config.default)]
            else:
                operator.outputs = [by_name[name] for name in _named(config.output)] if config.output else [after]
            operator.joined()
        self.first: Target = self.operators[0] if self.operators else sink
        self._holders = [operator for operator in self.operators if isinstance(operator, Container | Recombine)]

    def process(self, entry: Entry) -> None:
        """Send an entry through."""
        self.first.process(entry)

    def flush(self, now: int, everything: bool = False) -> None:
        """Let go of entries held back too long (`now`: monotonic nanoseconds), or of all."""
        for operator in self._holders:
            operator.flush(now, everything)

    def held(self) -> Iterator[Entry]:
        """Entries held back by operators."""
        for operator in self._holders:
            yield from operator.held()

    @property
    def dropped(self) -> int:
        """Entries that ended here by on_error, or in a router that had no way for them."""
        return sum(operator.dropped for operator in self.operators)
