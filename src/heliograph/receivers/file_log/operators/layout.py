"""Layouts of times in text: strptime and Go's reference time, compiled to a regular expression and a reader.

A strptime layout becomes a Go layout (the table of pkg/stanza/docs/types/timestamp.md), and that becomes a pattern
with one group for each element. The rules are those of Go's time.Parse as documented: fraction digits may follow the
seconds even where the layout has none, names match in any case, an unpadded element takes one or two digits.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final

_STRPTIME: Final = {
    "Y": "2006",
    "y": "06",
    "m": "01",
    "o": "_1",
    "q": "1",
    "b": "Jan",
    "h": "Jan",
    "B": "January",
    "d": "02",
    "e": "_2",
    "g": "2",
    "a": "Mon",
    "A": "Monday",
    "H": "15",
    "I": "3",
    "l": "03",
    "p": "PM",
    "P": "pm",
    "M": "04",
    "S": "05",
    "L": "999",
    "f": "999999",
    "s": "99999999",
    "Z": "MST",
    "z": "Z0700",
    "w": "-070000",
    "i": "-07",
    "j": "-07:00",
    "k": "-07:00:00",
    "D": "01/02/2006",
    "F": "2006-01-02",
    "T": "15:04:05",
    "r": "03:04:05 pm",
    "c": "Mon Jan 02 15:04:05 2006",
    "R": "15:04",
    "n": "\n",
    "t": "\t",
    "%": "%",
}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONG_MONTHS: Final = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAYS: Final = "Sunday|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday"

# element of a Go layout -> (group, pattern); longest first where one starts another
_ELEMENTS: Final[tuple[tuple[str, str, str], ...]] = (
    ("January", "month_name", f"(?:{_LONG_MONTHS})"),
    ("Jan", "month_name", "(?:" + "|".join(_MONTHS) + ")"),
    ("Monday", "", f"(?:{_DAYS})"),
    ("Mon", "", "(?:sun|mon|tue|wed|thu|fri|sat)"),
    ("MST", "zone_name", r"(?:[A-Z]{3,5}|[+-]\d{2})(?:[+-]\d{1,2})?"),
    ("2006", "year", r"\d{4}"),
    ("Z07:00:00", "zone", r"Z|[+-]\d\d:\d\d:\d\d"),
    ("Z070000", "zone", r"Z|[+-]\d{6}"),
    ("Z07:00", "zone", r"Z|[+-]\d\d:\d\d"),
    ("Z0700", "zone", r"Z|[+-]\d{4}"),
    ("Z07", "zone", r"Z|[+-]\d\d"),
    ("-07:00:00", "zone", r"[+-]\d\d:\d\d:\d\d"),
    ("-070000", "zone", r"[+-]\d{6}"),
    ("-07:00", "zone", r"[+-]\d\d:\d\d"),
    ("-0700", "zone", r"[+-]\d{4}"),
    ("-07", "zone", r"[+-]\d\d"),
    ("002", "year_day", r"\d{3}"),
    ("01", "month", r"\d\d"),
    ("02", "day", r"\d\d"),
    ("03", "hour", r"\d\d"),
    ("04", "minute", r"\d\d"),
    ("05", "second", r"\d\d"),
    ("06", "short_year", r"\d\d"),
    ("15", "hour", r"\d{1,2}"),
    ("PM", "half", "AM|PM"),
    ("pm", "half", "am|pm"),
    ("_2", "day", r" ?\d{1,2}"),
    ("_1", "month", r" ?\d{1,2}"),
    ("1", "month", r"\d{1,2}"),
    ("2", "day", r"\d{1,2}"),
    ("3", "hour", r"\d{1,2}"),
    ("4", "minute", r"\d{1,2}"),
    ("5", "second", r"\d{1,2}"),
)
_KNOWN: Final = 256
_FRACTION: Final = re.compile(r"[.,](0+|9+)(?!\d)")


class LayoutError(ValueError):
    """A layout that cannot be compiled, or a text that does not match one."""


def to_go(layout: str) -> str:
    """A strptime layout in Go's spelling. Raises LayoutError with the position of an unknown directive."""
    out: list[str] = []
    position = 0
    while position < len(layout):
        if layout[position] != "%":
            out.append(layout[position])
            position += 1
            continue
        letter = layout[position + 1 : position + 2]
        if letter not in _STRPTIME or not letter:
            raise LayoutError(f"unknown directive %{letter} at column {position + 1} of layout {layout!r}")
        out.append(_STRPTIME[letter])
        position += 2
    return "".join(out)


