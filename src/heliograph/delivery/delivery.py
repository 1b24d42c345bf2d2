"""From `consume` to a fate: the queue, the batches, the attempts, the counting and the acknowledgement of an exporter.

    consume -> room in the queue -> (spool: written, STORED) -> batcher -> one of num_consumers -> sender, repeatedly
            -> DELIVERED | DEAD_LETTERED | DROPPED(reason), counted, told to whoever waits

- Memory queue: the completion is called with the fate. Queue on disk: it is called with STORED as soon as the
  request is written, and what a killed process left is sent by the next one.
- No queue (`enabled: false`): `consume` sends, tries again as configured, and raises what failed; nothing is counted as
  dropped then, since the sender of the data keeps it.
- Every item that was accepted is either in `waiting` or ended in the ledger, by fates.py; nothing else removes it.

Consumers pull: an entry is loaded and batched only when one of them is free, so a queue on disk holds in memory no more
than a small window of data (`WINDOW_BYTES`), what is being batched and what is being sent.
"""

import asyncio
from collections import deque

from heliograph.component.batch import STORED, Batch, Context, Fate, Outcome
from heliograph.component.errors import DeliveryError, Retryable
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host
from heliograph.component.storage import Storage
from heliograph.delivery.accounts import Accounts
from heliograph.delivery.attempts import Attempts, Failed
from heliograph.delivery.batch import Batcher, Work, whole
from heliograph.delivery.config import QueueConfig, RetryConfig
from heliograph.delivery.fates import Fates
from heliograph.delivery.keeping import KeptItems
from heliograph.delivery.queue import Entry, SendQueue, size_of
from heliograph.delivery.sender import Keeping, Sender
from heliograph.delivery.spool import Spool

WINDOW_BYTES = 8 * 1024 * 1024
_ENTRIES_A_TURN = 100


