"""Sending dead letters again, also under a running collector and again after kill -9.

The file is taken away under its writer (renamed while it is locked), its letters are sent in bulk requests as they
were rejected, what fails once more is appended to the file of the collector with its new reason, and then it is noted
how far the taken one is settled; at its end it is removed. Whatever happens in between, a letter is in one of the two.

A document without an id gets one that is made from its letter, so that the second attempt after a kill is a duplicate
(409, which counts as success) and not a second document. Not in metrics-*: there Elasticsearch makes ids from what the
document holds, and takes no other.
"""

import asyncio
import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from heliograph.component.batch import NO_CONTEXT
from heliograph.component.clock import Clock
from heliograph.component.errors import HeliographError
from heliograph.exporters.elasticsearch.bulk import (
    BadAnswer,
    ItemAnswer,
    Verdict,
    advice,
    item_verdict,
    read_answer,
    request_verdict,
)
from heliograph.exporters.elasticsearch.client import Client, Unreachable
from heliograph.exporters.elasticsearch.dead_letters import DeadLetters, appending
from heliograph.exporters.elasticsearch.letters import Letter, claimed, progress, read, settled

_ATTEMPTS = 4
_FIRST_PAUSE = 0.25
_UNLIMITED = 1 << 62


class Stopped(HeliographError):
    """Nothing more can be sent now; what is not settled is kept."""


@dataclass
class Told:
    """What became of letters. kept: reason -> how many stay, by their new reason."""

    sent: int = 0
    duplicates: int = 0
    kept: Counter[str] = field(default_factory=Counter)