class Layout:
    """A compiled Go layout."""

    def __init__(self, layout: str) -> None:
        self.text = layout
        pattern: list[str] = []
        groups: set[str] = set()
        position = 0
        while position < len(layout):
            fraction = _FRACTION.match(layout, position)
            if fraction and "fraction" not in groups:
                groups.add("fraction")
                digits = len(fraction[1])
                pattern.append(
                    rf"[.,](?P<fraction>\d{{{digits}}})" if fraction[1][0] == "0" else r"(?:[.,](?P<fraction>\d+))?"
                )
                position = fraction.end()
                continue
            for element, group, expression in _ELEMENTS:
                if layout.startswith(element, position):
                    if element == "Jan" and layout.startswith("January", position):
                        continue
                    if group and group not in groups:
                        groups.add(group)
                        pattern.append(f"(?P<{group}>{expression})")
                    else:
                        pattern.append(f"(?:{expression})")
                    position += len(element)
                    if group == "second" and not _FRACTION.match(layout, position) and "fraction" not in groups:
                        groups.add("fraction")
                        pattern.append(r"(?:[.,](?P<fraction>\d+))?")
                    break
            else:
                pattern.append(r"\s+" if layout[position] == " " else re.escape(layout[position]))
                position += 1
        self._pattern = re.compile("".join(pattern), re.ASCII | re.IGNORECASE)
        self._groups = groups
        self._lasting = "year" in groups or "short_year" in groups
        self._known: dict[str, int] = {}
        self._known_for: tuple[object, object] = (None, None)

    def read(self, text: str, location: tzinfo | None, zones: dict[str, tzinfo], now: int) -> int:
        """Nanoseconds since the epoch. `location` None is the machine's zone; `zones`: names that have a zone of
        their own; `now` (nanoseconds) gives the year where the layout has none. Raises LayoutError."""
        match = self._pattern.fullmatch(text)
        if match is None:
            raise LayoutError(f"cannot parse {text!r} as {self.text!r}")
        if not self._lasting:
            return self._whole(match, text, location, zones, now) * 10**9 + _nanoseconds(match, self._groups)
        if "fraction" in self._groups and (start := match.start("fraction")) >= 0:
            known_as, rest = text[: start - 1] + text[match.end("fraction") :], _nanoseconds(match, self._groups)
        else:
            known_as, rest = text, 0
        if self._known_for[0] is not location or self._known_for[1] is not zones or len(self._known) >= _KNOWN:
            self._known, self._known_for = {}, (location, zones)
        seconds = self._known.get(known_as)
        if seconds is None:
            seconds = self._known[known_as] = self._whole(match, text, location, zones, now)
        return seconds * 10**9 + rest

    def _whole(
        self, match: "re.Match[str]", text: str, location: tzinfo | None, zones: dict[str, tzinfo], now: int
    ) -> int:
        """The seconds, as `read` has them. Those of a text with a year do not change and are remembered."""
        found = {name: value for name, value in match.groupdict().items() if value is not None}
        moment, zone = self._moment(found, text), self._zone(found, location, zones)
        if moment.year > 1:
            seconds = _seconds(moment, zone)
        else:
            this_year = datetime.fromtimestamp(now / 1e9, UTC)
            try:
                seconds = _seconds(moment.replace(year=this_year.year), zone)
            except ValueError:
                seconds = _seconds(moment.replace(year=this_year.year, month=3, day=1), zone)
            if seconds * 10**9 > now + 7 * 86_400 * 10**9:
                seconds = _seconds(moment.replace(year=this_year.year - 1), zone)
        return seconds

    def _moment(self, found: dict[str, str], text: str) -> datetime:
        year = int(found.get("year", "1"))
        if "short_year" in found:
            short = int(found["short_year"])
            year = 1900 + short if short >= 69 else 2000 + short
        month = (
            _MONTHS.index(found["month_name"][:3].lower()) + 1 if "month_name" in found else int(found.get("month", 1))
        )
        hour = int(found.get("hour", 0))
        half = found.get("half", "").lower()
        if half == "pm" and hour < 12:
            hour += 12
        elif half == "am" and hour == 12:
            hour = 0
        try:
            # a missing year is 1 here; a leap day needs a leap year to be held in
            leap = year <= 1 and month == 2 and int(found.get("day", 1)) == 29
            moment = datetime(
                max(year, 1), month, 28 if leap else int(found.get("day", 1)), hour, int(found.get("minute", 0)),
                int(found.get("second", 0)),
            )  # fmt: skip
            if "year_day" in found:
                moment += timedelta(days=int(found["year_day"]) - 1)
        except ValueError as error:
            raise LayoutError(f"cannot parse {text!r} as {self.text!r}: {error}") from None
        return moment

    def _zone(self, found: dict[str, str], location: tzinfo | None, zones: dict[str, tzinfo]) -> tzinfo | None:
        zone = found.get("zone")
        if zone:
            if zone in ("Z", "z"):
                return UTC
            digits = zone[1:].replace(":", "").ljust(6, "0")
            offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:4]), seconds=int(digits[4:]))
            if offset >= timedelta(days=1):
                raise LayoutError(f"offset {zone!r} is out of range")
            return timezone(-offset if zone[0] == "-" else offset)
        name = found.get("zone_name")
        if not name:
            return location
        if name in ("UTC", "GMT", "Z"):
            return UTC
        if name in zones:
            return zones[name]
        if location is not None and any(datetime(2024, month, 1, tzinfo=location).tzname() == name for month in (1, 7)):
            return location
        return zone_by_name(name)


def _nanoseconds(match: "re.Match[str]", groups: set[str]) -> int:
    fraction = match["fraction"] if "fraction" in groups else None
    return int(fraction[:9].ljust(9, "0")) if fraction else 0


def _seconds(moment: datetime, zone: tzinfo | None) -> int:
    try:
        return int(moment.replace(tzinfo=zone).timestamp())
    except (OverflowError, ValueError, OSError) as error:
        raise LayoutError(f"time {moment} is out of range: {error}") from None


def zone_by_name(name: str) -> tzinfo:
    """A zone of the IANA database. Raises LayoutError."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise LayoutError(f"unknown time zone {name!r}") from None