class Delivery:
    """The Component and Consumer that an exporter's constructor returns, around its Sender.

    timeout: seconds for one attempt, 0 for no limit. endpoint: where it goes, for messages.
    """

    def __init__(
        self,
        settings: Settings,
        sender: Sender,
        *,
        queue: QueueConfig,
        retry: RetryConfig,
        timeout: float,
        endpoint: str = "",
    ) -> None:
        assert settings.signal is not None
        self._signal: Signal = settings.signal
        self._id = settings.id
        self._name = f"exporter {settings.id}" + (f" to {endpoint}" if endpoint else "")
        self._log = settings.telemetry.log
        self._sender = sender
        self._config = queue
        self._queue = SendQueue(queue.queue_size, queue.sizer, f"exporter {settings.id}")
        batch = queue.batch
        self._batcher = (
            Batcher(self._signal, batch, queue.batch_sizer)
            if queue.enabled and batch is not None and batch.enabled
            else None
        )
        self._accounts = Accounts(settings.telemetry, self._signal, self._queue if queue.enabled else None)
        self._attempts = Attempts(self._name, sender, retry, timeout, self._log, self._progressed)
        if isinstance(sender, Keeping):
            sender.keep_for(KeptItems(self._accounts, self._attempts))
        self._fates = Fates(self._name, self._signal, self._log, sender, self._queue, self._accounts)
        self._spool: Spool | None = None
        self._fsync = False
        self._kept_metadata = tuple(
            name.lower() for name in (batch.partition.metadata_keys if batch is not None and batch.enabled else ())
        )
        self._window = 0
        self._ready: deque[Work] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._active: set[Work] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._batched = asyncio.Event()
        self._progress = asyncio.Event()
        self._closed = False
        self._started = False
        self._host: Host | None = None

    # Component

    async def start(self, host: Host) -> None:
        """Open the sender and the queue. Raises StartError."""
        self._host = host
        self._clock = host.clock
        if self._config.enabled and self._config.storage is not None:
            storage = host.extension(self._config.storage, Storage)  # type: ignore[type-abstract]
            self._open_spool(storage)
        await self._sender.open(host)
        self._attempts.start(host)
        if self._config.enabled:
            for number in range(self._config.num_consumers):
                self._tasks.append(host.spawn(self._consume_queue(), f"{self._name} consumer {number + 1}"))
            if self._batcher is not None:
                self._tasks.append(host.spawn(self._flush_in_time(), f"{self._name} batch timer"))
        self._started = True

    async def shutdown(self, deadline: float) -> None:
        """Send what is accepted until `deadline`. What is left then is dropped and counted, or stays on disk. Nobody
        waits for a destination that fails where the data is safe: in a queue on disk, or with a caller that is told."""
        if self._closed or self._host is None:
            self._closed = True
            return
        self._closed = True
        if not self._config.enabled or self._config.wait_for_result:
            self._attempts.stop()
        self._queue.refuse_waiting(f"{self._name}: shutting down")
        if self._started:
            await self._drain(deadline)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._abandon()
        if self._spool is not None:
            self._spool.close()
        await self._sender.close()

    # Consumer

    async def consume(self, batch: Batch) -> None:
        """Take a batch. Raises Overloaded when there is no room, and, without a queue or with wait_for_result, what
        the sender raised."""
        if self._closed or not self._started:
            raise Retryable(f"{self._name}: {'shutting down' if self._closed else 'not started'}")
        if not self._config.enabled:
            await self._send_inline(batch)
            return
        # What is larger than the whole queue goes in when the queue is empty: it is in memory anyway, and refused for
        # good it would be lost.
        size = min(size_of(self._config.sizer, batch), self._queue.capacity)
        if not self._queue.fits(size):
            self._wake()
        try:
            await self._queue.reserve(size, self._config.block_on_overflow)
            if self._spool is not None:
                await self._store(self._spool, batch, size)
                return
        except DeliveryError:
            self._accounts.refused(batch.items)
            raise
        waiter = asyncio.get_running_loop().create_future() if self._config.wait_for_result else None
        entry = Entry(batch.parts, batch.items, size, context=batch.context, completion=batch.completion, result=waiter)
        self._accept(entry)
        if waiter is not None:
            self._accounts.awaited += batch.items
            try:
                await waiter
            except asyncio.CancelledError:
                # Whoever waited counts nothing; the entry goes on to its fate, unless it failed already.
                if waiter.cancelled() or waiter.exception() is None:
                    self._accounts.orphaned(batch.items)
                raise
            finally:
                self._accounts.awaited -= batch.items

    def _accept(self, entry: Entry) -> None:
        self._accounts.waiting += entry.items
        self._queue.put(entry)
        self._wake()

    def _wake(self) -> None:
        while self._idle:
            idle = self._idle.popleft()
            if not idle.done():
                idle.set_result(None)
                return

    # Queue on disk

    def _open_spool(self, storage: Storage) -> None:
        name = f"_{self._id.name}" if self._id.name else ""
        directory = storage.directory(f"exporter_{self._id.type}{name}_{self._signal}")
        self._fsync = storage.fsync
        spool = self._spool = Spool(directory, fsync=storage.fsync)
        self._fates.acknowledge = spool.acknowledge
        for record in spool.restored:
            sizer = self._config.sizer
            size = 1 if sizer == "requests" else record.items if sizer == "items" else record.size_sent
            self._queue.restore(Entry(None, record.items, size, record=record))
            self._accounts.restore(record.items)
        spool.restored.clear()
        damage = spool.damage
        if damage.torn_bytes:
            self._log.warning(
                "cut off %d bytes of an unfinished write from the queue in %s", damage.torn_bytes, directory
            )
        if damage.records:
            self._log.error(
                "the queue in %s has %d damaged requests with %d items: they are lost",
                directory, damage.records, damage.items,
            )  # fmt: skip
            self._accounts.damaged(damage.items)

    async def _store(self, spool: Spool, batch: Batch, size: int) -> None:
        """Write a batch whose room is reserved. Raises Retryable when the disk refuses."""
        context = batch.context
        metadata = {name: context.metadata[name] for name in self._kept_metadata if name in context.metadata}
        record = None
        try:
            record = spool.append(batch.parts, batch.items, metadata)
            if self._fsync:
                await spool.sync()
        except BaseException as error:
            if record is not None:
                spool.acknowledge(record)
            self._queue.release(size)
            if isinstance(error, OSError):
                raise Retryable(f"{self._name}: the queue cannot be written: {error}") from error
            raise
        entry = Entry(None, batch.items, size, context=Context(metadata=metadata), record=record)
        if self._window + record.size <= WINDOW_BYTES:
            self._window += record.size
            entry.parts = batch.parts
        batch.finish(STORED)
        self._accept(entry)

    def _load(self, entry: Entry) -> tuple[bytes, ...] | None:
        """The data of an entry; None when the disk does not give it back (then the entry is over, and counted)."""
        record = entry.record
        if record is None or self._spool is None:
            return entry.parts
        if entry.parts is not None:
            self._window -= record.size
            parts, entry.parts = entry.parts, None
            return parts
        read = self._spool.read(record)
        if read is None:
            self._log.error("a request of %d items cannot be read back from the queue", entry.items)
            self._accounts.dropped(entry.items, "damaged")
            self._progressed()
            self._fates.end(entry, entry.items, Outcome(Fate.DROPPED, "damaged"))
            return None
        entry.context = Context(metadata=read[1])
        return read[0]

    # Consumers of the queue

    async def _consume_queue(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            work = self._next()
            if work is None:
                if len(self._queue):
                    await asyncio.sleep(0)
                    continue
                idle = loop.create_future()
                self._idle.append(idle)
                await idle
                continue
            if self._ready or len(self._queue):
                self._wake()
            await self._deliver(work)

    def _next(self) -> Work | None:
        """The next thing to send, or None. None while entries are left means that others should have a turn: reading
        many small requests back from disk takes time."""
        for _ in range(_ENTRIES_A_TURN):
            if self._ready:
                break
            entry = self._queue.take()
            if entry is None:
                # A full queue of which nothing is on its way: only what the batcher holds back can make room.
                stuck = self._queue.pressed and not self._active
                if self._batcher is not None and (self._closed or stuck):
                    self._ready.extend(self._batcher.flush())
                break
            parts = self._load(entry)
            if parts is None:
                continue
            if self._batcher is None:
                self._ready.append(whole(entry, parts))
            else:
                self._ready.extend(self._batcher.add(entry, parts, self._clock.monotonic()))
                self._batched.set()
        return self._ready.popleft() if self._ready else None

    async def _flush_in_time(self) -> None:
        assert self._batcher is not None
        while True:
            due = self._batcher.next_due()
            if due is None:
                self._batched.clear()
                await self._batched.wait()
                continue
            now = self._clock.monotonic()
            if due > now:
                await self._clock.sleep(due - now)
            for work in self._batcher.due(self._clock.monotonic()):
                self._ready.append(work)
                self._wake()

    async def _deliver(self, work: Work) -> None:
        """Send and settle. A work whose sending was cancelled stays in `_active`."""
        self._active.add(work)
        self._accounts.in_flight += 1
        try:
            work.batch = Batch(self._signal, work.parts, work.items, context=work.context)
            result = await self._attempts.send(work.batch)
        except Failed as failed:
            self._fates.failed(work, failed)
        else:
            self._fates.sent(work, result)
        finally:
            self._accounts.in_flight -= 1
        self._active.discard(work)
        if self._closed:
            self._progressed()

    # Without a queue

    async def _send_inline(self, batch: Batch) -> None:
        work = Work(batch.context)
        work.batch = batch.without_completion()
        self._active.add(work)
        self._accounts.in_flight += 1
        try:
            result = await self._attempts.send(work.batch)
        except (Failed, asyncio.CancelledError) as error:
            # Whoever called keeps all of the data and may send it again: what went out of it is a copy.
            over = self._fates.forget(work.batch)
            self._accounts.orphaned(over)
            if isinstance(error, Failed):
                self._accounts.failed(batch.items - over)
                raise error.error from error
            raise
        finally:
            self._accounts.in_flight -= 1
            self._active.discard(work)
            self._progressed()
        batch.finish(self._accounts.settle(batch.items, result))

    # End

    def _progressed(self) -> None:
        self._progress.set()

    def _drained(self) -> bool:
        pending = self._batcher is not None and any(True for _ in self._batcher)
        if not self._active and not self._ready and not len(self._queue) and not pending:
            return True
        return self._spool is not None and bool(self._active) and self._attempts.resting == len(self._active)

    async def _drain(self, deadline: float) -> None:
        timer = asyncio.ensure_future(self._clock.sleep(max(0.0, deadline - self._clock.monotonic())))
        try:
            for _ in range(len(self._idle)):
                self._wake()
            while not self._drained() and not timer.done():
                self._progress.clear()
                step = asyncio.ensure_future(self._progress.wait())
                await asyncio.wait((timer, step), return_when=asyncio.FIRST_COMPLETED)
                step.cancel()
        finally:
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)

    def _abandon(self) -> None:
        """Account for what is left: on disk it stays (and is counted as waiting), in memory it is dropped."""
        works = [*self._active, *self._ready, *(self._batcher or ())]
        self._active.clear()
        self._ready.clear()
        queued = []
        while (entry := self._queue.take()) is not None:
            queued.append(entry)
        if self._spool is None:
            self._fates.abandoned(works, queued)
            return
        left = sum(work.items for work in works) + sum(entry.items for entry in queued)
        if left:
            self._log.info("%d %s stay in the queue on disk", left, self._signal.items)
