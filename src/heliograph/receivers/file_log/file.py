"""One followed file: where reading stands, what was acknowledged, and how its bytes are had.

`position` is the offset after the last record taken from it. Reads never keep a half line: it is read again when
there is more. Each hand-over to the pipeline leaves a `Ticket` with the offset from which everything would have to be
read again if the process died after that hand-over was acknowledged (not beyond a record that an operator holds
back). Tickets may be finished in any order; `safe` follows the finished ones from the front without a gap.
"""

import os
import zlib
from collections import deque
from typing import Any

from heliograph.receivers.file_log.identity import birth_time, fingerprint, identity

TAIL_BYTES = 128
_RAW_CHUNK = 64 * 1024
_CHUNKS_A_CALL = 64


class Ticket:
    """A hand-over. resume: see above; number: records so far; tail: bytes before `resume`, or b""."""

    __slots__ = ("done", "file", "number", "resume", "tail")

    def __init__(self, file: "LogFile", resume: int, number: int, tail: bytes) -> None:
        self.file = file
        self.resume = resume
        self.number = number
        self.tail = tail
        self.done = False


class LogFile:
    """State of a file. key: device and inode. fingerprint_length 0: nothing was seen of it yet."""

    def __init__(self, path: str, key: tuple[int, int]) -> None:
        self.path = path
        self.key = key
        self.fd = -1
        self.gzip: GzipReader | None = None
        self.is_gzip = False
        self.size = 0
        self.modified = 0
        self.position = 0
        self.number = 0
        self.tail = b""
        self.fingerprint_length = 0
        self.fingerprint = b""
        self.identity = ""
        self.generation = 0
        self.safe = 0
        self.safe_number = 0
        self.safe_tail = b""
        self.tickets: deque[Ticket] = deque()
        self.saved: tuple[int, str, int, str] | None = None
        self.next_stat = 0.0
        self.active = 0.0
        self.partial_since = 0.0
        self.partial_size = -1
        self.discarding = False
        self.gone_since = 0.0
        self.restored = False
        self.view: Any = None  # what reader.py keeps of it

    def open(self, fd: int, compressed: bool) -> None:
        """Use this descriptor."""
        self.fd = fd
        self.is_gzip = compressed
        self.gzip = GzipReader(fd) if compressed else None

    def close(self) -> None:
        """Release the descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.gzip = None

    def read(self, want: int, offset: int) -> bytes:
        """Up to `want` bytes from an offset (of the decompressed data). Raises OSError; corrupt gzip data is one."""
        if self.gzip is not None:
            return self.gzip.read(want, offset)
        return os.pread(self.fd, want, offset)

    @property
    def pending(self) -> bool:
        """Whether the file, as last seen, has bytes that were not read."""
        if self.gzip is not None:
            return not self.gzip.exhausted(self.size) or self.position < self.gzip.end
        return self.position < self.size

    def note_head(self, head: bytes, limit: int) -> None:
        """Remember the first bytes as fingerprint; more of them than before replace it."""
        head = head[:limit]
        if len(head) > self.fingerprint_length:
            self.fingerprint_length = len(head)
            self.fingerprint = fingerprint(head)

    def same_head(self, head: bytes) -> bool:
        """Whether these first bytes can be this file's."""
        length = self.fingerprint_length
        return length == 0 or (len(head) >= length and fingerprint(head[:length]) == self.fingerprint)

    def fix_identity(self, head: bytes) -> None:
        """Settle the identity, if it is not."""
        if not self.identity:
            born = birth_time(self.fd) if self.fd >= 0 else 0
            self.identity = identity(self.key[0], self.key[1], born, head, self.generation)

    def start_again(self) -> None:
        """The content was replaced: a new generation, from its start."""
        self.generation += 1
        self.position = self.number = self.safe = self.safe_number = 0
        self.tail = self.safe_tail = b""
        self.fingerprint_length = 0
        self.fingerprint = b""
        self.identity = ""
        self.partial_size = -1
        self.discarding = False
        self.tickets.clear()
        self.view = None
        if self.fd >= 0 and self.is_gzip:
            self.gzip = GzipReader(self.fd)

    def ghost(self) -> "LogFile":
        """What was known of the content before it was replaced, for recognising a copy of it. Outstanding tickets go
        along."""
        other = LogFile(self.path, self.key)
        self.hand_over(other)
        return other

    def hand_over(self, other: "LogFile") -> None:
        """Give position, fingerprint, identity and tickets to `other`, which has the same content."""
        for name in (
            "position",
            "number",
            "tail",
            "fingerprint_length",
            "fingerprint",
            "identity",
            "generation",
            "safe",
            "safe_number",
            "safe_tail",
        ):
            setattr(other, name, getattr(self, name))
        other.tickets = self.tickets
        for ticket in other.tickets:
            ticket.file = other
        self.tickets = deque()

    def ticket(self, resume: int) -> Ticket:
        """A ticket for a hand-over."""
        tail = self.tail if resume == self.position else b""
        made = Ticket(self, resume, self.number, tail)
        self.tickets.append(made)
        return made

    def settle(self) -> bool:
        """Move `safe` over finished tickets; True when it moved."""
        moved = False
        tickets = self.tickets
        while tickets and tickets[0].done:
            first = tickets.popleft()
            self.safe, self.safe_number, self.safe_tail = first.resume, first.number, first.tail
            moved = True
        return moved


class GzipReader:
    """Sequential reading of a gzip file (of several members) by offsets of its decompressed data."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._restart()

    def _restart(self) -> None:
        self._raw = 0
        self._unzip = zlib.decompressobj(31)
        self._rest = b""
        self._buffer = bytearray()
        self._start = 0

    @property
    def end(self) -> int:
        """Decompressed bytes so far."""
        return self._start + len(self._buffer)

    def exhausted(self, size: int) -> bool:
        """Whether a file of this compressed size has been decompressed whole."""
        return self._raw >= size and not self._rest

    def read(self, want: int, offset: int) -> bytes:
        """Up to `want` bytes; fewer, or none, also when much had to be skipped: then ask again. Raises OSError."""
        if offset < self._start:
            self._restart()
        for _ in range(_CHUNKS_A_CALL):
            self._drop(offset)
            if self.end - offset >= want or not self._more():
                break
        self._drop(offset)
        low = offset - self._start
        return bytes(self._buffer[low : low + want]) if low >= 0 else b""

    def _drop(self, offset: int) -> None:
        surplus = min(offset - self._start, len(self._buffer))
        if surplus > 0:
            del self._buffer[:surplus]
            self._start += surplus

    def _more(self) -> bool:
        raw = self._rest
        if not raw:
            raw = os.pread(self._fd, _RAW_CHUNK, self._raw)
            if not raw:
                return False
            self._raw += len(raw)
        try:
            if self._unzip.eof:
                raw = raw.lstrip(b"\0")
                self._unzip = zlib.decompressobj(31)
                if not raw:
                    self._rest = b""
                    return True
            self._buffer += self._unzip.decompress(raw, 4 * _RAW_CHUNK)
        except zlib.error as error:
            self._rest = b""
            raise OSError(f"corrupt gzip data near byte {self._raw}: {error}") from None
        self._rest = self._unzip.unused_data if self._unzip.eof else self._unzip.unconsumed_tail
        return True
