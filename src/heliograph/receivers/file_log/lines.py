"""The hot path: complete lines of one read become LogRecord bytes, without an object for each.

For `operators: [container]` and for no operators at all. What every record of a file and stream has in common
(attributes, observed time, the uid's first part) is encoded once; per line there are a length, the text, the offset
and the time. Whatever is not a plain, valid, final CRI line (`<RFC 3339> stdout|stderr F <text>`) goes to `slow`,
which runs the ordinary operators, so that there is one set of rules. Typed and free of closures: mypyc compiles this
module.

A record is laid out as: head (lengths and tags up to the text), text, middle (observed time, attributes, the
beginning of the uid), offset in hexadecimal, time. Fields of a protobuf message may stand in any order.
"""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from heliograph.otlp.wire import varint
from heliograph.receivers.file_log.encode import key_value

OFFSET_DIGITS: Final = 12
_TIME: Final = struct.Struct("<BQ")
_SCALE: Final = (1, 10**8, 10**7, 10**6, 10**5, 10**4, 10**3, 10**2, 10, 1)
_FORMAT: Final = b"%012x"

Slow = Callable[[bytes, int], int]


class Heads:
    """Heads by text length, for records whose other fields take `rest` bytes."""

    def __init__(self, rest: int) -> None:
        self.rest = rest
        self.made: dict[int, bytes] = {}

    def make(self, length: int) -> bytes:
        """The head for a text of this length."""
        value = b"\x0a" + varint(length)
        body = b"\x2a" + varint(len(value) + length) + value
        head = b"\x12" + varint(len(body) + length + self.rest) + body
        if length < 8192:
            self.made[length] = head
        return head


class Shape:
    """What the records of one file and stream have in common. attributes: encoded as fields of LogRecord; uid: the
    first part of the record's uid, or "". timed: whether each record has a time."""

    def __init__(self, attributes: bytes, uid: str, timed: bool) -> None:
        fixed = attributes
        self.uid = bool(uid)
        if uid:
            whole = key_value(0x32, "log.record.uid", uid + "0" * OFFSET_DIGITS)
            fixed += whole[: len(whole) - OFFSET_DIGITS]
        self.fixed = fixed
        self.heads = Heads(9 + len(fixed) + (OFFSET_DIGITS if uid else 0) + (9 if timed else 0))

    def middle(self, observed: int) -> bytes:
        """The part between text and offset."""
        return b"\x59" + observed.to_bytes(8, "little") + self.fixed


class Seconds:
    """Seconds of RFC 3339 times, remembered: the 19 characters before the fraction, and the zone."""

    def __init__(self) -> None:
        self.known: dict[bytes, int] = {}

    def nanoseconds(self, second: bytes, zone: bytes) -> int:
        """Nanoseconds since the epoch; -1 when it is no time."""
        name = second + zone
        found = self.known.get(name)
        if found is None:
            found = _seconds(second, zone)
            if len(self.known) > 4096:
                self.known.clear()
            self.known[name] = found
        return found


def _seconds(second: bytes, zone: bytes) -> int:
    try:
        text = second.decode("ascii")
        if len(text) != 19 or text[4] != "-" or text[10] != "T" or text[13] != ":":
            return -1
        ending = zone.decode("ascii")
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        if ending != "Z":
            moment = datetime.fromisoformat(text + ending)
        whole = int(moment.timestamp())
    except (ValueError, OverflowError):
        return -1
    return whole * 1_000_000_000 if whole >= 0 else -1


