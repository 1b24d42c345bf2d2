"""Operators that rearrange an entry: move add remove copy flatten retain unquote regex_replace noop filter router.

Source: pkg/stanza/operator/transformer/. One difference: `retain` keeps time and severity (upstream loses the
severity).
"""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from heliograph.component.config import key
from heliograph.receivers.file_log.operators.base import (
    Logger,
    Operator,
    OperatorConfig,
    Target,
    check_condition,
    check_field,
)
from heliograph.receivers.file_log.operators.entry import MISSING, Entry, Field, kind
from heliograph.receivers.file_log.operators.expression import (
    Expression,
    ExpressionError,
    compile_condition,
    compile_expression,
)
from heliograph.receivers.file_log.operators.regex import RegexError, compile_text, expand
from heliograph.receivers.file_log.operators.rows import unquote


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveConfig(OperatorConfig):
    """Moves or copies a field."""

    from_: str = key("", "Field to take the value from; required.", name="from")
    to: str = key("", "Field that gets it; required.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        yield from check_field("from", self.from_)
        yield from check_field("to", self.to)


class Move(Operator):
    """move."""

    def __init__(self, config: MoveConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._from, self._to = Field.parse(config.from_), Field.parse(config.to)

    def transform(self, entry: Entry) -> None:
        value = self._from.delete(entry)
        if value is MISSING:
            raise ValueError(f"move: field {self._from} does not exist")
        try:
            self._to.set(entry, value)
        except ValueError:
            self._from.set(entry, value)
            raise


class Copy(Operator):
    """copy."""

    def __init__(self, config: MoveConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._from, self._to = Field.parse(config.from_), Field.parse(config.to)

    def transform(self, entry: Entry) -> None:
        value = self._from.get(entry)
        if value is MISSING:
            raise ValueError(f"copy: field {self._from} does not exist")
        self._to.set(entry, copy.deepcopy(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddConfig(OperatorConfig):
    """Sets a field to a value or to the result of an expression."""

    field: str = key("", "Field to set; required.")
    value: Any = key(None, "The value; text of the form EXPR(...) is evaluated.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        yield from check_field("field", self.field)
        if self.value is None:
            yield "value", "is required"
        text = expression_text(self.value)
        if text is not None:
            try:
                compile_expression(text)
            except ExpressionError as error:
                yield "value", str(error)


def expression_text(value: Any) -> str | None:
    """What stands in EXPR(...), or None for anything else."""
    if isinstance(value, str) and value.startswith("EXPR(") and value.endswith(")"):
        return value[5:-1]
    return None


class Add(Operator):
    """add."""

    def __init__(self, config: AddConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._field = Field.parse(config.field)
        text = expression_text(config.value)
        self._compute: Expression | None = None if text is None else compile_expression(text)
        self._value = config.value
        self._simple = not isinstance(config.value, dict | list)

    def transform(self, entry: Entry) -> None:
        if self._compute is not None:
            self._field.set(entry, self._compute(entry))
        else:
            self._field.set(entry, self._value if self._simple else copy.deepcopy(self._value))


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldConfig(OperatorConfig):
    """Works on one field."""

    field: str = key("", "The field; required.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        yield from check_field("field", self.field)


class Remove(Operator):
    """remove."""

    def __init__(self, config: FieldConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._field = Field.parse(config.field)

    def transform(self, entry: Entry) -> None:
        if self._field.delete(entry) is MISSING:
            raise ValueError(f"remove: field {self._field} does not exist")


class Flatten(Operator):
    """flatten: the keys of a map go one level up."""

    def __init__(self, config: FieldConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._field = Field.parse(config.field)

    def transform(self, entry: Entry) -> None:
        value = self._field.get(entry)
        if not isinstance(value, dict):
            raise ValueError(f"flatten: field {self._field} is {kind(value)}, not a map")
        self._field.delete(entry)
        parent = self._field.parent()
        for name, item in value.items():
            parent.child(name).set(entry, item)


class Unquote(Operator):
    """unquote."""

    def __init__(self, config: FieldConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._field = Field.parse(config.field)

    def transform(self, entry: Entry) -> None:
        value = self._field.get(entry)
        if not isinstance(value, str):
            raise ValueError(f"unquote: field {self._field} is {kind(value)}, not a string")
        self._field.set(entry, unquote(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetainConfig(OperatorConfig):
    """Keeps some fields of body, attributes or resource and removes the others."""

    fields: list[str] = key(list, "Fields to keep; required. A root that no field names is kept whole.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        if not self.fields:
            yield "fields", "is required: name at least one field"
        for number, field in enumerate(self.fields):
            yield from check_field(f"fields.{number}", field)


class Retain(Operator):
    """retain."""

    def __init__(self, config: RetainConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._fields = [Field.parse(field) for field in config.fields]
        self._roots = {field.root for field in self._fields}

    def transform(self, entry: Entry) -> None:
        kept = [(field, value) for field in self._fields if (value := field.get(entry)) is not MISSING]
        for root in self._roots:
            setattr(entry, root, None if root == "body" else {})
        for field, value in kept:
            field.set(entry, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexReplaceConfig(FieldConfig):
    """Replaces what a regular expression (RE2 syntax) matches."""

    regex: str = key("", "The expression; this or regex_name.")
    regex_name: str = key("", "A well-known expression: ansi_control_sequences.")
    replace_with: str = key("", "Replacement; $1 and ${name} are groups.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from FieldConfig.check(self)
        if bool(self.regex) == bool(self.regex_name):
            yield "regex", "set either regex or regex_name"
        if self.regex_name not in ("", "ansi_control_sequences"):
            yield "regex_name", f"{self.regex_name!r} is not known: write ansi_control_sequences"
        try:
            compile_text(self.regex)
        except RegexError as error:
            yield "regex", str(error)


class RegexReplace(Operator):
    """regex_replace."""

    def __init__(self, config: RegexReplaceConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._field = Field.parse(config.field)
        self._pattern = compile_text(config.regex or r"\x1B\[[\x30-\x3F]*[\x20-\x2F]*[\x40-\x7E]")
        template = config.replace_with
        self._replace: Any = (lambda match: expand(template, match)) if "$" in template else (lambda match: template)

    def transform(self, entry: Entry) -> None:
        value = self._field.get(entry)
        if not isinstance(value, str):
            raise ValueError(f"regex_replace: field {self._field} is {kind(value)}, not a string")
        self._field.set(entry, self._pattern.sub(self._replace, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoopConfig(OperatorConfig):
    """Passes entries on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterConfig(OperatorConfig):
    """Drops entries for which an expression is true."""

    expr: str = key("", "The expression; required.")
    drop_ratio: float = key(1.0, "Share of the matching entries that is dropped, 0 to 1.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        if not self.expr:
            yield "expr", "is required"
        else:
            yield from check_condition("expr", self.expr)
        if not 0 <= self.drop_ratio <= 1:
            yield "drop_ratio", "must be between 0 and 1"


class Filter(Operator):
    """filter."""

    def __init__(self, config: FilterConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._matches = compile_condition(config.expr)
        self._ratio = config.drop_ratio

    def process(self, entry: Entry) -> None:
        try:
            if self._condition is not None and not self._condition(entry):
                self.write(entry)
                return
            matches = self._matches(entry)
        except ValueError as error:
            self.failed(entry, error)
            return
        if matches and (self._ratio >= 1.0 or random.random() < self._ratio):
            return
        self.write(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteConfig:
    """One way out of a router."""

    expr: str = key("", "Entries for which it is true take this way; required.")
    output: Any = key(None, "Id of the operator that gets them, or a list of ids; required.")
    attributes: dict[str, Any] = key(dict, "Attributes that they get.")

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.expr:
            yield "expr", "is required"
        else:
            yield from check_condition("expr", self.expr)
        if not self.output:
            yield "output", "is required"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfig(OperatorConfig):
    """Sends each entry the first way whose expression is true."""

    routes: list[RouteConfig] = key(list, "The ways, tried in this order; required.")
    default: Any = key(None, "Id of the operator (or ids) for entries that match none; they end here when absent.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        if not self.routes:
            yield "routes", "is required"


class Router(Operator):
    """router."""

    def __init__(self, config: RouterConfig, log: Logger) -> None:
        super().__init__(config, log)
        self.routes: list[tuple[Callable[[Entry], bool], dict[str, Any], list[Target]]] = [
            (compile_condition(route.expr), route.attributes, []) for route in config.routes
        ]
        self.default: list[Target] = []

    def process(self, entry: Entry) -> None:
        for matches, attributes, outputs in self.routes:
            try:
                if not matches(entry):
                    continue
            except ValueError as error:
                self.complain(f"operator {self.id}: {error}")
                continue
            for name, value in attributes.items():
                entry.attributes[name] = copy.deepcopy(value)
            self.outputs = outputs
            self.write(entry)
            return
        if self.default:
            self.outputs = self.default
            self.write(entry)
        else:
            self.dropped += 1
