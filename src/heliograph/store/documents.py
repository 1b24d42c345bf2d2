"""Documents on disk: one SQLite file, data streams as rows, sources as they came.

Every write is one transaction, so that an answered bulk survives kill -9. Retention deletes the oldest documents
first, by age and by the size of the file.
"""

import fnmatch
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from heliograph.store.errors import StoreError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL,
    documents INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS documents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, time INTEGER NOT NULL, id BLOB, source BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS documents_time ON documents (time, stream);
CREATE UNIQUE INDEX IF NOT EXISTS documents_id ON documents (stream, id) WHERE id IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document to create. time: ns since the epoch. id: what must be unique in the stream
    (an `_id`, or a metric document's series and time), None for any."""

    stream: str
    time: int
    id: bytes | None
    source: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """A stored document."""

    seq: int
    stream: str
    time: int
    id: bytes | None
    source: bytes


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A data stream and what it holds. created: ns since the epoch."""

    name: str
    created: int
    documents: int
    bytes: int


class Documents:
    """The store's file. `write` may be called from one thread at a time; reads open connections of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
            self._connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(500, "store_unusable", f"cannot use the store {path}: {error}") from error
        self._lock = threading.Lock()
        self._streams: dict[str, int] = dict(self._connection.execute("SELECT name, id FROM streams"))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=30)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def write(self, documents: Sequence[NewDocument], now_ns: int) -> list[bool]:
        """Create documents in one transaction. Returns for each whether it is new (False: its id exists)."""
        with self._lock:
            connection = self._connection
            connection.execute("BEGIN")
            try:
                created = [self._insert(document, now_ns) for document in documents]
                self._count(documents, created)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    connection.execute("ROLLBACK")
                self._streams = dict(connection.execute("SELECT name, id FROM streams"))
                raise
        return created

    def _insert(self, document: NewDocument, now_ns: int) -> bool:
        stream = self._streams.get(document.stream)
        if stream is None:
            cursor = self._connection.execute(
                "INSERT INTO streams (name, created) VALUES (?, ?)", (document.stream, now_ns)
            )
            stream = self._streams[document.stream] = int(cursor.lastrowid or 0)
        cursor = self._connection.execute(
            "INSERT OR IGNORE INTO documents (stream, time, id, source) VALUES (?, ?, ?, ?)",
            (stream, document.time, document.id, document.source),
        )
        return cursor.rowcount == 1

    def _count(self, documents: Sequence[NewDocument], created: Sequence[bool]) -> None:
        sums: dict[str, list[int]] = {}
        for document, new in zip(documents, created, strict=True):
            if new:
                entry = sums.setdefault(document.stream, [0, 0])
                entry[0] += 1
                entry[1] += len(document.source)
        self._connection.executemany(
            "UPDATE streams SET documents = documents + ?, bytes = bytes + ? WHERE name = ?",
            [(count, size, name) for name, (count, size) in sums.items()],
        )

    def streams(self) -> list[StreamInfo]:
        """All data streams by name."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT name, created, documents, bytes FROM streams ORDER BY name"
            ).fetchall()
        return [StreamInfo(*row) for row in rows]

    def delete_stream(self, name: str) -> None:
        """Forget a data stream with its documents."""
        with self._lock:
            stream = self._streams.pop(name)
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM documents WHERE stream = ?", (stream,))
            self._connection.execute("DELETE FROM streams WHERE id = ?", (stream,))
            self._connection.execute("COMMIT")

    def read(
        self, names: Iterable[str], times: tuple[int, int], needles: Sequence[str], *, newest_first: bool = True
    ) -> Iterator[Row]:
        """Documents of these streams within the inclusive time range, by time, whose source in lower case holds all
        `needles`."""
        ids = {self._streams[name]: name for name in names if name in self._streams}
        if not ids:
            return
        order = "DESC" if newest_first else "ASC"
        sql = (
            "SELECT seq, stream, time, id, source FROM documents"
            f" WHERE time BETWEEN ? AND ? AND stream IN ({','.join('?' * len(ids))})"
            + " AND instr(lower(CAST(source AS TEXT)), ?)" * len(needles)
            + f" ORDER BY time {order}, seq {order}"
        )
        connection = self._connect()
        try:
            for row in connection.execute(sql, (*times, *ids, *needles)):
                yield Row(row[0], ids[row[1]], row[2], row[3], row[4])
        finally:
            connection.close()

    def count(self, names: Iterable[str], times: tuple[int, int]) -> int:
        """How many documents of these streams lie within the time range."""
        ids = [self._streams[name] for name in names if name in self._streams]
        connection = self._connect()
        try:
            (count,) = connection.execute(
                f"SELECT count(*) FROM documents WHERE time BETWEEN ? AND ? AND stream IN ({','.join('?' * len(ids))})",
                (*times, *ids),
            ).fetchone()
        finally:
            connection.close()
        return int(count)

    def expire(self, *, older_than_ns: int, max_bytes: int, chunk: int = 5000) -> int:
        """Delete what is older than a time, then the oldest until the file fits. Returns how many went."""
        gone = 0
        with self._lock:
            # Frees what the write-ahead log holds: deleting needs some room too, also on a full disk.
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        while True:
            with self._lock:
                pages, free, size = (
                    self._connection.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("page_count", "freelist_count", "page_size")
                )
                used, bound, limit = (pages - free) * size, older_than_ns, chunk
                if used > max_bytes:
                    bound = 2**63 - 1
                    (total,) = self._connection.execute("SELECT sum(documents) FROM streams").fetchone()
                    # About as many as the excess: documents may be large, and no more go than must.
                    limit = max(1, min(chunk, int((total or 0) * (used - max_bytes) / used)))
                rows = self._delete_oldest(bound, limit)
                self._connection.execute("PRAGMA incremental_vacuum").fetchall()
            gone += len(rows)
            if not rows:
                return gone

    def _delete_oldest(self, bound: int, chunk: int) -> list[tuple[int, int]]:
        self._connection.execute("BEGIN")
        try:
            rows: list[tuple[int, int]] = self._connection.execute(
                "DELETE FROM documents WHERE seq IN"
                " (SELECT seq FROM documents WHERE time < ? ORDER BY time LIMIT ?)"
                " RETURNING stream, length(source)",
                (bound, chunk),
            ).fetchall()
            for stream, length in rows:
                self._connection.execute(
                    "UPDATE streams SET documents = documents - 1, bytes = bytes - ? WHERE id = ?", (length, stream)
                )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return rows

    def close(self) -> None:
        """Write back and release the file."""
        with self._lock:
            self._connection.close()


def select_streams(expression: str, names: Sequence[str]) -> list[str]:
    """Names that an index expression means: `logs-*,metrics-*,-*internal*`, `_all`, "".

    Raises StoreError (404) for a plain name that does not exist.
    """
    if expression in ("", "_all", "*"):
        return list(names)
    chosen: list[str] = []
    for part in expression.split(","):
        if part.startswith("-"):
            chosen = [name for name in chosen if not fnmatch.fnmatchcase(name, part[1:])]
            continue
        found = [name for name in names if fnmatch.fnmatchcase(name, part)]
        if not found and "*" not in part:
            raise StoreError(404, "index_not_found_exception", f"no such index [{part}]")
        chosen.extend(name for name in found if name not in chosen)
    return chosen
