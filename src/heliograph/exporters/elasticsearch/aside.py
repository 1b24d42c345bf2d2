"""Documents of blocked indices, set aside on disk so that they wait without holding up what goes elsewhere.

They lie in a spool (delivery/spool.py) of compressed bulk lines, one record for each bulk and index, and survive
kill -9 like a queue on disk. One task tries the oldest record of each index again and again, with growing pauses up
to 30 s; when an index takes it, the rest follows at once. The files and their records are bounded; what becomes of
documents that find no room is the sender's decision.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from isal import igzip, isal_zlib

from heliograph.component.batch import Context
from heliograph.component.config import Duration
from heliograph.component.errors import StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.delivery.config import RetryConfig
from heliograph.delivery.retry import Backoff
from heliograph.delivery.sender import Keeper, SendResult
from heliograph.delivery.spool import SEGMENT_BYTES, Record, Spool
from heliograph.exporters.elasticsearch.blocks import Blocks
from heliograph.exporters.elasticsearch.bulk import Bulk

_LONGEST_PAUSE = 30.0
_MOST_RECORDS = 100_000
_SMALLEST_SEGMENT = 64 * 1024
_IN_A_THREAD = 64 * 1024
_FAREWELL = 5.0
_DAMAGED = "damaged_on_disk"


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a record. rest: documents that still wait; result: of the others. problem: why the request failed,
    or "". after: seconds that the server asks to wait."""

    rest: Bulk
    result: SendResult
    problem: str = ""
    after: float | None = None


class _Line:
    """Records that wait for one index, oldest first; index b"": those of a former process, not yet looked into."""

    __slots__ = ("backoff", "due", "index", "records")

    def __init__(self, index: bytes, backoff: Backoff, due: float) -> None:
        self.index = index
        self.records: deque[Record] = deque()
        self.backoff = backoff
        self.due = due


