"""The state on disk: one SQLite file, write-ahead log, every transaction synced before it counts.

    delta     what came in since its slot was written: one row for each group, slot and group commit
    longer    windows of the longer intervals that are not over yet
    written   how often the windows of an interval were written; it makes the time of the next writing
    outbox    written windows that nobody has acknowledged yet
    setting   the instance id, which is part of every series that is made here

Closing a window is one transaction: its pieces enter the outbox, its deltas go, the longer windows get their share.
So whatever moment a process is killed at, each span that was acknowledged is in exactly one of the three.

A disk that fails does not stop the flow: changes are kept and tried again with the next ones (`write` says False until
then). When there are too many of them they are forgotten, and the first thing written later is that the file is empty.
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from heliograph.component.errors import StartError

Change = tuple[str, tuple[Any, ...]]

_FILE = "elasticapm.db"
_MAX_BACKLOG = 64 * 1024 * 1024
_TABLES = (
    "CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT) STRICT",
    "CREATE TABLE IF NOT EXISTS delta (number INTEGER PRIMARY KEY, slot INTEGER, metadata TEXT, data TEXT) STRICT",
    "CREATE TABLE IF NOT EXISTS longer (length INTEGER, start INTEGER, metadata TEXT, data TEXT,"
    " PRIMARY KEY (length, start, metadata)) STRICT",
    "CREATE TABLE IF NOT EXISTS written (length INTEGER, start INTEGER, times INTEGER, PRIMARY KEY (length, start))"
    " STRICT",
    "CREATE TABLE IF NOT EXISTS outbox (number INTEGER PRIMARY KEY, metadata TEXT, items INTEGER) STRICT",
    "CREATE TABLE IF NOT EXISTS part (number INTEGER, place INTEGER, data BLOB, PRIMARY KEY (number, place)) STRICT",
)


def add_delta(slot: int, metadata: str, data: str) -> Change:
    """What came in for a slot."""
    return "INSERT INTO delta (slot, metadata, data) VALUES (?, ?, ?)", (slot, metadata, data)


def slot_over(slot: int, metadata: str) -> Change:
    """A slot was written."""
    return "DELETE FROM delta WHERE slot = ? AND metadata = ?", (slot, metadata)


def keep_longer(length: int, start: int, metadata: str, data: str) -> Change:
    """A longer window as it is now."""
    return "INSERT OR REPLACE INTO longer VALUES (?, ?, ?, ?)", (length, start, metadata, data)


def longer_over(length: int, start: int, metadata: str) -> Change:
    """A longer window was written."""
    return "DELETE FROM longer WHERE length = ? AND start = ? AND metadata = ?", (length, start, metadata)


def was_written(length: int, start: int, times: int) -> Change:
    """How often the windows of an interval were written."""
    return "INSERT OR REPLACE INTO written VALUES (?, ?, ?)", (length, start, times)


def forget_written(before: int) -> Change:
    """Intervals that began long ago."""
    return "DELETE FROM written WHERE start < ?", (before,)


def to_send(number: int, metadata: str, items: int, parts: Iterable[bytes]) -> Iterator[Change]:
    """A piece of a written window."""
    yield "INSERT INTO outbox VALUES (?, ?, ?)", (number, metadata, items)
    for place, part in enumerate(parts):
        yield "INSERT INTO part VALUES (?, ?, ?)", (number, place, part)


def sent(number: int) -> Iterator[Change]:
    """A piece was acknowledged."""
    yield "DELETE FROM outbox WHERE number = ?", (number,)
    yield "DELETE FROM part WHERE number = ?", (number,)


_EMPTY: list[Change] = [(f"DELETE FROM {table}", ()) for table in ("delta", "longer", "outbox", "part")]


class Store:
    """Opened by the constructor; may be used from any thread. Raises StartError."""

    def __init__(self, directory: str) -> None:
        self._folder = Path(directory)
        self._mutex = threading.Lock()
        self._backlog: list[Change] = []
        self._backlog_bytes = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] | None = (self._folder / "lock").open("wb")
        except OSError as error:
            raise StartError(f"aggregation::directory {directory} cannot be used: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StartError(
                f"aggregation::directory {directory} is used by another connector or process: stop that one, or give "
                "each a directory of its own"
            ) from error
        self.set_aside = ""
        try:
            self._database = self._open()
        except sqlite3.DatabaseError as error:
            self.set_aside = str(error)
            for suffix in ("", "-wal", "-shm"):
                damaged = self._folder / f"{_FILE}{suffix}"
                if damaged.exists():
                    damaged.replace(self._folder / f"{_FILE}{suffix}.damaged")
            try:
                self._database = self._open()
            except sqlite3.Error as again:
                self.release()
                raise StartError(f"aggregation::directory {directory} cannot be used: {again}") from again

    def _open(self) -> sqlite3.Connection:
        path = self._folder / _FILE
        fresh = not path.exists()
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        for table in _TABLES:
            database.execute(table)
        database.execute("INSERT OR IGNORE INTO setting VALUES ('instance', ?)", (str(uuid4()),))
        if fresh:
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return database

    @property
    def instance(self) -> str:
        """The id of this state, kept as long as the directory."""
        return str(self._database.execute("SELECT value FROM setting WHERE name = 'instance'").fetchone()[0])

    def write(self, changes: Iterable[Change]) -> str:
        """Make changes in one transaction, with those that failed before. "" when they are durable, else why not."""
        with self._mutex:
            for change in changes:
                self._backlog.append(change)
                self._backlog_bytes += 100 + sum(len(value) for value in change[1] if isinstance(value, str | bytes))
            database = self._database
            try:
                database.execute("BEGIN IMMEDIATE")
                for sql, values in self._backlog:
                    database.execute(sql, values)
                database.execute("COMMIT")
            except sqlite3.Error as error:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                if self._backlog_bytes > _MAX_BACKLOG:
                    self._backlog, self._backlog_bytes = list(_EMPTY), 0
                return str(error)
            self._backlog, self._backlog_bytes = [], 0
            return ""

    def deltas(self) -> Iterator[tuple[int, str, str]]:
        """(slot, metadata, data) in the order of their coming."""
        yield from self._database.execute("SELECT slot, metadata, data FROM delta ORDER BY number")

    def longer(self) -> Iterator[tuple[int, int, str, str]]:
        """(length, start, metadata, data)."""
        yield from self._database.execute("SELECT length, start, metadata, data FROM longer")

    def written(self) -> Iterator[tuple[int, int, int]]:
        """(length, start, times)."""
        yield from self._database.execute("SELECT length, start, times FROM written ORDER BY start")

    def outbox(self) -> Iterator[tuple[int, str, int]]:
        """(number, metadata, items) in the order of their writing."""
        yield from self._database.execute("SELECT number, metadata, items FROM outbox ORDER BY number")

    def parts(self, number: int) -> tuple[bytes, ...]:
        """The parts of a piece."""
        with self._mutex:
            rows = self._database.execute("SELECT data FROM part WHERE number = ? ORDER BY place", (number,))
            return tuple(row[0] for row in rows)

    def release(self) -> None:
        """Let another process have the directory. Acknowledgements that come later are still noted."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
