"""file_log: the driver. It looks for files, reads in turns, hands batches on, and moves the checkpoint on
acknowledgement.

Rules:
- One block of each file in a round, files that were rotated away first; a batch has the records of many files.
- A batch that the pipeline refuses for now is offered again until it is taken (unless `retry_on_failure` sets an
  end): nothing is read meanwhile, the files keep the data.
- At most MAX_BYTES in MAX_BATCHES are on their way at a time; beyond that reading stops.
- Work between two awaits is one block: 256 KiB on the hot path, 32 KiB through operators.
- Nothing is acknowledged by this component; a completion of any fate moves the checkpoint, also after shutdown.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence

from heliograph.component.batch import Batch, Completion, Fate, Outcome
from heliograph.component.errors import Overloaded, Permanent, Retryable, StartError
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host, Status
from heliograph.component.storage import Storage
from heliograph.receivers.file_log.checkpoint import Checkpoint
from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.receivers.file_log.file import LogFile, Ticket
from heliograph.receivers.file_log.finder import Finder
from heliograph.receivers.file_log.reader import Reader, Replaced
from heliograph.receivers.file_log.tracker import Tracker

MAX_BYTES = 32 * 1024 * 1024
MAX_BATCHES = 1024
BATCH_BYTES = 512 * 1024
_SAVE_SECONDS = 0.2
_SCAN_SHARE = 0.002
_SOON_SECONDS = 0.02
_LONG_SCAN = 0.01


class _Stopped(Exception):
    """Shutdown began while a batch was waiting to be taken."""


class FileLog:
    """The component."""

    def __init__(self, settings: Settings, config: FileLogConfig) -> None:
        self._settings = settings
        self._config = config
        self._telemetry = settings.telemetry
        self._log = settings.telemetry.log
        self._output = settings.outputs.get(Signal.LOGS)
        self._finder = Finder(config)
        self._tracker = Tracker(config, self._log)
        self._reader = Reader(config, self._log)
        self._checkpoint = Checkpoint(None)
        self._host: Host | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._resting: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._dirty: set[LogFile] = set()
        self._bytes = 0
        self._batches = 0
        self._raw = 0
        self._ended = False
        self._unsaved = False
        self._denied: dict[str, str] = {}
        self._trouble = ""
        self._turn = 0

    async def start(self, host: Host) -> None:
        """Load the checkpoint and begin. Raises StartError when the storage cannot be used."""
        self._host = host
        started = False
        known: list[LogFile] = []
        if self._config.storage is not None:
            storage = host.extension(self._config.storage, Storage)  # type: ignore[type-abstract]
            owner = "receiver_" + str(self._settings.id).replace("/", "_")
            self._checkpoint = Checkpoint(storage.key_value(owner))
            started, known = self._checkpoint.load()
            try:
                self._checkpoint.mark_started()
            except OSError as error:
                raise StartError(f"{self._settings.id}: {error}") from error
        self._tracker.restore(known)
        self._telemetry.gauge(
            "otelcol_fileconsumer_open_files",
            "Number of open files.",
            lambda: sum(file.fd >= 0 for file in self._tracker.files.values()),
        )
        self._telemetry.gauge(
            "heliograph_file_log_bytes_in_flight", "Bytes handed on and not yet acknowledged.", lambda: self._bytes
        )
        self._telemetry.gauge(
            "heliograph_file_log_entries_dropped",
            "Entries that operators ended because of on_error or a router without a default.",
            lambda: self._reader.chain.dropped,
        )
        skip = self._config.start_at == "end" and not started
        self._task = host.spawn(self._run(skip), f"{self._settings.id}: reading")

    async def shutdown(self, deadline: float) -> None:
        """Stop reading. Records held back by operators are sent when there is no storage to read them again from."""
        if self._ended:
            return
        self._ended = True
        self._stop.set()
        self._wake()
        if self._task is not None:
            assert self._host is not None
            left = max(0.0, deadline - self._host.clock.monotonic())
            done, _ = await asyncio.wait({self._task}, timeout=left)
            if not done:
                self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task
        self._tracker.close()
        self._save(final=True)

    async def _run(self, skip: bool) -> None:
        paths: list[str] = []
        next_scan = 0.0
        saved = 0.0
        cost = 0.0
        try:
            while not self._stop.is_set():
                now = time.monotonic()
                if now >= next_scan:
                    paths = await asyncio.to_thread(self._finder.find) if cost > _LONG_SCAN else self._finder.find()
                    cost = time.monotonic() - now
                    next_scan = now + max(self._config.poll_interval * 0.9, cost / _SCAN_SHARE)
                complete = self._tracker.look(paths, now, time.time(), skip)
                skip = skip and not complete
                self._notice(paths)
                more = await self._sweep(now)
                await self._flush()
                self._delete_finished()
                self._tracker.limit_open(self._config.max_concurrent_files)
                if now - saved >= _SAVE_SECONDS:
                    self._save()
                    saved = now
                if more or not complete:
                    await asyncio.sleep(0)
                else:
                    await self._rest()
            if self._config.storage is None:
                self._reader.chain.flush(time.monotonic_ns(), everything=True)
                await self._hand_over()
        except _Stopped:
            return

    def _notice(self, paths: list[str]) -> None:
        """What cannot be read shows in health; the rest is read meanwhile."""
        denied = self._finder.denied
        if denied != self._denied:
            for folder in denied.keys() - self._denied.keys():
                self._log.error("cannot look into %s: %s; files below it are not read", folder, denied[folder])
            self._denied = dict(denied)
        trouble = {**denied, **self._tracker.troubled(paths)}
        names = ", ".join(f"{path}: {reason}" for path, reason in list(trouble.items())[:3])
        text = f"cannot read {names}{f' and {len(trouble) - 3} more' if len(trouble) > 3 else ''}" if trouble else ""
        if text != self._trouble:
            self._trouble = text
            self._report_health()

    def _report_health(self) -> None:
        if self._host is None or self._unsaved:
            return
        if self._trouble:
            self._host.report(Status.RECOVERABLE_ERROR, self._trouble)
        else:
            self._host.report(Status.OK)

    async def _rest(self) -> None:
        """Until the next round, or the end."""
        loop = asyncio.get_running_loop()
        self._resting = loop.create_future()
        timer = loop.call_later(self._config.poll_interval, self._wake)
        try:
            await self._resting
        finally:
            timer.cancel()
            self._resting = None

    def _wake(self) -> None:
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    def _candidates(self) -> list[LogFile]:
        """Files with something to read: those rotated away first, then by the time of their last change."""
        tracker = self._tracker
        gone = [file for file in tracker.gone if file.pending]
        known = set(map(id, gone))
        others = [file for file in tracker.pending() if id(file) not in known]
        if self._config.max_batches:
            most = self._config.max_batches * max(1, self._config.max_concurrent_files // 2)
            if len(others) > most:
                self._turn = (self._turn + most) % len(others)
                others = (others[self._turn :] + others[: self._turn])[:most]
        return gone + others

    async def _sweep(self, now: float) -> bool:
        """One block of each file; True when some file has more."""
        more = False
        for file in self._candidates():
            if self._stop.is_set():
                break
            more = self._read(file, now) or more
            if self._raw >= BATCH_BYTES:
                await self._hand_over()
        await self._hand_over()
        return more

    def _read(self, file: LogFile, now: float) -> bool:
        if not self._tracker.open(file):
            return False
        before = file.position
        try:
            used = self._reader.read(file, time.time_ns())
            if used:
                file.active = now
                file.partial_size = -1
            else:
                self._partial(file, now)
        except Replaced:
            self._tracker.replace(file)
            return True
        except OSError as error:
            self._tracker.trouble(file, error)
            file.size = file.position if not file.is_gzip else file.size
            return False
        self._note_head(file)
        self._raw += max(0, file.position - before)
        return used and file.pending

    def _partial(self, file: LogFile, now: float) -> None:
        """Data without the end of a record: after a while it is a record."""
        end = file.gzip.end if file.gzip is not None else file.size
        if end != file.partial_size:
            file.partial_size, file.partial_since = end, now
        elif 0 < self._config.force_flush_period <= now - file.partial_since:
            self._reader.read(file, time.time_ns(), final=True)
            file.partial_size = -1

    def _note_head(self, file: LogFile) -> None:
        limit = int(self._config.fingerprint_size)
        if file.fingerprint_length < limit and file.position > file.fingerprint_length:
            with contextlib.suppress(OSError):
                file.note_head(file.read(limit, 0) if not file.is_gzip else b"", limit)

    async def _flush(self) -> None:
        self._reader.chain.flush(time.monotonic_ns())
        await self._hand_over()

    async def _hand_over(self) -> None:
        """Make a batch of what has gathered and offer it until it is taken."""
        gathered = self._reader.take()
        self._raw = 0
        if not gathered.sources and not gathered.items:
            return
        if self._checkpoint.keeps and any(file.generation and file.saved is None for file in gathered.sources):
            self._save()  # the generation is part of the records' uids, and nothing but the checkpoint tells it
        tickets = [file.ticket(self._reader.resume(file)) for file in gathered.sources]
        if not gathered.items or self._output is None:
            self._settle(tickets)
            return
        while self._bytes >= MAX_BYTES or self._batches >= MAX_BATCHES:
            self._room.clear()
            await self._unless_stopped(self._room.wait())
        self._bytes += gathered.size
        self._batches += 1

        def completed(outcome: Outcome) -> None:
            self._completed(outcome, tickets, gathered.size, gathered.items)

        await self._offer(Batch(Signal.LOGS, gathered.parts, gathered.items, completion=Completion(completed)))

    async def _offer(self, batch: Batch) -> None:
        assert self._output is not None
        assert self._host is not None
        retry = self._config.retry_on_failure
        wait = min(float(retry.initial_interval), float(retry.max_interval))
        soon = _SOON_SECONDS  # a full queue of this process has room again in a moment
        begun = self._host.clock.monotonic()
        while True:
            try:
                await self._output.consume(batch)
            except Retryable as error:
                full = isinstance(error, Overloaded) and soon < wait
                waited = self._host.clock.monotonic() - begun
                if not full:
                    self._host.report(Status.RECOVERABLE_ERROR, f"the pipeline does not take logs: {error}")
                pause = max(soon if full else wait, error.after or 0.0, 0.01)
                if full:
                    soon *= 1.5
                else:
                    wait = min(max(wait * 1.5, 0.01), retry.max_interval)
                if not retry.enabled or 0 < retry.max_elapsed_time < waited + pause:
                    self._drop(batch, "given_up", f"is given up by retry_on_failure after {waited:.1f} s: {error}")
                    return
                await self._unless_stopped(asyncio.sleep(pause))
            except Permanent as error:
                self._drop(batch, "refused", f"is refused by the pipeline for good: {error}")
                return
            else:
                self._report_health()
                return

    def _drop(self, batch: Batch, reason: str, problem: str) -> None:
        self._log.error("a batch of %d log records %s", batch.items, problem)
        self._telemetry.ledger[Signal.LOGS].received += batch.items
        self._telemetry.dropped(Signal.LOGS, batch.items, reason)
        batch.finish(Outcome(Fate.DROPPED, reason))

    async def _unless_stopped(self, wait: "object") -> None:
        waiting = asyncio.ensure_future(wait)  # type: ignore[call-overload]
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            stopping.cancel()
        if self._stop.is_set():
            raise _Stopped

    def _completed(self, outcome: Outcome, tickets: Sequence[Ticket], size: int, items: int) -> None:
        self._bytes -= size
        self._batches -= 1
        self._room.set()
        if outcome.fate is Fate.DROPPED:
            self._telemetry.counter(
                "heliograph_file_log_lost_records", "Records read and dropped later in the pipeline."
            ).add(items)
        self._settle(tickets)
        if self._ended:
            self._save(final=True)

    def _settle(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            ticket.done = True
            if ticket.file.settle():
                self._dirty.add(ticket.file)

    def _save(self, final: bool = False) -> None:
        """Write the checkpoint. Where it cannot be written (a full disk) reading goes on, and it is tried again."""
        dirty, self._dirty = self._dirty, set()
        try:
            self._write_checkpoint(dirty, final)
        except OSError as error:
            self._dirty |= dirty
            if not self._unsaved:
                self._log.error("the checkpoint cannot be kept, after a crash lines would be read again: %s", error)
            self._unsaved = True
            if self._host is not None:
                self._host.report(Status.RECOVERABLE_ERROR, f"the checkpoint cannot be kept: {error}")
        else:
            if self._unsaved and self._host is not None:
                self._log.info("the checkpoint is kept again")
                self._unsaved = False
                self._report_health()
            self._unsaved = False
        if final and not self._batches:
            self._checkpoint.close()

    def _write_checkpoint(self, dirty: set[LogFile], final: bool) -> None:
        while self._tracker.forgotten:
            self._checkpoint.forget(self._tracker.forgotten[-1])
            self._tracker.forgotten.pop()
        if not final and self._tracker.files and self._checkpoint.keeps:
            dirty.update(file for file in self._tracker.files.values() if file.identity and file.saved is None)
        self._checkpoint.save(dirty)

    def _delete_finished(self) -> None:
        if not self._config.delete_after_read:
            return
        for path, file in list(self._tracker.by_path.items()):
            whole = not file.pending and file.size > 0 and not file.tickets and file.safe == file.position
            if whole and file.fd >= 0:
                try:
                    if os.stat(path).st_size == file.size:
                        os.unlink(path)
                except OSError as error:
                    self._tracker.trouble(file, error)