class Aside:
    """The documents of one exporter and signal that are set aside. send: tries the documents of a record. keeper: who
    is told of their fates. full: whether the last one found no room. problem: why the last attempt failed, or ""."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        *,
        fsync: bool,
        max_size: int,
        pauses: RetryConfig,
        blocks: Blocks,
        send: Callable[[Bulk, Context], Awaitable[Tried]],
        keeper: Keeper,
    ) -> None:
        self.directory = directory
        self.problem = ""
        self.full = False
        self._log = settings.telemetry.log
        self._fsync = fsync
        self._max_size = max_size
        self._pauses = replace(pauses, max_interval=Duration(min(pauses.max_interval, _LONGEST_PAUSE)))
        self._blocks = blocks
        self._send = send
        self._keeper = keeper
        self._spool: Spool | None = None
        self._lines: dict[bytes, _Line] = {}
        self._records = 0
        self._bytes = 0
        self._closing = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        settings.telemetry.gauge(
            "heliograph_elasticsearch_set_aside_bytes",
            "Bytes on disk of documents that wait for an index that takes none.",
            lambda: self._bytes,
            data_type=str(settings.signal),
        )

    def open(self, host: Host) -> None:
        """Go on with what a former process has set aside."""
        self._clock = host.clock
        if any(self.directory.glob("*.log")):
            try:
                self._open_spool()
            except StartError as error:
                self._log.error("%s; what was set aside there waits for the next start", error)
        self._task = host.spawn(self._work(), "documents set aside")

    async def close(self) -> None:
        """Stop; what waits stays on disk. An attempt that is under way has some seconds to end: its documents would be
        sent again by the next process."""
        if self._task is not None:
            self._closing = True
            self._changed.set()
            await asyncio.wait((self._task,), timeout=_FAREWELL)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def holds(self, index: bytes) -> bool:
        """Whether documents wait for this index, so that its state is going to be found out."""
        return index in self._lines

    async def put(self, index: bytes, bulk: Bulk, context: Context) -> bool:
        """Set documents of one index aside; false when there is no room. When it returns they are as safe as a queue on
        disk is. Raises OSError, StartError."""
        data = _pack(bulk) if _size(bulk) <= _IN_A_THREAD else await asyncio.to_thread(_pack, bulk)
        spool = self._spool or self._open_spool()
        if spool.size + sum(map(len, data)) > self._max_size or self._records >= _MOST_RECORDS:
            self.full = True
            return False
        record = spool.append((index, *data), sum(bulk.items), context.metadata)
        try:
            if self._fsync:
                await spool.sync()
        except BaseException:
            spool.acknowledge(record)
            raise
        self.full = False
        self._line(index).records.append(record)
        self._note(record)
        return True

    def _open_spool(self) -> Spool:
        """Raises StartError."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"{self.directory} cannot be made: {error.strerror or error}") from error
        segment = min(SEGMENT_BYTES, max(_SMALLEST_SEGMENT, self._max_size // 8))
        spool = self._spool = Spool(self.directory, fsync=self._fsync, segment_bytes=segment)
        if spool.damage.records or spool.damage.torn_bytes:
            self._log.error(
                "of what was set aside in %s, %d records with %d items are damaged and lost, and %d bytes were cut off",
                self.directory, spool.damage.records, spool.damage.items, spool.damage.torn_bytes,
            )  # fmt: skip
        if spool.restored:
            line = self._line(b"")
            line.due = self._clock.monotonic()
            line.records.extend(spool.restored)
            for record in spool.restored:
                self._note(record)
            self._keeper.restored(sum(record.items for record in spool.restored))
            spool.restored.clear()
        return spool

    def _line(self, index: bytes) -> _Line:
        line = self._lines.get(index)
        if line is None:
            now = self._clock.monotonic()
            backoff = Backoff(self._pauses, now)
            line = self._lines[index] = _Line(index, backoff, now + (backoff.next(now, None) or 0.0))
            self._changed.set()
        return line

    async def _work(self) -> None:
        while not self._closing:
            line = min(self._lines.values(), key=lambda line: line.due, default=None)
            if line is None:
                self._changed.clear()
                await self._changed.wait()
                continue
            pause = line.due - self._clock.monotonic()
            if pause > 0:
                await self._pause(pause)
                continue
            await self._try_oldest(line)

    async def _pause(self, seconds: float) -> None:
        """Until the time is over, or another index comes."""
        self._changed.clear()
        waits = [asyncio.ensure_future(self._clock.sleep(seconds)), asyncio.ensure_future(self._changed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _try_oldest(self, line: _Line) -> None:
        assert self._spool is not None
        record = line.records[0]
        found = _unpack(self._spool.read(record))
        if found is None:
            self._log.error("a record of %d items in %s is damaged: they are lost", record.items, self.directory)
            self._over(line, record, record.items, SendResult(sent=0, rejected={_DAMAGED: record.items}))
            return
        index, bulk, context = found
        if self._belongs_elsewhere(line, index):
            return
        tried = await self._send(bulk, context)
        self.problem = tried.problem
        waits = len(tried.rest.lines)
        if waits < len(bulk.lines) and self._keep_rest(line, index, tried.rest, context):
            self._over(line, record, record.items - sum(tried.rest.items), tried.result)
        if waits and self._belongs_elsewhere(line, index):
            pass
        elif waits:
            now = self._clock.monotonic()
            line.due = now + (line.backoff.next(now, tried.after) or 0.0)
        else:
            line.backoff = Backoff(self._pauses, self._clock.monotonic())
            line.due = self._clock.monotonic()
        self._keeper.changed()

    def _belongs_elsewhere(self, line: _Line, index: bytes) -> bool:
        """Move the oldest record of a former process to those of its index if that is blocked; whether it was."""
        if index == line.index or index not in self._blocks:
            return False
        self._line(index).records.append(line.records.popleft())
        self._drop_empty(line)
        return True

    def _keep_rest(self, line: _Line, index: bytes, rest: Bulk, context: Context) -> bool:
        """Write down what is left of the oldest record; false when the disk does not take it, then the whole of it is
        sent again."""
        assert self._spool is not None
        if not rest.lines:
            return True
        try:
            fresh = self._spool.append((index, *_pack(rest)), sum(rest.items), context.metadata)
        except OSError as error:
            self._log.error("%s cannot be written: %s", self.directory, error.strerror or error)
            return False
        line.records.insert(1, fresh)
        self._note(fresh)
        return True

    def _note(self, record: Record) -> None:
        self._records += 1
        self._bytes += record.size

    def _over(self, line: _Line, record: Record, items: int, result: SendResult) -> None:
        assert self._spool is not None
        line.records.popleft()
        self._records -= 1
        self._bytes -= record.size
        self._spool.acknowledge(record)
        self._drop_empty(line)
        self._keeper.ended(items, result)

    def _drop_empty(self, line: _Line) -> None:
        if not line.records:
            del self._lines[line.index]


def _size(bulk: Bulk) -> int:
    return sum(map(len, bulk.lines))


def _pack(bulk: Bulk) -> tuple[bytes, bytes]:
    return igzip.compress(bulk.body, 1), igzip.compress(orjson.dumps([*map(len, bulk.lines), *bulk.items]), 1)


def _unpack(read: Any) -> tuple[bytes, Bulk, Context] | None:
    """The index, documents and context of a record; None when it is damaged."""
    if read is None:
        return None
    (index, lines, counts), metadata = read
    body, numbers = isal_zlib.decompress(lines, 31), orjson.loads(isal_zlib.decompress(counts, 31))
    half = len(numbers) // 2
    documents: list[bytes] = []
    start = 0
    for length in numbers[:half]:
        documents.append(body[start : start + length])
        start += length
    return index, Bulk(documents, numbers[half:]), Context(metadata=metadata)
