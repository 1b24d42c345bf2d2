"""A queue on disk that survives kill -9: requests are appended to segment files, their ends to acknowledgement files.

    <directory>/lock                 held by the one process that uses the directory
    <directory>/0000000000000001.log    records, see record.py
    <directory>/0000000000000001.ack    8 bytes for each record that is over: its index, and a sum of it

An append is one write at the end of the newest segment: it is with the operating system when `append` returns, so a
killed process loses nothing; `sync` brings it to the disk, for storage with `fsync: true`. A segment whose records are
all over is deleted with its acknowledgements. On opening, a torn end (the write that was interrupted) is cut off and
counted, records that are over are not given again, the others are. An acknowledgement that was not written (or not
synced before the machine lost power) means that a record is sent again, never that one is lost.
"""

import asyncio
import fcntl
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heliograph.component.errors import StartError
from heliograph.delivery.record import decode, encode, scan

SEGMENT_BYTES = 16 * 1024 * 1024
_SMALL_SEGMENT = 1024 * 1024
_ACK = struct.Struct("<II")
_ACK_SUM = 0x5A17C0DE


class Record:
    """Where a request is. size: of its record in the file; size_sent: of the request that holds it."""

    __slots__ = ("index", "items", "offset", "segment", "size", "size_sent")

    def __init__(self, segment: int, index: int, offset: int, size: int, items: int, size_sent: int) -> None:
        self.segment = segment
        self.index = index
        self.offset = offset
        self.size = size
        self.items = items
        self.size_sent = size_sent


class _Segment:
    """records: how many were written; open: how many of them are not over. ack: file descriptor or -1."""

    __slots__ = ("ack", "end", "number", "open", "records")

    def __init__(self, number: int) -> None:
        self.number = number
        self.end = 0
        self.records = 0
        self.open = 0
        self.ack = -1


@dataclass(slots=True)
class Damage:
    """What could not be read when the spool was opened. torn_bytes: cut off ends of segments; records, items: whole
    requests whose data is damaged."""

    torn_bytes: int = 0
    records: int = 0
    items: int = 0


