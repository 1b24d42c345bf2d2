"""From bytes to records: newlines, other encodings' newlines, multiline patterns, the longest record. No I/O.

`Framer.split` is given the bytes from the file's position on and returns the records in them, each with its place,
and how many bytes they take; the rest is given again with what follows. `final` takes the rest as a record as it is.
Feeding byte by byte gives the same as feeding all at once.
"""

import re

from heliograph.receivers.file_log.config import FileLogConfig, codec
from heliograph.receivers.file_log.operators.regex import compile_bytes

_SPACE = b"\r\n\t "
_PART = re.compile(rb"\s*\S+ (?:stdout|stderr) (?!F[ \r]|F$)\S+ ")


class Framer:
    """Bound to one configuration.

    encoding: Python's name of it, or "nop". simple: records are lines of UTF-8, which lines.py can take.
    """

    def __init__(self, config: FileLogConfig) -> None:
        self.encoding = codec(config.encoding) or "utf-8"
        multiline = config.multiline
        self._start = compile_bytes(multiline.line_start_pattern, "m") if multiline.line_start_pattern else None
        self._end = compile_bytes(multiline.line_end_pattern, "m") if multiline.line_end_pattern else None
        self._omit = multiline.omit_pattern
        self.longest = int(config.max_log_size)
        self._truncate = config.max_log_size_behavior == "truncate"
        self._leading = config.preserve_leading_whitespaces
        self._trailing = config.preserve_trailing_whitespaces
        types = [getattr(operator, "type", "") for operator in config.operators]
        self._parts = _PART.match if types[:1] == ["container"] else None
        self._newline = b"\n" if self.encoding == "nop" else "\n".encode(self.encoding)
        self.simple = self.encoding == "utf-8" and self._start is None and self._end is None

    def split(self, data: bytes, final: bool, discarding: bool = False) -> tuple[list[tuple[int, bytes]], int, bool]:
        """Records as (place in data, bytes; b"" for blank ones), the bytes used, and whether the rest of a truncated
        record follows.

        discarding: what this call gave last as the third result.
        """
        if self.encoding == "nop":
            pieces = self._bounded([(0, data)], self.longest) if data else []
            return pieces, len(data), False
        if discarding:
            end = self._find(data, 0)
            if end < 0:
                return [], len(data), not final
            used = end + len(self._newline)
            records, more, again = self.split(data[used:], final)
            return [(used + place, record) for place, record in records], used + more, again
        if self._start is not None:
            records, used = self._by_start(data, self._start)
        elif self._end is not None:
            records, used = self._by_end(data, self._end)
        else:
            records, used = self._by_newline(data)
        rest = len(data) - used
        cut = False
        if rest and (final or rest >= self.longest):
            size = rest if final else self.longest
            records.append((used, data[used : used + size]))
            cut = not final and self._truncate
            used += size
        bounded = self._bounded(records, self.longest)
        return [(place, self.trim(record)) for place, record in bounded], used, cut

    def trim(self, record: bytes) -> bytes:
        """Without white space at its ends, as configured."""
        if self.encoding.startswith(("utf-16", "utf-32")):
            return record
        text = record
        if self._parts is not None and self._parts(text):
            # the rest of the text follows in another line: a space at the end of this part belongs to it
            return text.removesuffix(b"\r").lstrip(_SPACE)
        if not self._trailing:
            text = text.rstrip(_SPACE)
        elif text.endswith(b"\r"):
            text = text[:-1]
        if not self._leading:
            text = text.lstrip(_SPACE)
        return text

    def trim_text(self, text: str) -> str:
        """The same for decoded text of wide encodings."""
        if not self._trailing:
            text = text.rstrip("\r\n\t ")
        if not self._leading:
            text = text.lstrip("\r\n\t ")
        return text

    def _bounded(self, records: list[tuple[int, bytes]], longest: int) -> list[tuple[int, bytes]]:
        if not records or max(len(record) for _, record in records) <= longest:
            return records
        result: list[tuple[int, bytes]] = []
        for place, record in records:
            if self._truncate or len(record) <= longest:
                result.append((place, record[:longest]))
                continue
            for start in range(0, len(record), longest):
                result.append((place + start, record[start : start + longest]))
        return result

    def _find(self, data: bytes, start: int) -> int:
        width = len(self._newline)
        if width == 1:
            return data.find(b"\n", start)
        place = data.find(self._newline, start)
        while place >= 0 and place % width:
            place = data.find(self._newline, place + 1)
        return place

    def _by_newline(self, data: bytes) -> tuple[list[tuple[int, bytes]], int]:
        records: list[tuple[int, bytes]] = []
        used, width = 0, len(self._newline)
        while (end := self._find(data, used)) >= 0:
            records.append((used, data[used:end]))
            used = end + width
        return records, used

    def _by_start(self, data: bytes, pattern: "re.Pattern[bytes]") -> tuple[list[tuple[int, bytes]], int]:
        records: list[tuple[int, bytes]] = []
        first = pattern.search(data)
        if first is None:
            return records, 0
        used = first.start()
        if used:
            records.append((0, data[:used]))
        while True:
            # the beginning of the next record must not touch this one's match: it may still grow
            following = pattern.search(data, max(first.end(), first.start() + 1))
            if following is None or first.end() == len(data):
                return records, used
            start = first.end() if self._omit else first.start()
            records.append((used, data[start : following.start()]))
            used = following.start()
            first = following

    def _by_end(self, data: bytes, pattern: "re.Pattern[bytes]") -> tuple[list[tuple[int, bytes]], int]:
        records: list[tuple[int, bytes]] = []
        used = 0
        while (match := pattern.search(data, used)) is not None and match.end() > used:
            records.append((used, data[used : match.start() if self._omit else match.end()]))
            used = match.end()
        return records, used