class Redrive:
    """Sends the letters of one file. client: open. limit: bytes of a bulk request. again: statuses of `retry`."""

    def __init__(
        self, path: Path, exporter: str, client: Client, clock: Clock, *, limit: int, again: Iterable[int] = ()
    ) -> None:
        self._path = path
        self._writer = DeadLetters(path, exporter, _UNLIMITED)
        self._client = client
        self._clock = clock
        self._limit = limit
        self._again = frozenset(again)

    async def run(self, told: Told, wanted: Callable[[Letter], bool] = lambda _: True) -> None:
        """Send everything that is there; what is not `wanted` stays. Adds to `told`. Raises Stopped, OSError."""
        left = claimed(self._path)
        if left.exists():
            await self._work_off(left, told, wanted)
        if self._path.exists() and self._path.stat().st_size:
            self._claim(left)
            await self._work_off(left, told, wanted)

    def _claim(self, left: Path) -> None:
        progress(self._path).unlink(missing_ok=True)
        with appending(self._path):
            self._path.rename(left)
        _sync(left.parent)

    async def _work_off(self, left: Path, told: Told, wanted: Callable[[Letter], bool]) -> None:
        with left.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Stopped(f"another redrive works on {left}") from None
            seen: Counter[bytes] = Counter()
            for chunk in self._chunks(read(left), settled(self._path), seen):
                await self._send(chunk, told, wanted)
                self._note(chunk[-1][0].end)
            self._finish(left)

    def _finish(self, left: Path) -> None:
        """Everything is settled: the taken file goes; half a line at its end (a writer was killed) stays."""
        content = left.read_bytes()
        if content and not content.endswith(b"\n"):
            self._keep_raw(content.rsplit(b"\n", 1)[-1] + b"\n")
        left.unlink()
        progress(self._path).unlink(missing_ok=True)
        _sync(left.parent)

    def _chunks(
        self, letters: Iterable[Letter], done: int, seen: Counter[bytes]
    ) -> Iterator[list[tuple[Letter, bytes]]]:
        """Letters with their lines of a bulk body, so many as one request takes. Those that are settled are read too:
        the ids of equal letters depend on how many came before."""
        chunk: list[tuple[Letter, bytes]] = []
        size = 0
        for letter in letters:
            lines = b"" if not letter.action else _with_id(letter, seen) + b"\n" + letter.document + b"\n"
            if letter.end <= done:
                continue
            if chunk and size + len(lines) > self._limit:
                yield chunk
                chunk, size = [], 0
            chunk.append((letter, lines))
            size += len(lines)
        if chunk:
            yield chunk

    async def _send(self, chunk: Sequence[tuple[Letter, bytes]], told: Told, wanted: Callable[[Letter], bool]) -> None:
        left: list[bytes] = []
        for letter, lines in chunk:
            if lines and wanted(letter):
                left.append(lines)
            else:
                told.kept["unreadable line" if not lines else "not chosen"] += 1
                await asyncio.to_thread(self._keep_raw, letter.raw)
        pause = _FIRST_PAUSE
        for attempt in range(1, _ATTEMPTS + 1):
            if not left:
                return
            last = attempt == _ATTEMPTS
            left = await self._once(left, told, last)
            if left and not last:
                await self._clock.sleep(pause)
                pause *= 2

    async def _once(self, left: list[bytes], told: Told, last: bool) -> list[bytes]:
        """One request; returns what is to be sent again. Raises Stopped when it is the last one and fails whole."""
        try:
            reply = await self._client.bulk(b"".join(left), len(left), NO_CONTEXT)
        except Unreachable as error:
            return self._failed(str(error), left, last)
        if reply.status == 413:
            return await self._too_large(left, told, last)
        verdict = request_verdict(reply.status, self._again)
        if verdict is Verdict.AGAIN:
            return self._failed(f"{reply.url}: HTTP {reply.status}: {advice(reply.status)}", left, last)
        if verdict is Verdict.REJECTED:
            answer = ItemAnswer(reply.status, f"http_{reply.status}", reply.body[:200].decode("utf-8", "replace"))
            return await self._settle(left, [answer] * len(left), told, last)
        try:
            answers = read_answer(reply.body, len(left))
        except BadAnswer as error:
            return self._failed(f"{reply.url}: {error}", left, last)
        return await self._settle(left, answers, told, last)

    def _failed(self, problem: str, left: list[bytes], last: bool) -> list[bytes]:
        if last:
            raise Stopped(f"{problem}; what was not sent is kept in {claimed(self._path)}: redrive again later")
        return left

    async def _too_large(self, left: list[bytes], told: Told, last: bool) -> list[bytes]:
        if len(left) == 1:
            return await self._settle(left, [ItemAnswer(413, "request_too_large", "a document too large")], told, last)
        middle = len(left) // 2
        self._limit = max(1, len(b"".join(left)) // 2)
        return [
            *await self._once(left[:middle], told, last),
            *await self._once(left[middle:], told, last),
        ]

    async def _settle(self, left: list[bytes], answers: Sequence[ItemAnswer], told: Told, last: bool) -> list[bytes]:
        again: list[bytes] = []
        rejected: list[tuple[bytes, ItemAnswer]] = []
        for lines, answer in zip(left, answers, strict=True):
            verdict = item_verdict(answer.status, self._again)
            if verdict is Verdict.DELIVERED:
                told.sent += 1
            elif verdict is Verdict.DUPLICATE:
                told.duplicates += 1
            elif verdict is Verdict.AGAIN and not last:
                again.append(lines)
            else:
                rejected.append((lines, answer))
                told.kept[f"{answer.status} {answer.type}".strip()] += 1
        if rejected:
            await asyncio.to_thread(self._writer.write, rejected, self._clock.now_ns())
        return again

    def _keep_raw(self, raw: bytes) -> None:
        with appending(self._path) as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())

    def _note(self, end: int) -> None:
        """Everything before this place is settled, and on disk."""
        path = progress(self._path)
        fresh = path.with_name(path.name + ".new")
        with fresh.open("wb") as file:
            file.write(b"%d" % end)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync(path.parent)


def _with_id(letter: Letter, seen: Counter[bytes]) -> bytes:
    """The action line, with an id unless it has one or must not have one."""
    try:
        ((kind, members),) = orjson.loads(letter.action).items()
        if "_id" in members or str(members.get("_index", "")).startswith("metrics-"):
            return letter.action
    except (orjson.JSONDecodeError, AttributeError, ValueError, TypeError):
        return letter.action
    digest = hashlib.blake2b(letter.raw, digest_size=15).digest()
    seen[digest] += 1
    made = hashlib.blake2b(digest + b"%d" % seen[digest], digest_size=15).hexdigest()
    return orjson.dumps({kind: {"_id": made, **members}})


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
