"""Reading dead letters back. dead_letters.py says how they are written.

A file has a companion `<file>.redriving` while a redrive works on what it held (or when one was killed), and
`<file>.redriving.done` says how many of its bytes are settled.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

_LONGEST = 256 * 1024 * 1024
_ACTION, _DOCUMENT = b',"action":', b',"document":'


@dataclass(frozen=True, slots=True)
class Letter:
    """One line of a file. raw: with its newline. head: what it says beside action and document, {} when the line
    cannot be read; action, document: as they were sent, b"" then. start, end: where the line lies."""

    path: Path
    raw: bytes
    head: dict[str, Any]
    action: bytes
    document: bytes
    start: int
    end: int

    @property
    def index(self) -> str:
        """Where the document should have gone."""
        try:
            (members,) = orjson.loads(self.action).values()
            return str(members.get("_index", ""))
        except (orjson.JSONDecodeError, AttributeError, ValueError):
            return ""

    @property
    def reason(self) -> str:
        """Status and kind of the error."""
        error = self.head.get("error")
        kind = str(error.get("type", "")) if isinstance(error, dict) else ""
        return f"{self.head.get('status', '?')} {kind}".strip() if self.head else "unreadable line"

    @property
    def when(self) -> datetime | None:
        """When it was rejected."""
        try:
            return datetime.fromisoformat(str(self.head.get("@timestamp"))).astimezone(UTC)
        except ValueError:
            return None


def claimed(path: Path) -> Path:
    """The companion with what a redrive works on."""
    return path.with_name(path.name + ".redriving")


def progress(path: Path) -> Path:
    """The companion that says how much of it is settled."""
    return path.with_name(path.name + ".redriving.done")


def settled(path: Path) -> int:
    """Bytes of the claimed file that are settled."""
    try:
        return int(progress(path).read_bytes() or b"0")
    except (FileNotFoundError, ValueError):
        return 0


def waiting(path: Path) -> Iterator[Letter]:
    """All letters of a file and its companion, oldest first. Raises OSError."""
    yield from read(claimed(path), settled(path))
    yield from read(path)


def read(path: Path, start: int = 0) -> Iterator[Letter]:
    """The letters of one file from a place on; a last line without its end is still being written. Raises OSError."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start, os.SEEK_SET)
        while (raw := file.readline(_LONGEST)).endswith(b"\n"):
            yield parse(path, raw, start)
            start += len(raw)


def parse(path: Path, raw: bytes, start: int = 0) -> Letter:
    """One line. Action and document are taken as they stand, so that numbers stay what they were."""
    end = start + len(raw)
    line = raw.rstrip()
    try:
        whole = orjson.loads(line)
        head = {name: value for name, value in whole.items() if name not in ("action", "document")}
        at = line.index(_ACTION)
        middle = line.index(_DOCUMENT, at)
        action, document = line[at + len(_ACTION) : middle], line[middle + len(_DOCUMENT) : -1]
        if orjson.loads(action) != whole["action"] or orjson.loads(document) != whole["document"]:
            raise ValueError
    except (orjson.JSONDecodeError, ValueError, KeyError, AttributeError):
        return _edited(path, raw, start, end)
    return Letter(path, raw, head, action, document, start, end)


def _edited(path: Path, raw: bytes, start: int, end: int) -> Letter:
    """A line that somebody has changed: its members in another order, or with blanks."""
    try:
        whole = orjson.loads(raw)
        action, document = orjson.dumps(whole.pop("action")), orjson.dumps(whole.pop("document"))
        return Letter(path, raw, whole, action, document, start, end)
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
        return Letter(path, raw, {}, b"", b"", start, end)