def container_lines(
    lines: list[bytes],
    offset: int,
    stdout: Shape,
    stderr: Shape,
    observed: int,
    seconds: Seconds,
    clean: bool,
    out: list[bytes],
    slow: Slow,
    holding: int,
    zulu: bool,
    offsets: bool,
) -> int:
    """Encode CRI lines (without their newlines) that start at `offset` of the file; records are appended to `out`.

    clean: all of it is valid UTF-8. Returns how many records were appended here; the other lines went to
    `slow(line, offset)`, in order, whose effects on `out` are its own. It says of which streams parts of a
    record wait (1 stdout, 2 stderr); lines of those, as at the start by `holding`, go to it too. zulu, offsets:
    which kinds of zones are taken here.
    """
    count = 0
    known_second = b"-"
    base = 0
    out_middle = stdout.middle(observed)
    err_middle = stderr.middle(observed)
    out_heads = stdout.heads
    err_heads = stderr.heads
    out_made = out_heads.made
    err_made = err_heads.made
    with_uid = stdout.uid
    pack = _TIME.pack
    for line in lines:
        parts = line.split(b" ", 3)
        if len(parts) == 4 and parts[2] == b"F" and (clean or valid(line)):
            stamp = parts[0]
            text = parts[3]
            length = len(text)
            if length and text[length - 1] <= 32:
                text = text.rstrip(b"\r\n\t ")
                length = len(text)
            size = len(stamp)
            nanoseconds = -1
            if zulu and 21 < size < 31 and stamp[size - 1] == 90 and stamp[19] == 46:
                if not stamp.startswith(known_second):
                    known_second = stamp[:19]
                    base = seconds.nanoseconds(known_second, b"Z")
                digits = stamp[20 : size - 1]
                if base >= 0 and digits.isdigit():
                    nanoseconds = base + int(digits) * _SCALE[size - 21]
            elif offsets and 26 < size < 36 and stamp[19] == 46 and stamp[size - 6] in b"+-":
                zoned = seconds.nanoseconds(stamp[:19], stamp[size - 6 :])
                digits = stamp[20 : size - 6]
                if zoned >= 0 and digits.isdigit():
                    nanoseconds = zoned + int(digits) * _SCALE[size - 26]
            if nanoseconds >= 0:
                stream = parts[1]
                if stream == b"stdout" and not holding & 1:
                    head = out_made.get(length)
                    if head is None:
                        head = out_heads.make(length)
                    if with_uid:
                        out += (head, text, out_middle, _FORMAT % offset, pack(9, nanoseconds))
                    else:
                        out += (head, text, out_middle, pack(9, nanoseconds))
                    count += 1
                    offset += len(line) + 1
                    continue
                if stream == b"stderr" and not holding & 2:
                    head = err_made.get(length)
                    if head is None:
                        head = err_heads.make(length)
                    if with_uid:
                        out += (head, text, err_middle, _FORMAT % offset, pack(9, nanoseconds))
                    else:
                        out += (head, text, err_middle, pack(9, nanoseconds))
                    count += 1
                    offset += len(line) + 1
                    continue
        holding = slow(line, offset)
        offset += len(line) + 1
    return count


def plain_lines(
    lines: list[bytes],
    offset: int,
    shape: Shape,
    observed: int,
    leading: bool,
    trailing: bool,
    clean: bool,
    out: list[bytes],
) -> int:
    """Encode lines as they are, as `container_lines` does; blank ones are left out. leading, trailing: keep white
    space there. Returns how many records were appended."""
    count = 0
    middle = shape.middle(observed)
    heads = shape.heads
    made = heads.made
    with_uid = shape.uid
    for line in lines:
        text = line
        if text and (text[len(text) - 1] <= 32 or text[0] <= 32):
            if not trailing:
                text = text.rstrip(b"\r\n\t ")
            elif text.endswith(b"\r"):
                text = text[: len(text) - 1]
            if not leading:
                text = text.lstrip(b"\r\n\t ")
        if text:
            if not clean:
                text = sanitized(text)
            length = len(text)
            head = made.get(length)
            if head is None:
                head = heads.make(length)
            if with_uid:
                out += (head, text, middle, _FORMAT % offset)
            else:
                out += (head, text, middle)
            count += 1
        offset += len(line) + 1
    return count


def valid(data: bytes) -> bool:
    """Whether it is UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def sanitized(data: bytes) -> bytes:
    """UTF-8, with what is not replaced by U+FFFD."""
    if valid(data):
        return data
    return replaced(data, "utf-8").encode("utf-8")


def replaced(data: bytes, encoding: str) -> str:
    """Decode; what cannot be decoded becomes U+FFFD."""
    return data.decode(encoding, "replace")
