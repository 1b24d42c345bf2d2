"""What every operator has: an id, a condition, a way to go on, and a rule for errors.

Operators form a graph: `write` hands an entry to the outputs (by default the next operator of the list, at the end
the sink). `on_error` follows upstream: "send" logs and passes the entry on as it is, "drop" logs and ends it, the
"_quiet" forms do not log. Errors are logged once a minute and operator, with the count of those in between, since a
bad file makes one a line.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from heliograph.component.config import key
from heliograph.receivers.file_log.operators.entry import MISSING, Entry, Field, FieldError
from heliograph.receivers.file_log.operators.expression import ExpressionError, compile_condition
from heliograph.receivers.file_log.operators.severity import SeverityConfig, severity_parser
from heliograph.receivers.file_log.operators.timestamp import TimestampConfig, timestamp_parser

Logger = logging.Logger | logging.LoggerAdapter[Any]
_LOG_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorConfig:
    """Keys of every operator."""

    type: str = key("", "The operator's type.")
    id: str = key("", "Name by which other operators refer to this one; its type when absent.")
    output: Any = key(None, "Id of the operator that gets the entries (or a list of ids), the next one when absent.")
    on_error: str = key("send", "What happens to an entry that fails: send, drop, send_quiet or drop_quiet.")
    condition: str = key("", "Expression; the operator only works on entries for which it is true.", name="if")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.on_error not in ("send", "drop", "send_quiet", "drop_quiet"):
            yield "on_error", f"{self.on_error!r} is not one of send, drop, send_quiet, drop_quiet"
        outputs = self.output if isinstance(self.output, list) else [self.output]
        if self.output is not None and not all(isinstance(name, str) for name in outputs):
            yield "output", "must be the id of an operator or a list of ids"
        if self.condition:
            yield from check_condition("if", self.condition)


def check_condition(place: str, text: str) -> Iterator[tuple[str, str]]:
    """The problem of a condition, if it has one."""
    try:
        compile_condition(text)
    except ExpressionError as error:
        yield place, str(error)


def check_field(place: str, text: str, *, required: bool = True, whole: bool = True) -> Iterator[tuple[str, str]]:
    """The problem of a field, if it has one."""
    if not text:
        if required:
            yield place, "is required: name a field such as body or attributes.name"
        return
    try:
        Field.parse(text, whole=whole)
    except FieldError as error:
        yield place, str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserConfig(OperatorConfig):
    """Keys of operators that parse a field into fields."""

    parse_from: str = key("body", "Field to parse.")
    parse_to: str = key("attributes", "Field that gets the result.")
    body: str = key("", "Field of the result that becomes the body.")
    timestamp: TimestampConfig | None = key(None, "Reads the record's time after parsing.")
    severity: SeverityConfig | None = key(None, "Reads the record's severity after parsing.")

    UNSUPPORTED = {
        "trace": "trace parsing is not done here; put the ids into attributes",
        "scope_name": "scope names are not done here; put the name into an attribute",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        yield from check_field("parse_from", self.parse_from)
        yield from check_field("parse_to", self.parse_to)
        yield from check_field("body", self.body, required=False)
        if self.body and self.parse_to == "body":
            yield "parse_to", "cannot be body when the key body is set"


class Target(Protocol):
    """Whatever takes entries: an operator or the sink at the end."""

    def process(self, entry: Entry) -> None:
        """Take an entry."""


class Operator:
    """Base of all operators; subclasses implement `transform` or override `process`."""

    def __init__(self, config: OperatorConfig, log: Logger) -> None:
        self.id = config.id or config.type
        self.config = config
        self.log = log
        self.outputs: list[Target] = []
        self.following: Operator | None = None
        self._condition: Callable[[Entry], bool] | None = (
            compile_condition(config.condition) if config.condition else None
        )
        self._send = config.on_error.startswith("send")
        self._quiet = config.on_error.endswith("quiet")
        self._logged = 0.0
        self._unlogged = 0
        self.dropped = 0

    def process(self, entry: Entry) -> None:
        """Work on an entry and hand it on. Operators of this form that follow one another are done here in a row."""
        operator = self
        while True:
            try:
                if operator._condition is None or operator._condition(entry):
                    operator.transform(entry)
            except ValueError as error:
                operator.failed(entry, error)
                return
            following = operator.following
            if following is None:
                operator.write(entry)
                return
            operator = following

    def joined(self) -> None:
        """The outputs are known: see whether the only one works as `process` here does."""
        only = self.outputs[0] if len(self.outputs) == 1 else None
        if isinstance(only, Operator) and type(only).process is Operator.process:
            self.following = only

    def transform(self, entry: Entry) -> None:
        """Change the entry in place. Raises ValueError when that cannot be done."""

    def write(self, entry: Entry) -> None:
        """Hand an entry to the outputs; all but the last get a copy."""
        outputs = self.outputs
        if len(outputs) == 1:
            outputs[0].process(entry)
            return
        for number, output in enumerate(outputs[:-1], 1):
            copied = entry.clone()
            if copied.uid:
                copied.uid = f"{entry.uid}.{number}"
            output.process(copied)
        if outputs:
            outputs[-1].process(entry)

    def failed(self, entry: Entry, error: Exception) -> None:
        """What `on_error` says."""
        if not self._quiet:
            self.complain(f"operator {self.id}: {error}")
        if self._send:
            self.write(entry)
        else:
            self.dropped += 1

    def complain(self, message: str) -> None:
        """Log an error, at most once a minute, with the number of those that were not logged."""
        now = time.monotonic()
        if self._logged and now - self._logged < _LOG_SECONDS:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more like this were not logged)" if self._unlogged else ""
        self.log.error("%s%s", message[:1000], more)
        self._logged, self._unlogged = now, 0

    def flush(self, now: int, everything: bool) -> None:
        """Let go of entries held back for too long (`now`: monotonic nanoseconds), or of all."""

    def held(self) -> "Iterator[Entry]":
        """Entries held back."""
        return iter(())


class Parser(Operator):
    """An operator that parses one field into another; subclasses implement `parse`."""

    def __init__(self, config: ParserConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._from = Field.parse(config.parse_from)
        self._to = Field.parse(config.parse_to)
        self._body = Field.parse(config.body) if config.body else None
        self._timestamp = timestamp_parser(config.timestamp) if config.timestamp else None
        self._severity = severity_parser(config.severity) if config.severity else None

    def parse(self, value: Any, entry: Entry) -> Any:
        """The parsed value. Raises ValueError."""
        raise ValueError("cannot parse")

    def transform(self, entry: Entry) -> None:
        """Parse, then read time and severity; both are tried before an error of either counts."""
        value = self._from.get(entry)
        if value is MISSING:
            raise ValueError(f"the entry has no field {self._from}")
        self._to.set(entry, self.parse(value, entry))
        if self._body is not None:
            body = self._body.get(entry)
            if body is not MISSING:
                entry.body = body
        problem: ValueError | None = None
        for part in (self._severity, self._timestamp):
            if part is not None:
                try:
                    part.parse(entry)
                except ValueError as error:
                    problem = error
        if problem is not None:
            raise problem
