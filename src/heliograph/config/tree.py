"""YAML text -> a tree of nodes, each with the line and column where it was written.

Scalars are read as the Collector's YAML library (go-yaml v3) reads them: `yes` and `on` are text, `0o17`, `0123`,
`0x1F` and `0b11` are integers, `1_000` is 1000, `2024-01-01` is a timestamp (kept as text in RFC 3339 form; a text
field gets what was written). A value in a map has the place of its key. A key that is there twice is a mistake, with
both lines. Anchors, aliases and merge keys (`<<`) work; nesting and the number of values are bounded, so that aliases
of aliases cannot fill the memory.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from heliograph.component.config import Node, Origin
from heliograph.config.problem import InvalidConfig, Problem

MAX_DEPTH = 100
MAX_NODES = 200_000

_CONSTANTS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:[Tt ]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?)?\Z"
)
_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)
_TAG = "tag:yaml.org,2002:"


def parse(text: str, origin: Origin) -> Node:
    """The tree of a YAML document; an empty one is null. Raises InvalidConfig.

    With a line in `origin` (a value that was expanded there) all nodes have that origin; else each has its own
    line and column in `origin.source`.
    """
    try:
        return _Reader(text, origin).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = origin if mark is None or origin.line else _at(origin, mark)
        message = " ".join(part for part in (error.context, error.problem) if part)
        raise InvalidConfig([Problem(place, (), f"not valid YAML: {message}", _hint(text, mark))]) from None
    except yaml.YAMLError as error:
        raise InvalidConfig([Problem(origin, (), f"not valid YAML: {' '.join(str(error).split())}")]) from None


def scalar(text: str) -> tuple[bool | int | float | str | None, str | None]:
    """The value of a plain scalar, and for a timestamp the text that was written."""
    if text in _CONSTANTS:
        return _CONSTANTS[text], None
    first = text[0]
    if first not in "0123456789+-.":
        return text, None
    timestamp = _TIMESTAMP.match(text)
    if timestamp is not None:
        return _rfc3339(*timestamp.groups(default="")), text
    digits = text.replace("_", "")
    if _INTEGER.match(digits):
        number = _integer(digits)
        return number if -(2**63) <= number < 2**64 else float(number), None
    if _FLOAT.match(digits) and math.isfinite(value := float(digits)):
        return value, None
    return text, None


def _integer(digits: str) -> int:
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-").lower()
    if len(body) > 1 and body[0] == "0" and body[1] not in "xob":
        return sign * int(body, 8)
    return sign * int(body, 0)


def _rfc3339(year: str, month: str, day: str, hour: str, minute: str, second: str, fraction: str, zone: str) -> str:
    time = f"{hour or 0:0>2}:{minute or 0:0>2}:{second or 0:0>2}{fraction.rstrip('0').rstrip('.')}"
    return f"{year}-{month:0>2}-{day:0>2}T{time}{zone or 'Z'}"


def _at(origin: Origin, mark: yaml.Mark) -> Origin:
    return origin if origin.line else replace(origin, line=mark.line + 1, column=mark.column + 1)


def _hint(text: str, mark: yaml.Mark | None) -> str:
    """What is probably wrong with the line that YAML could not read."""
    lines = text.splitlines()
    if mark is None or mark.line >= len(lines):
        return ""
    line = lines[mark.line]
    if line[: len(line) - len(line.lstrip())].count("\t"):
        return "indent with spaces, not tabs"
    if "{" in line.replace("${", "") and "${" in line:
        return 'put "${...}" in quotes inside { }'
    return "look at indentation, colons and quotes of this line and the one before"


class _Reader:
    """Makes nodes of YAML events."""

    def __init__(self, text: str, origin: Origin) -> None:
        self.events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self.origin = origin
        self.anchors: dict[str, Node] = {}
        self.count = 0
        self.problems: list[Problem] = []

    def read(self) -> Node:
        node = Node(None, self.origin)
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                node = self.node(next(self.events), (), 0)
                break
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.problem(event, (), "a second document begins here", "one file holds one document: remove the ---")
                break
        if self.problems:
            raise InvalidConfig(self.problems)
        return node

    def problem(self, event: Any, path: tuple[str, ...], text: str, fix: str = "") -> None:
        self.problems.append(Problem(_at(self.origin, event.start_mark), path, text, fix))

    def grow(self, event: Any, amount: int, depth: int) -> None:
        self.count += amount
        if self.count > MAX_NODES:
            raise self.refusal(event, f"more than {MAX_NODES} values", "are aliases (*) repeated inside aliases?")
        if depth > MAX_DEPTH:
            raise self.refusal(event, f"nested deeper than {MAX_DEPTH} levels", "")

    def refusal(self, event: Any, text: str, fix: str) -> InvalidConfig:
        return InvalidConfig([Problem(_at(self.origin, event.start_mark), (), text, fix)])

    def node(self, event: Any, path: tuple[str, ...], depth: int) -> Node:
        self.grow(event, 1, depth)
        origin = _at(self.origin, event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            target = self.anchors.get(event.anchor or "")
            if target is None:
                self.problem(event, path, f"*{event.anchor} refers to nothing", f"define &{event.anchor} before it")
                return Node(None, origin, path)
            self.grow(event, _size(target), depth)
            return moved(target, path)
        if isinstance(event, yaml.ScalarEvent):
            node = self.scalar(event, origin, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(child := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(child, (*path, str(len(items))), depth + 1))
            node = Node(items, origin, path)
        else:
            node = self.mapping(origin, path, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def scalar(self, event: Any, origin: Origin, path: tuple[str, ...]) -> Node:
        tag = event.tag
        if event.implicit[0]:
            value, text = scalar(event.value)
            return Node(value, origin, path, text)
        if tag in (None, "!", f"{_TAG}str") or event.implicit[1]:
            return Node(event.value, origin, path)
        value, text = scalar(event.value)
        wanted = {"int": int, "float": float, "bool": bool, "null": type(None)}.get(tag.removeprefix(_TAG))
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if wanted is None or not isinstance(value, wanted):
            self.problem(event, path, f"the tag {tag.replace(_TAG, '!!')} does not fit this value", "remove the tag")
        return Node(value, origin, path, text)

    def mapping(self, origin: Origin, path: tuple[str, ...], depth: int) -> Node:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        merged: list[Node] = []
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            name = self.key(event, path)
            if name is None:
                self.node(event, path, depth + 1)
                self.node(next(self.events), path, depth + 1)
                continue
            if name == "<<" and event.implicit[0]:
                merged.append(self.node(next(self.events), path, depth + 1))
                continue
            child = self.node(next(self.events), (*path, name), depth + 1)
            if name in lines:
                fix = f"it is there since line {lines[name]}: keep one of them"
                self.problem(event, (*path, name), "this key is there twice", fix)
                continue
            lines[name] = event.start_mark.line + 1
            entries[name] = replace(child, origin=_at(self.origin, event.start_mark))
        for node in merged:
            for source in node.value if isinstance(node.value, list) else [node]:
                if not isinstance(source.value, dict):
                    self.problems.append(Problem(source.origin, path, "<< needs a map or a list of maps"))
                    continue
                for name, child in source.value.items():
                    entries.setdefault(name, moved(child, (*path, name)))
        return Node(entries, origin, path)

    def key(self, event: Any, path: tuple[str, ...]) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            return str(event.value)
        self.problem(event, path, "a key must be plain text", "is this meant to be a value? put it in quotes")
        return None


def moved(node: Node, path: tuple[str, ...]) -> Node:
    """The same values under another path."""
    if isinstance(node.value, dict):
        return replace(node, path=path, value={name: moved(child, (*path, name)) for name, child in node.value.items()})
    if isinstance(node.value, list):
        return replace(node, path=path, value=[moved(child, (*path, str(i))) for i, child in enumerate(node.value)])
    return replace(node, path=path)


def _size(node: Node) -> int:
    if isinstance(node.value, dict):
        return 1 + sum(map(_size, node.value.values()))
    if isinstance(node.value, list):
        return 1 + sum(map(_size, node.value))
    return 1
