"""Operators that turn a field into fields: regex, JSON, key=value pairs, CSV; and those that read only a time or a
severity.

Source: pkg/stanza/operator/parser/. JSON numbers are floats unless `parse_ints`, as upstream's decoder makes them.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from heliograph.component.config import key
from heliograph.receivers.file_log.operators.base import Logger, Operator, OperatorConfig, Parser, ParserConfig
from heliograph.receivers.file_log.operators.entry import Entry, kind
from heliograph.receivers.file_log.operators.regex import RegexError, compile_text
from heliograph.receivers.file_log.operators.rows import csv_row, key_values
from heliograph.receivers.file_log.operators.severity import SeverityParser, check_severity
from heliograph.receivers.file_log.operators.timestamp import TimestampParser, check_timestamp


def _text(value: Any, what: str) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise ValueError(f"a {kind(value)} cannot be parsed as {what}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """Remembers results of a regular expression."""

    size: int = key(0, "Texts to remember; 0 for none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexParserConfig(ParserConfig):
    """Parses text by a regular expression with named groups (RE2 syntax)."""

    regex: str = key("", "The expression; required; each named group becomes a field.")
    cache: CacheConfig | None = key(None, "Remembers results, for texts that repeat.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from ParserConfig.check(self)
        if not self.regex:
            yield "regex", "is required"
            return
        try:
            if not compile_text(self.regex).groupindex:
                yield "regex", f"{self.regex!r} has no named group: write (?P<name>...)"
        except RegexError as error:
            yield "regex", str(error)


class RegexParser(Parser):
    """regex_parser."""

    def __init__(self, config: RegexParserConfig, log: Logger) -> None:
        super().__init__(config, log)
        pattern = compile_text(config.regex)
        names = tuple(pattern.groupindex)
        groups = tuple(pattern.groupindex.values())
        search = pattern.search

        def match(text: str) -> dict[str, str] | None:
            found = search(text)
            if found is None:
                return None
            return {name: found[group] or "" for name, group in zip(names, groups, strict=True)}

        size = config.cache.size if config.cache else 0
        self._match = lru_cache(maxsize=size)(match) if size > 0 else match

    def parse(self, value: Any, entry: Entry) -> Any:
        found = self._match(_text(value, "text for a regular expression"))
        if found is None:
            raise ValueError("regex pattern does not match")
        return dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonParserConfig(ParserConfig):
    """Parses a JSON object."""

    parse_ints: bool = key(False, "Keep whole numbers as integers; otherwise every number is a float.")


_MINUS_ZERO = re.compile(r"-0(?![.\d])")


class JsonParser(Parser):
    """json_parser."""

    def __init__(self, config: JsonParserConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._whole = _integer if config.parse_ints else float
        # Slower, but it takes what orjson does not: lone surrogates, infinities, -0.
        self._decode = json.JSONDecoder(parse_int=self._whole, parse_constant=_constant).decode

    def parse(self, value: Any, entry: Entry) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"a {kind(value)} cannot be parsed as JSON")
        try:
            parsed = self._parsed(value)
        except (ValueError, RecursionError, OverflowError) as error:
            raise ValueError(f"cannot parse JSON: {error}") from None
        if not isinstance(parsed, dict):
            raise ValueError(f"the JSON value is {kind(parsed)}, not a map")
        return parsed

    def _parsed(self, text: str) -> Any:
        if _MINUS_ZERO.search(text):
            return self._decode(text)
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError:
            return self._decode(text)
        if isinstance(parsed, dict):
            _convert(parsed, parsed.items(), self._whole)
        return parsed


def _integer(number: str | int) -> int | float:
    if isinstance(number, str):
        if len(number) > 20:
            return float(number)
        number = int(number)
    return number if -(2**63) <= number < 2**63 else float(number)


def _convert(values: Any, places: Iterable[tuple[Any, Any]], whole: Callable[[int], int | float]) -> None:
    """Replace whole numbers in a map or list, and in those inside it."""
    for place, value in places:
        type_ = type(value)
        if type_ is int:
            values[place] = whole(value)
        elif type_ is dict:
            _convert(value, value.items(), whole)
        elif type_ is list:
            _convert(value, enumerate(value), whole)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValueParserConfig(ParserConfig):
    """Parses pairs such as `a=1 b="two words"`."""

    delimiter: str = key("=", "Between key and value.")
    pair_delimiter: str = key(" ", "Between pairs; whitespace when absent.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from ParserConfig.check(self)
        if not self.delimiter:
            yield "delimiter", "must not be empty"
        if self.delimiter == (self.pair_delimiter or " "):
            yield "pair_delimiter", "must differ from delimiter"


class KeyValueParser(Parser):
    """key_value_parser."""

    def __init__(self, config: KeyValueParserConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._delimiter = config.delimiter
        self._pairs = config.pair_delimiter or " "

    def parse(self, value: Any, entry: Entry) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"a {kind(value)} cannot be parsed as key value pairs")
        return key_values(value, self._delimiter, self._pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvParserConfig(ParserConfig):
    """Parses one row of separated values."""

    header: str = key("", "Names of the columns, separated by header_delimiter; this or header_attribute.")
    header_attribute: str = key("", "Attribute that holds the names of the columns; this or header.")
    delimiter: str = key(",", "One character between values.")
    header_delimiter: str = key("", "One character between names; the delimiter when absent.")
    lazy_quotes: bool = key(False, "Take quotes inside values as they are.")
    ignore_quotes: bool = key(False, "Quotes have no meaning: only split.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from ParserConfig.check(self)
        if bool(self.header) == bool(self.header_attribute):
            yield "header", "set either header or header_attribute"
        for name, value in (("delimiter", self.delimiter), ("header_delimiter", self.header_delimiter or ",")):
            if len(value) != 1 or value in "\r\n":
                yield name, f"must be one character, not {value!r}"
        if self.header and (self.header_delimiter or self.delimiter) not in self.header:
            yield "header", f"{self.header!r} does not contain the delimiter"
        if self.lazy_quotes and self.ignore_quotes:
            yield "ignore_quotes", "cannot be set together with lazy_quotes"


class CsvParser(Parser):
    """csv_parser."""

    def __init__(self, config: CsvParserConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._delimiter = config.delimiter
        self._header_delimiter = config.header_delimiter or config.delimiter
        self._names = config.header.split(self._header_delimiter) if config.header else None
        self._header_from = config.header_attribute
        self._lazy = config.lazy_quotes
        self._ignore = config.ignore_quotes

    def parse(self, value: Any, entry: Entry) -> Any:
        names = self._names
        if names is None:
            header = entry.attributes.get(self._header_from)
            if not isinstance(header, str):
                raise ValueError(f"attribute {self._header_from!r} holds no header")
            names = header.split(self._header_delimiter)
        text = _text(value, "csv")
        row = text.split(self._delimiter) if self._ignore else csv_row(text, self._delimiter, self._lazy)
        if len(row) != len(names):
            raise ValueError(f"wrong number of fields: expected {len(names)}, found {len(row)}")
        return dict(zip(names, row, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeParserConfig(OperatorConfig):
    """Reads the time of a record from a field."""

    parse_from: str = key("", "Field that holds the time; required.")
    layout_type: str = key("strptime", "strptime, gotime or epoch.")
    layout: str = key("", "The layout; required.")
    location: str = key("", "Time zone where the text has none.")
    time_zone_locations: dict[str, str] = key(dict, "Abbreviations of zones to names of the IANA database.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        yield from check_timestamp(
            self.parse_from, self.layout_type, self.layout, self.location, self.time_zone_locations
        )


class TimeParser(Operator):
    """time_parser."""

    def __init__(self, config: TimeParserConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._parser = TimestampParser(
            config.parse_from, config.layout_type, config.layout, config.location, config.time_zone_locations
        )

    def transform(self, entry: Entry) -> None:
        self._parser.parse(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityParserConfig(OperatorConfig):
    """Reads the severity of a record from a field."""

    parse_from: str = key("", "Field that holds the severity; required.")
    preset: str = key("default", "Built-in mapping to start from: default, otel or none.")
    mapping: dict[str, Any] = key(
        dict, "Severity (error, info2, ...) to a value, a range {min, max}, 5xx, or a list of these."
    )
    overwrite_text: bool = key(False, "Set the severity text to the canonical name instead of what was found.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        yield from check_severity(self.parse_from, self.preset, self.mapping)


class SeverityOperator(Operator):
    """severity_parser."""

    def __init__(self, config: SeverityParserConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._parser = SeverityParser(config.parse_from, config.preset, config.mapping, config.overwrite_text)

    def transform(self, entry: Entry) -> None:
        self._parser.parse(entry)
