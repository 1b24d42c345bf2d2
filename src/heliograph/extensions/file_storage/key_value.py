"""Small durable values in one SQLite file.

Write-ahead log, one transaction a call: a killed process loses nothing that returned. The file is locked for this
process alone. `synchronous` is FULL with fsync, else NORMAL: then a power loss may take the last calls, never the file.
"""

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heliograph.component.errors import StartError

_SUFFIXES = ("", "-wal", "-shm", "-journal")


class SqliteKeyValue:
    """KeyValue (component/storage.py)."""

    def __init__(
        self,
        path: Path,
        *,
        timeout: float,
        fsync: bool,
        recreate: bool,
        compact: bool,
        log: "logging.LoggerAdapter[Any]",
    ) -> None:
        """Open or make the file. timeout: seconds to wait for a lock. Raises StartError: locked, damaged (unless
        `recreate`: then it is renamed), or not to be opened."""
        self._path = path
        try:
            self._database: sqlite3.Connection | None = _open(path, timeout, fsync)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise StartError(
                    f"{path} is locked by another process, waited {timeout:g} s: stop that one, or give this one "
                    "another `directory` in file_storage"
                ) from error
            raise StartError(f"{path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            if not recreate:
                raise StartError(
                    f"{path} is damaged ({error}): restore it, or set `recreate: true` in file_storage to set it aside "
                    "and begin anew"
                ) from error
            log.error("%s is damaged (%s): renamed to %s.backup, beginning anew", path, error, path.name)
            for suffix in _SUFFIXES:
                damaged = path.with_name(path.name + suffix)
                if damaged.exists():
                    damaged.replace(path.with_name(f"{path.name}{suffix}.backup"))
            self._database = _open(path, timeout, fsync)
        if compact:
            self.compact()

    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        row = self._opened.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def set(self, key: str, value: bytes) -> None:
        """Store a value. Raises OSError when it cannot be written (a full disk)."""
        self._write(
            "INSERT INTO kv (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def delete(self, key: str) -> None:
        """Forget a value; no error when there is none. Raises OSError when that cannot be written."""
        self._write("DELETE FROM kv WHERE key = ?", (key,))

    def _write(self, statement: str, values: tuple[str | bytes, ...]) -> None:
        try:
            self._opened.execute(statement, values)
        except sqlite3.OperationalError as error:
            raise OSError(f"{self._path} cannot be written: {error}") from error

    def items(self) -> Iterator[tuple[str, bytes]]:
        """All keys and values, by key."""
        for key, value in self._opened.execute("SELECT key, value FROM kv ORDER BY key").fetchall():
            yield key, bytes(value)

    def space(self) -> tuple[int, int]:
        """(bytes of the file, bytes of it that are used); (0, 0) when closed."""
        if self._database is None:
            return 0, 0
        pages, free, size = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return pages * size, (pages - free) * size

    def compact(self) -> None:
        """Give unused space back to the file system."""
        self._opened.execute("VACUUM")
        self._opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Release the file. Twice is safe."""
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise RuntimeError(f"{self._path} is closed")
        return self._database


def _open(path: Path, timeout: float, fsync: bool) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    try:
        for statement in (
            "PRAGMA locking_mode = EXCLUSIVE",
            "PRAGMA journal_mode = WAL",
            f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}",
            "CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        ):
            database.execute(statement).fetchall()
        state = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if state != "ok":
            raise sqlite3.DatabaseError(state)
    except BaseException:
        database.close()
        raise
    return database
