"""Timestamps from a field of an entry: strptime, gotime and epoch layouts.

Source: pkg/stanza/operator/helper/time.go. A layout that ends in Z is read as UTC, any other without a zone in
`location`, and without that in the machine's zone; a missing year is this one, or the last one where the time would
be more than a week ahead.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from heliograph.component.config import key
from heliograph.receivers.file_log.operators.entry import MISSING, Entry, Field, FieldError, kind
from heliograph.receivers.file_log.operators.layout import Layout, LayoutError, to_go, zone_by_name

_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH = ("s", "ms", "us", "ns", "s.ms", "s.us", "s.ns")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampConfig:
    """Reads the time of a record from a field."""

    parse_from: str = key("", "Field that holds the time; required.")
    layout_type: str = key("strptime", "strptime, gotime or epoch.")
    layout: str = key("", "The layout, for example '%Y-%m-%d %H:%M:%S.%L'; for epoch one of s ms us ns s.ms s.us s.ns.")
    location: str = key("", "Time zone where the text has none, such as Europe/Berlin; the machine's otherwise.")
    time_zone_locations: dict[str, str] = key(dict, "Abbreviations of zones to names of the IANA database.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from check_timestamp(
            self.parse_from, self.layout_type, self.layout, self.location, self.time_zone_locations
        )


def check_timestamp(
    parse_from: str, layout_type: str, layout: str, location: str, zones: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Problems of timestamp keys, as `check` yields them."""
    try:
        if not parse_from:
            yield "parse_from", "is required: name the field that holds the time"
        else:
            Field.parse(parse_from)
    except FieldError as error:
        yield "parse_from", str(error)
    if layout_type not in ("", "strptime", "gotime", "epoch"):
        yield "layout_type", f"{layout_type!r} is not one of strptime, gotime, epoch"
    elif not layout:
        yield "layout", "is required"
    elif layout_type == "epoch" and layout not in _EPOCH:
        yield "layout", f"{layout!r} is not one of {', '.join(_EPOCH)}"
    elif layout_type in ("", "strptime"):
        try:
            to_go(layout)
        except LayoutError as error:
            yield "layout", str(error)
    for place, name in (
        ("location", location),
        *((f"time_zone_locations.{zone}", name) for zone, name in zones.items()),
    ):
        if name and name != "Local":
            try:
                zone_by_name(name)
            except LayoutError as error:
                yield place, str(error)


class TimestampParser:
    """Bound to one configuration, which has been checked."""

    def __init__(self, parse_from: str, layout_type: str, layout: str, location: str, zones: dict[str, str]) -> None:
        self._field = Field.parse(parse_from)
        self._epoch = layout if layout_type == "epoch" else ""
        self._layout: Layout | None = None
        self._location: tzinfo | None = None
        self._zones = {name: zone_by_name(zone) for name, zone in zones.items()}
        if not self._epoch:
            text = layout if layout_type == "gotime" else to_go(layout)
            self._layout = Layout(text)
            if location and location != "Local":
                self._location = zone_by_name(location)
            elif text.endswith("Z") and not location:
                self._location = UTC

    def parse(self, entry: Entry) -> None:
        """Set the entry's timestamp. Raises ValueError when the field is missing or cannot be read."""
        value = self._field.get(entry)
        if value is MISSING:
            raise ValueError(f"the entry has no field {self._field} to read the time from")
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        entry.timestamp = self._read_epoch(value) if self._layout is None else self._read_text(value)

    def _read_text(self, value: Any) -> int:
        if not isinstance(value, str):
            raise ValueError(f"a {kind(value)} cannot be parsed as a time")
        assert self._layout is not None
        return self._layout.read(value, self._location, self._zones, time.time_ns())

    def _read_epoch(self, value: Any) -> int:
        layout = self._epoch
        whole = layout in _UNITS
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"a {kind(value)} cannot be parsed as a time")
        if isinstance(value, int):
            stamp = str(value) if whole else f"{value}.0"
        elif isinstance(value, float):
            digits = {"s.ms": 3, "s.us": 6, "s.ns": 9}.get(layout, 0)
            stamp = str(int(value)) if whole else f"{value:.{digits}f}"
        else:
            stamp = value
        try:
            if whole:
                return int(stamp) * _UNITS[layout]
            seconds, _, rest = stamp.partition(".")
            return int(seconds) * 10**9 + int(rest) * _UNITS[layout[2:]]
        except (ValueError, OverflowError):
            raise ValueError(f"invalid value {stamp!r} for layout {layout!r}") from None


def timestamp_parser(config: TimestampConfig) -> TimestampParser:
    """The parser of a nested `timestamp` block."""
    return TimestampParser(
        config.parse_from, config.layout_type, config.layout, config.location, config.time_zone_locations
    )