class Spool:
    """One directory, one process, one event loop. All calls but `sync` are synchronous.

    restored: the requests of a former process that are not over, oldest first. damage: see Damage.
    """

    def __init__(self, directory: Path, *, fsync: bool = False, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open or make the spool. fsync: `sync` is going to be called, so a segment is synced when the next one begins.
        Raises StartError when another process uses the directory or it cannot be read."""
        self._directory = directory
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._segments: dict[int, _Segment] = {}
        self._newest = 0
        self._writer = -1
        self._reader: tuple[int, int] | None = None
        self._written = 0
        self._synced = 0
        self._syncing = asyncio.Lock()
        self.restored: list[Record] = []
        self.damage = Damage()
        self._lock = _lock(directory)
        try:
            self._recover()
        except OSError as error:
            self.close()
            raise StartError(f"the queue in {directory} cannot be read: {error}") from error

    @property
    def size(self) -> int:
        """Bytes of all segments, with what is over in them."""
        return sum(segment.end for segment in self._segments.values())

    def append(self, parts: Sequence[bytes], items: int, metadata: Mapping[str, Sequence[str]]) -> Record:
        """Write a request. Raises OSError (a full disk), and then nothing of it is kept."""
        data = encode(parts, items, metadata)
        segment = self._writable()
        offset = segment.end
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._writer, memoryview(data)[written:] if written else data, offset + written)
        except OSError:
            os.ftruncate(self._writer, offset)
            raise
        record = Record(segment.number, segment.records, offset, len(data), items, 0)
        segment.end += len(data)
        segment.records += 1
        segment.open += 1
        self._written += 1
        return record

    async def sync(self) -> None:
        """Return when everything appended so far is on the disk. Raises OSError."""
        mine = self._written
        async with self._syncing:
            if self._synced >= mine or self._writer < 0:
                return
            now, writer = self._written, os.dup(self._writer)
            try:
                await asyncio.to_thread(os.fdatasync, writer)
            finally:
                os.close(writer)
            self._synced = max(self._synced, now)

    def read(self, record: Record) -> tuple[tuple[bytes, ...], dict[str, tuple[str, ...]]] | None:
        """The parts and metadata of a request; None when the disk gives back something else."""
        try:
            return decode(os.pread(self._open_for_reading(record.segment), record.size, record.offset))
        except (OSError, ValueError):
            return None

    def acknowledge(self, record: Record) -> None:
        """The request is over: it is not given again. An error in writing that down is ignored, it would only be sent
        once more."""
        segment = self._segments[record.segment]
        segment.open -= 1
        written_to = segment.number == self._newest and self._writer >= 0
        if segment.open == 0 and (not written_to or segment.end >= _SMALL_SEGMENT):
            self._remove(segment)
            return
        try:
            if segment.ack < 0:
                segment.ack = os.open(self._path(segment.number, "ack"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(segment.ack, _ACK.pack(record.index, record.index ^ _ACK_SUM))
        except OSError:
            pass

    def close(self) -> None:
        """Release the files and the lock. Twice is safe."""
        for segment in list(self._segments.values()):
            if segment.records and not segment.open:
                self._remove(segment)
        self._close_writer()
        if self._reader is not None:
            os.close(self._reader[1])
            self._reader = None
        for segment in self._segments.values():
            if segment.ack >= 0:
                os.close(segment.ack)
                segment.ack = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _writable(self) -> _Segment:
        segment = self._segments.get(self._newest)
        if segment is not None and self._writer >= 0 and segment.end < self._segment_bytes:
            return segment
        self._close_writer()
        number = self._newest + 1
        path = self._path(number, "log")
        self._writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._newest = number
        if segment is not None and segment.open == 0:
            self._remove(segment)
        if self._fsync:
            self._sync_directory()
        self._segments[number] = segment = _Segment(number)
        return segment

    def _close_writer(self) -> None:
        if self._writer >= 0:
            if self._fsync and self._synced < self._written:
                os.fdatasync(self._writer)
                self._synced = self._written
            os.close(self._writer)
            self._writer = -1

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _open_for_reading(self, number: int) -> int:
        if self._reader is not None:
            if self._reader[0] == number:
                return self._reader[1]
            os.close(self._reader[1])
            self._reader = None
        reader = os.open(self._path(number, "log"), os.O_RDONLY)
        self._reader = number, reader
        return reader

    def _remove(self, segment: _Segment) -> None:
        """Delete a segment that is over: first its records, so that no acknowledgement is missing for one of them."""
        del self._segments[segment.number]
        if segment.ack >= 0:
            os.close(segment.ack)
        if self._reader is not None and self._reader[0] == segment.number:
            os.close(self._reader[1])
            self._reader = None
        if segment.number == self._newest and self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
            self._synced = self._written
        for suffix in ("log", "ack"):
            self._path(segment.number, suffix).unlink(missing_ok=True)

    def _path(self, number: int, suffix: str) -> Path:
        return self._directory / f"{number:016d}.{suffix}"

    def _recover(self) -> None:
        numbers = sorted(int(path.stem) for path in self._directory.glob("*.log") if path.stem.isdecimal())
        self._newest = numbers[-1] if numbers else 0
        for path in self._directory.glob("*.ack"):
            if not path.stem.isdecimal() or int(path.stem) not in numbers:
                path.unlink()
        for number in numbers:
            self._recover_segment(number)

    def _recover_segment(self, number: int) -> None:
        over = _acknowledged(self._path(number, "ack"))
        segment = self._segments[number] = _Segment(number)
        file = os.open(self._path(number, "log"), os.O_RDWR)
        try:
            end = os.fstat(file).st_size
            for found in scan(_reading(file), end, lambda index: index not in over):
                index = segment.records
                segment.records += 1
                segment.end = found.offset + found.size
                if index in over:
                    continue
                if not found.intact:
                    self.damage.records += 1
                    self.damage.items += found.items
                    continue
                segment.open += 1
                self.restored.append(Record(number, index, found.offset, found.size, found.items, found.size_sent))
            if segment.end < end:
                self.damage.torn_bytes += end - segment.end
                os.ftruncate(file, segment.end)
        finally:
            os.close(file)
        if segment.open == 0:
            self._remove(segment)


def _reading(file: int) -> Callable[[int, int], bytes]:
    return lambda offset, size: os.pread(file, size, offset)


def _acknowledged(path: Path) -> set[int]:
    """The indices in an acknowledgement file; a torn or damaged entry is passed over, and cut off."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return set()
    whole = len(data) - len(data) % _ACK.size
    if whole < len(data):
        os.truncate(path, whole)
    return {index for index, check in _entries(data[:whole]) if check == index ^ _ACK_SUM}


def _entries(data: bytes) -> Iterator[tuple[int, int]]:
    return _ACK.iter_unpack(data)


def _lock(directory: Path) -> int:
    path = directory / "lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"the queue in {directory} cannot be opened: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise StartError(
            f"the queue in {directory} is used by another process (pid {holder}): stop that one, or give each its own "
            "directory in the storage extension"
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock
