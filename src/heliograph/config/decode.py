"""From a tree of nodes to typed configuration, with every mistake noted.

The rules are those of component/config.py. Beside them:

- a nested class starts from its field's default, so `sending_queue: {num_consumers: 2}` keeps the other defaults of
  that component; null resets to it;
- a class with OPTIONAL also takes `enabled`: with false it is as if nothing were written there, as upstream has it;
- null for a list or map is an empty one, for another value its default;
- a fraction for an integer is cut, and a bare integer for a duration is nanoseconds, as upstream does, with a warning;
- `check` runs on every object that could be made, also on defaults that nobody wrote.
"""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from heliograph.component.config import ByteSize, Duration, Node, Origin, Secret
from heliograph.component.ids import ComponentId, PipelineId
from heliograph.config.problem import InvalidConfig, Problem, described, nearest, shown
from heliograph.config.scalar import byte_size, duration

T = TypeVar("T")
Path = tuple[str, ...]


class _Failed:
    """What comes back where a mistake was noted."""


_FAILED = _Failed()
_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", Secret: "text"}


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """One key of a configuration class. field: the dataclass field; target: its annotation."""

    name: str
    field: "dataclasses.Field[Any]"
    target: Any
    doc: str
    aliases: tuple[str, ...]
    deprecated: str

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.field.default is dataclasses.MISSING and self.field.default_factory is dataclasses.MISSING

    def default(self) -> Any:
        """Its default, for keys that are not required."""
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        return self.field.default


@cache
def keys(cls: type) -> Mapping[str, Key]:
    """The keys of a configuration class by name, in order."""
    hints = typing.get_type_hints(cls)
    found: dict[str, Key] = {}
    for field in dataclasses.fields(cls):
        meta = field.metadata
        if not field.init:
            continue
        name = meta.get("name") or field.name
        found[name] = Key(
            name, field, hints[field.name], meta.get("doc", ""), meta.get("aliases", ()), meta.get("deprecated", "")
        )
    return found


@cache
def unsupported(cls: type) -> Mapping[str, str]:
    """Keys known upstream that the class refuses: name -> what to do instead."""
    refused: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        refused.update(base.__dict__.get("UNSUPPORTED", {}))
    return {name: why for name, why in refused.items() if name not in keys(cls)}


def is_class(target: Any) -> bool:
    """Whether the type is a configuration class whose keys are read one by one."""
    return isinstance(target, type) and dataclasses.is_dataclass(target) and target not in (ComponentId, PipelineId)


def is_decodable(target: Any) -> bool:
    """Whether the type reads itself."""
    return isinstance(target, type) and target is not bytes and callable(getattr(target, "decode", None))


class Decoding:
    """One run of the decoder; it is the `Decoder` of component/config.py.

    problems: mistakes so far. warnings: one line each. secrets: paths of values that must not be shown.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.secrets: set[Path] = set()

    def decode(self, target: type[T], node: Node) -> T | None:
        """Decode a node; None after a mistake (and where null is allowed)."""
        value = self._any(target, node, None)
        return None if value is _FAILED else value

    def problem(self, node: Node, problem: str, fix: str = "") -> None:
        """Note a mistake at this node."""
        self.problems.append(Problem(node.origin, node.path, problem, fix))

    def warn(self, node: Node, text: str) -> None:
        """Note something that is allowed and probably not meant."""
        self.warnings.append(str(Problem(node.origin, node.path, text)))

    def _any(self, target: Any, node: Node, base: Any) -> Any:
        if target is Any or target is object:
            return node.plain()
        if target is Duration:
            return self._duration(node)
        if target is ByteSize:
            return self._byte_size(node)
        if isinstance(target, typing.NewType):
            return self._any(target.__supertype__, node, base)
        origin = get_origin(target)
        if origin is typing.Annotated:
            return self._any(get_args(target)[0], node, base)
        if origin is Literal:
            return self._choice(list(get_args(target)), node)
        if origin in (Union, types.UnionType):
            return self._union(get_args(target), node, base)
        if is_decodable(target):
            return self._decodable(target, node)
        container = origin or target
        if container in (list, tuple, Sequence, set, frozenset):
            return self._list(container, get_args(target), node)
        if container in (dict, Mapping):
            return self._dict(get_args(target), node)
        if target in (ComponentId, PipelineId):
            return self._id(target, node)
        if isinstance(target, type) and issubclass(target, StrEnum):
            chosen = self._choice([member.value for member in target], node)
            return chosen if chosen is _FAILED else target(chosen)
        if is_class(target):
            return self._object(target, node, base)
        return self._scalar(target, node)

    def _fail(self, node: Node, problem: str, fix: str = "") -> Any:
        self.problem(node, problem, fix)
        return _FAILED

    def _scalar(self, target: type, node: Node) -> Any:
        value = node.value
        if issubclass(target, str):
            if issubclass(target, Secret):
                self.secrets.add(node.path)
            if node.text is not None:
                return target(node.text)
            if isinstance(value, str):
                return target(value)
        elif target is bool and isinstance(value, bool):
            return value
        elif target is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        elif target is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        elif target is int and isinstance(value, float) and value - value == 0:
            if value != int(value):
                self.warn(node, f"{value} is cut to {int(value)}: an integer is meant here")
            return int(value)
        elif target is type(None) and value is None:
            return None
        return self._expected(_NAMES.get(target, target.__name__), node)

    def _expected(self, what: str, node: Node) -> Any:
        value, fix = node.value, ""
        if node.path in self.secrets:
            return self._fail(
                node, f"expected {what}, found something else (not shown: it is a secret)", "put it in quotes"
            )
        if what == "text" and isinstance(value, bool | int | float):
            fix = f'put it in quotes: "{node.text or shown(value)}"'
        elif isinstance(value, str) and what in ("an integer", "a number", "true or false"):
            fix = "write it without quotes" if _looks_like(what, value) else ""
        return self._fail(node, f"expected {what}, found {described(node)}", fix)

    def _duration(self, node: Node) -> Any:
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            if value:
                self.warn(node, f"{value} without a unit means nanoseconds; write {value}s for seconds")
            return Duration(value / 10**9)
        if not isinstance(value, str):
            return self._expected("a duration such as 30s", node)
        try:
            return Duration(duration(value))
        except ValueError as error:
            return self._fail(node, f"{shown(value)} is not a duration", str(error))

    def _byte_size(self, node: Node) -> Any:
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return ByteSize(int(value))
        if not isinstance(value, str):
            return self._expected("a size such as 10MiB", node)
        try:
            return ByteSize(byte_size(value))
        except ValueError as error:
            return self._fail(node, f"{shown(value)} is not a size", str(error))

    def _id(self, target: Any, node: Node) -> Any:
        text = node.text if node.text is not None else node.value
        if not isinstance(text, str):
            return self._expected("an id such as type or type/name", node)
        try:
            return target.parse(text)
        except ValueError as error:
            return self._fail(node, f"{shown(text)} is not an id: {error}", "write type or type/name")

    def _choice(self, choices: list[Any], node: Node) -> Any:
        text: Any = node.value
        if node.text is not None and any(isinstance(choice, str) for choice in choices):
            text = node.text
        for choice in choices:
            if choice == text and type(choice) is type(text):
                return choice
        known = [str(choice) for choice in choices if choice != ""]
        fix = f"one of {', '.join(known)}" if len(known) > 1 else f"only {known[0]} is possible" if known else ""
        near = nearest(text, known) if isinstance(text, str) else ""
        problem = f"{shown(text)} is not allowed" if isinstance(text, str) else f"{described(node)} is not allowed"
        return self._fail(node, problem, f"{near} ({fix})" if near else fix)

    def _union(self, arms: tuple[Any, ...], node: Node, base: Any) -> Any:
        if node.value is None and type(None) in arms and not (node.text and str in arms):
            return None
        if type(None) in arms and _is_off(arms, node):
            return None
        arms = tuple(arm for arm in arms if arm is not type(None))
        if len(arms) > 1:
            fitting = [arm for arm in arms if _fits(arm, node)]
            arms = tuple(fitting) or arms
        attempts: list[Decoding] = []
        for arm in arms:
            attempt = Decoding()
            value = attempt._any(arm, node, base)
            attempts.append(attempt)
            if value is not _FAILED:
                self._adopt(attempt)
                return value
        self._adopt(min(attempts, key=lambda attempt: len(attempt.problems)))
        return _FAILED

    def _adopt(self, attempt: "Decoding") -> None:
        self.problems += attempt.problems
        self.warnings += attempt.warnings
        self.secrets |= attempt.secrets

    def _decodable(self, target: Any, node: Node) -> Any:
        before = len(self.problems)
        value = target.decode(node, self)
        if value is None and len(self.problems) == before:
            self.problem(node, f"{described(node)} is not possible here")
        return value if len(self.problems) == before else _FAILED

    def _list(self, container: Any, args: tuple[Any, ...], node: Node) -> Any:
        item = args[0] if args else Any
        if node.value is None:
            values: list[Any] = []
        elif isinstance(node.value, list):
            values = [self._any(item, child, None) for child in node.value]
        else:
            fix = (
                f"write [{shown(node.value)}]"
                if not isinstance(node.value, dict) and node.path not in self.secrets
                else ""
            )
            return self._fail(node, f"expected a list, found {described(node)}", fix)
        if any(value is _FAILED for value in values):
            return _FAILED
        return values if container in (list, Sequence) else container(values)

    def _dict(self, args: tuple[Any, ...], node: Node) -> Any:
        key_type, item = args or (str, Any)
        if node.value is None:
            return {}
        if not isinstance(node.value, dict):
            return self._fail(node, f"expected a map, found {described(node)}", "write one `key: value` per line")
        result: dict[Any, Any] = {}
        failed = False
        for name, child in node.value.items():
            as_key = self._any(key_type, Node(name, child.origin, child.path), None)
            value = self._any(item, child, None)
            if as_key is _FAILED or value is _FAILED:
                failed = True
            else:
                result[as_key] = value
        return _FAILED if failed else result

    def _object(self, target: Any, node: Node, base: Any) -> Any:
        if node.value is None:
            written: Mapping[str, Node] = {}
        elif isinstance(node.value, dict):
            written = node.value
        else:
            known = ", ".join(list(keys(target))[:5])
            return self._fail(
                node, f"expected a map, found {described(node)}", f"its keys are {known}, ..." if known else ""
            )
        failed = False
        if _is_switch(target) and "enabled" in written:
            on = self._any(bool, written["enabled"], None)
            failed = on is _FAILED
            written = {} if on is False else {name: child for name, child in written.items() if name != "enabled"}
        for name in written:
            failed |= self._refuse(target, name, written)
        values: dict[str, Any] = {}
        for entry in keys(target).values():
            child = self._written(entry, written)
            value = self._absent(entry, node, base) if child is None else self._key(entry, child, base)
            if value is _FAILED:
                failed = True
            else:
                values[entry.field.name] = value
        if failed:
            return _FAILED
        made = target(**values)
        return made if self._check(made, node) else _FAILED

    def _refuse(self, target: Any, name: str, written: Mapping[str, Node]) -> bool:
        known = keys(target)
        if name in known or any(name in entry.aliases for entry in known.values()):
            return False
        instead = unsupported(target).get(name)
        if instead is not None:
            self.problem(written[name], "this key is known upstream but not supported here", instead)
            return True
        near = nearest(name, [n for n in known if n not in written]) or nearest(name, list(known))
        listed = ", ".join(known)
        self.problem(
            written[name], "unknown key", near or (f"known here: {listed}" if listed else "there are no keys here")
        )
        return True

    def _written(self, entry: Key, written: Mapping[str, Node]) -> Node | None:
        found: Node | None = None
        for name in (entry.name, *entry.aliases):
            child = written.get(name)
            if child is None:
                continue
            if found is not None:
                self.problem(child, f"the same as {entry.name}, which is there too", f"remove {name}")
            elif name != entry.name:
                self.warn(child, entry.deprecated or f"deprecated name: write {entry.name}")
            elif entry.deprecated:
                self.warn(child, entry.deprecated)
            found = found or child
        return found

    def _absent(self, entry: Key, node: Node, base: Any) -> Any:
        if base is not None:
            return getattr(base, entry.field.name)
        if entry.required:
            where = Node(None, node.origin, (*node.path, entry.name))
            return self._fail(
                where, "missing: this key is required", f"add {entry.name}: {entry.doc}" if entry.doc else ""
            )
        value = entry.default()
        return value if self._check_default(value, Node(None, node.origin, (*node.path, entry.name))) else _FAILED

    def _key(self, entry: Key, child: Node, base: Any) -> Any:
        default = None
        if base is not None:
            default = getattr(base, entry.field.name)
        elif not entry.required:
            default = entry.default()
        arms = get_args(entry.target) if get_origin(entry.target) in (Union, types.UnionType) else (entry.target,)
        absent = child.value is None and (child.text is None or not any(_takes_text(arm) for arm in arms))
        if absent and type(None) not in arms and entry.target is not Any:
            if not any(is_class(arm) for arm in arms) and not entry.required:
                return default
            if entry.required and not is_class(entry.target):
                return self._fail(child, "missing: this key is required, and it is null here")
        start = default if any(is_class(arm) and isinstance(default, arm) for arm in arms) else None
        return self._any(entry.target, child, start)

    def _check(self, made: Any, node: Node) -> bool:
        check = getattr(made, "check", None)
        if check is None:
            return True
        clean = True
        for path, problem in check():
            clean = False
            place = _descend(node, path)
            value = place.value
            if isinstance(value, str | int | float) and place.path not in self.secrets and shown(value) not in problem:
                problem = f"{problem} (it is {shown(value)})"
            self.problem(place, problem)
        return clean

    def _check_default(self, value: Any, node: Node) -> bool:
        cls: type = type(value)
        if not is_class(cls):
            return True
        inner = [
            self._check_default(getattr(value, entry.field.name), Node(None, node.origin, (*node.path, entry.name)))
            for entry in keys(cls).values()
        ]
        return all(inner) and self._check(value, node)


def decode(target: type[T], node: Node) -> tuple[T | None, list[Problem]]:
    """The typed value of a node, or None and the mistakes in it."""
    decoding = Decoding()
    value = decoding.decode(target, node)
    return (None if decoding.problems else value), decoding.problems


def from_plain(target: type[T], data: object) -> T:
    """A configuration from ordinary Python data, as a YAML parser gives it. Raises ConfigError."""
    value, problems = decode(target, to_node(data, Origin("data")))
    if problems:
        raise InvalidConfig(problems)
    return typing.cast(T, value)


def to_node(data: object, origin: Origin, path: Path = ()) -> Node:
    """Ordinary Python data as a tree of nodes that all have the same origin."""
    if isinstance(data, Mapping):
        return Node({str(name): to_node(item, origin, (*path, str(name))) for name, item in data.items()}, origin, path)
    if isinstance(data, list | tuple):
        return Node([to_node(item, origin, (*path, str(index))) for index, item in enumerate(data)], origin, path)
    if data is None or isinstance(data, bool | int | float | str):
        return Node(data, origin, path)
    return Node(str(data), origin, path)


def _is_switch(target: Any) -> bool:
    return getattr(target, "OPTIONAL", False) and "enabled" not in keys(target)


def _is_off(arms: tuple[Any, ...], node: Node) -> bool:
    enabled = node.value.get("enabled") if isinstance(node.value, dict) else None
    return enabled is not None and enabled.value is False and any(_is_switch(arm) for arm in arms)


def _fits(arm: Any, node: Node) -> bool:
    container = get_origin(arm) or arm
    if isinstance(node.value, list):
        return container in (list, tuple, Sequence, set, frozenset) or is_decodable(arm) or arm is Any
    if isinstance(node.value, dict):
        return container in (dict, Mapping) or is_class(arm) or is_decodable(arm) or arm is Any
    return not (container in (list, tuple, dict, Sequence, Mapping) or is_class(arm))


def _takes_text(target: Any) -> bool:
    return isinstance(target, type) and issubclass(target, str)


def _looks_like(what: str, text: str) -> bool:
    if what == "true or false":
        return text in ("true", "false")
    return text.removeprefix("-").replace(".", "", 0 if what == "an integer" else 1).isdigit()


def _descend(node: Node, path: str) -> Node:
    """The node at a path such as "tls.cert_file"; where it was not written, its place with the parent's origin."""
    for name in _steps(path):
        child: Node | None = None
        if isinstance(node.value, dict):
            child = node.value.get(name)
        elif isinstance(node.value, list) and name.isdigit() and int(name) < len(node.value):
            child = node.value[int(name)]
        node = child if child is not None else Node(None, node.origin, (*node.path, name))
    return node


def _steps(path: str) -> Iterator[str]:
    for step in path.replace("::", ".").replace("[", ".").replace("]", "").split("."):
        if step:
            yield step
