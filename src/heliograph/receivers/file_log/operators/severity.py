"""Severity from text or a number in an entry, by upstream's presets and a mapping of one's own.

Source: pkg/stanza/operator/helper/severity*.go. The number is the semantic convention's 1..24; the text kept is what
was found in the entry, as upstream does unless `overwrite_text` is set. A value that maps to nothing leaves the
severity unset.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from heliograph.component.config import key
from heliograph.receivers.file_log.operators.entry import MISSING, Entry, Field, FieldError, kind

_NAMES = ("trace", "debug", "info", "warn", "error", "fatal")
SHORT_TEXT = ("DEFAULT", *(f"{name.upper()}{'' if step == 1 else step}" for name in _NAMES for step in range(1, 5)))


def _aliases() -> dict[str, int]:
    mapping: dict[str, int] = {}
    for place, name in enumerate(_NAMES):
        for step in range(4):
            number = place * 4 + step + 1
            mapping[name if step == 0 else f"{name}{step + 1}"] = number
            mapping[str(number)] = number
    return mapping


def _default() -> dict[str, int]:
    mapping = _aliases()
    for alias, name in (("warning", "warn"), ("err", "error")):
        for step in ("", "2", "3", "4"):
            mapping[alias + step] = mapping[name + step]
    return mapping


def _values(value: Any) -> list[str] | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return [str(value)]
    if isinstance(value, str):
        if value in ("2xx", "3xx", "4xx", "5xx"):
            first = int(value[0]) * 100
            return [str(number) for number in range(first, first + 100)]
        return [value.lower()]
    if isinstance(value, dict):
        low, high = value.get("min"), value.get("max")
        if isinstance(low, int) and isinstance(high, int) and abs(high - low) <= 100_000:
            return [str(number) for number in range(min(low, high), max(low, high) + 1)]
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityConfig:
    """Reads a severity from a field."""

    parse_from: str = key("", "Field that holds the severity; required.")
    preset: str = key("default", "Built-in mapping to start from: default, otel or none.")
    mapping: dict[str, Any] = key(
        dict, "Severity (error, info2, ...) to a value, a range {min, max}, 5xx, or a list of these."
    )
    overwrite_text: bool = key(False, "Set the severity text to the canonical name (ERROR) instead of what was found.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_severity(self.parse_from, self.preset, self.mapping)


def check_severity(parse_from: str, preset: str, mapping: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Problems of severity keys, as `check` yields them."""
    try:
        if not parse_from:
            yield "parse_from", "is required: name the field that holds the severity"
        else:
            Field.parse(parse_from)
    except FieldError as error:
        yield "parse_from", str(error)
    if preset not in ("", "default", "otel", "aliases", "none"):
        yield "preset", f"{preset!r} is not one of default, otel, none"
    for name, value in mapping.items():
        if name.lower() not in _aliases():
            yield f"mapping.{name}", "is no severity: write trace, debug, info, warn, error, fatal (with 2, 3 or 4)"
        for item in value if isinstance(value, list) else [value]:
            if _values(item) is None:
                yield f"mapping.{name}", f"{item!r} is no value, range or class such as 5xx"


class SeverityParser:
    """Bound to one configuration, which has been checked."""

    def __init__(self, parse_from: str, preset: str, mapping: dict[str, Any], overwrite_text: bool) -> None:
        self._field = Field.parse(parse_from)
        self._overwrite = overwrite_text
        self._mapping = {} if preset == "none" else _aliases() if preset in ("otel", "aliases") else _default()
        for name, value in mapping.items():
            number = _aliases()[name.lower()]
            for item in value if isinstance(value, list) else [value]:
                for text in _values(item) or []:
                    self._mapping[text] = number

    def parse(self, entry: Entry) -> None:
        """Set severity and its text. Raises ValueError when the field is missing or no scalar."""
        value = self._field.get(entry)
        if type(value) is str:
            text = value
        elif value is MISSING:
            raise ValueError(f"the entry has no field {self._field} to read the severity from")
        else:
            text = _scalar(value)
        number = self._mapping.get(text)
        if number is None:
            number = self._mapping.get(text.lower(), 0)
        entry.severity = number
        entry.severity_text = SHORT_TEXT[number] if self._overwrite and number else text


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | bytes | float):
        raise ValueError(f"a {kind(value)} cannot be parsed as a severity")
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"{value} cannot be parsed as a severity")
        value = int(value)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def severity_parser(config: SeverityConfig) -> SeverityParser:
    """The parser of a nested `severity` block."""
    return SeverityParser(config.parse_from, config.preset, config.mapping, config.overwrite_text)
