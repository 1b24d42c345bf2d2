"""Sends batches to Elasticsearch: what was delivered stays delivered, what failed is sent again alone.

A batch is encoded once and then worked off bulk by bulk. When a request or single documents are to be sent again, the
rest of the work is kept and Retryable is raised; delivery waits and comes back with the same batch. Nothing is given up
unless `retry` says so; what the server will never take goes to the dead letters, or is dropped and counted by reason.
"""

import asyncio
import re
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

import orjson

from heliograph.component.batch import Batch
from heliograph.component.errors import Permanent, Retryable, StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host, Status
from heliograph.component.storage import Storage
from heliograph.delivery.sender import NOTHING_SENT, SendResult
from heliograph.exporters.elasticsearch.blocks import Blocks, is_block
from heliograph.exporters.elasticsearch.bulk import (
    BadAnswer,
    Bulk,
    ItemAnswer,
    Verdict,
    advice,
    cut,
    item_verdict,
    read_answer,
    request_verdict,
)
from heliograph.exporters.elasticsearch.client import Client, Reply, Unreachable
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.counts import Counts, outcome_of
from heliograph.exporters.elasticsearch.dead_letters import DeadLetters, Full, file_name, owner
from heliograph.exporters.elasticsearch.encoding import BatchEncoder
from heliograph.exporters.elasticsearch.templates import Templates
from heliograph.otlp.errors import MalformedPayload

NEWLINE = b"\n"
_SMALLEST_LIMIT = 64 * 1024
_MOST_REASONS = 64
_NO_WORD = re.compile(r"[^a-z0-9_]+")


class _Job:
    """A batch in work. bulks: requests to make; again: documents of them that the server refused for now. sent, dead:
    items that were indexed, and that are in the dead letters."""

    __slots__ = ("again", "attempts", "batch", "bulks", "dead", "refusal", "rejected", "sent")

    def __init__(self, batch: Batch, bulks: Sequence[Bulk], rejected: dict[str, int]) -> None:
        self.batch = batch
        self.bulks = deque(bulks)
        self.again: list[Bulk] = []
        self.refusal = ItemAnswer(0)
        self.rejected: Counter[str] = Counter(rejected)
        self.sent = 0
        self.dead = 0
        self.attempts = 0


class ElasticsearchSender:
    """The Sender of one exporter and signal."""

    def __init__(self, settings: Settings, config: ElasticsearchConfig) -> None:
        assert settings.signal is not None
        self._id = settings.id
        self._signal = settings.signal
        self._telemetry = settings.telemetry
        self._log = settings.telemetry.log
        self._config = config
        self._encoder = BatchEncoder(config, settings.signal)
        self._client = Client(config)
        self._counts = Counts(settings.telemetry, str(settings.signal))
        self._more = frozenset(config.retry.retry_on_status)
        self._limit = config.max_bulk_bytes
        self._jobs: dict[int, _Job] = {}
        self._reasons: set[str] = set()
        self._noted: set[str] = set()
        self._blocks = Blocks()
        self._templates = Templates()
        self._dead_letters: DeadLetters | None = None
        self._writing = asyncio.Lock()
        self._next_sample = 0.0
        self._host: Host | None = None

    @property
    def label(self) -> str:
        """Where it goes, for messages."""
        return self._client.label

    async def open(self, host: Host) -> None:
        """Raises StartError."""
        self._host = host
        self._dead_letters = self._open_dead_letters(host)
        await self._client.open(host, self._log)

    async def close(self) -> None:
        """Close connections."""
        self._jobs.clear()
        await self._client.close()

    async def send(self, batch: Batch) -> SendResult:
        """Send a batch, or what is left of it: another attempt is made with the same object. Raises Retryable,
        Permanent."""
        job = self._jobs.get(id(batch))
        if job is None:
            job = self._jobs[id(batch)] = await self._begin(batch)
        await self._work_off(job)
        del self._jobs[id(batch)]
        return SendResult(rejected=dict(job.rejected), dead_lettered=job.dead)

    def forget(self, batch: Batch) -> SendResult:
        """What became of a batch that is given up."""
        job = self._jobs.pop(id(batch), None)
        if job is None:
            return NOTHING_SENT
        return SendResult(sent=job.sent, rejected=dict(job.rejected), dead_lettered=job.dead)

    async def _begin(self, batch: Batch) -> _Job:
        assert self._host is not None
        modes = batch.context.metadata.get("x-elastic-mapping-mode", ())
        mode = (modes[0] or "none").encode("utf-8", "replace") if modes else b""
        try:
            documents = await self._encoder.encode(batch, self._host.clock.now_ns(), mode)
        except MalformedPayload as error:
            raise Permanent(f"exporter {self._id}: the batch is malformed: {error}", 3) from error
        for text, times in documents.notes.items():
            if "mapping mode" in text:
                self._note(text)
            else:
                self._log.warning("%s (%d times)", text, times)
        self._counts.received.add(len(documents.lines))
        return _Job(batch, cut(documents.lines, documents.items, self._limit), documents.left_out)

    def _note(self, text: str) -> None:
        """Log something once."""
        if text not in self._noted and len(self._noted) < _MOST_REASONS:
            self._noted.add(text)
            self._log.warning("%s", text)

    async def _work_off(self, job: _Job) -> None:
        job.attempts += 1
        limit = self._config.retry.attempts
        last = 0 < limit <= job.attempts
        while job.bulks:
            bulk = job.bulks[0]
            failure = await self._request(job, bulk)
            if failure is None:
                continue
            problem, answer, after = failure
            if not last:
                self._counts.retried_requests.add(len(bulk.lines))
                raise Retryable(problem, after)
            job.bulks.popleft()
            self._counts.processed(outcome_of(answer.status), answer.status, len(bulk.lines), answer.type)
            await self._keep(job, [(line, items, answer) for line, items in zip(bulk.lines, bulk.items, strict=True)])
        if not job.again:
            return
        lines = [line for bulk in job.again for line in bulk.lines]
        items = [count for bulk in job.again for count in bulk.items]
        job.again.clear()
        refusal = job.refusal
        if last:
            self._counts.processed(outcome_of(refusal.status), refusal.status, len(lines), refusal.type)
            await self._keep(job, [(line, count, refusal) for line, count in zip(lines, items, strict=True)])
            return
        job.bulks.extend(cut(lines, items, self._limit))
        self._counts.retried.add(len(lines))
        kind = refusal.type or advice(refusal.status)
        where = f", for example by {lines[0].partition(NEWLINE)[0][:300].decode('utf-8', 'replace')}"
        if self._templates.any:
            where += f"; {self._templates.advice}"
        raise Retryable(f"{self.label}: {len(lines)} documents were refused for now ({refusal.status}, {kind}){where}")

    async def _request(self, job: _Job, bulk: Bulk) -> tuple[str, ItemAnswer, float | None] | None:
        """Make one request. None: it is over, whatever became of its documents. Else what to say and how long the
        server wants us to wait; the bulk is still the first of the job."""
        assert self._host is not None
        body = bulk.body
        if self._config.telemetry.log_request_body:
            self._log.debug("bulk request: %s", body.decode("utf-8", "replace"))
        begun = self._host.clock.monotonic()
        try:
            reply = await self._client.bulk(body, len(bulk.lines), job.batch.context)
        except Unreachable as error:
            self._counts.request("timeout" if error.sent else "failed_connection", 0, self._seconds_since(begun))
            return str(error), ItemAnswer(0, "unreachable", str(error)), None
        if self._config.telemetry.log_response_body:
            self._log.debug("answer %d: %s", reply.status, reply.body.decode("utf-8", "replace"))
        self._counts.bytes.add(reply.wire)
        self._counts.uncompressed_bytes.add(len(body))
        self._counts.request(outcome_of(reply.status), reply.status, self._seconds_since(begun))
        if reply.status == 413:
            await self._too_large(job, bulk, len(body), reply)
            return None
        verdict = request_verdict(reply.status, self._more)
        if verdict is Verdict.DELIVERED:
            try:
                answers = read_answer(reply.body, len(bulk.lines))
            except BadAnswer as error:
                return f"{reply.url}: {error}", ItemAnswer(reply.status, "bad_answer", str(error)), reply.after
            job.bulks.popleft()
            await self._settle(job, bulk, answers)
            return None
        answer = _request_error(reply)
        if verdict is Verdict.AGAIN:
            said = f" ({answer.type})" if answer.type else ""
            return f"{reply.url}: HTTP {reply.status}{said}: {advice(reply.status)}", answer, reply.after
        job.bulks.popleft()
        self._counts.processed(outcome_of(reply.status), reply.status, len(bulk.lines), answer.type)
        await self._keep(job, [(line, items, answer) for line, items in zip(bulk.lines, bulk.items, strict=True)])
        return None

    def _seconds_since(self, begun: float) -> float:
        assert self._host is not None
        return self._host.clock.monotonic() - begun

    async def _too_large(self, job: _Job, bulk: Bulk, size: int, reply: Reply) -> None:
        """The request is too large: two instead of it, and no such large ones from now on."""
        job.bulks.popleft()
        if len(bulk.lines) > 1:
            self._limit = min(self._limit, max(size // 2, _SMALLEST_LIMIT))
            self._log.warning(
                "%s takes no request of %d bytes (413): they are at most %d from now on; lower max_size of "
                "sending_queue::batch or raise http.max_content_length", reply.url, size, self._limit,
            )  # fmt: skip
            job.bulks.extendleft(reversed(bulk.halves()))
            return
        answer = ItemAnswer(413, "request_too_large", f"a document of {size} bytes")
        self._counts.processed("failed_client", 413, 1, answer.type)
        await self._keep(job, [(bulk.lines[0], bulk.items[0], answer)])

    async def _settle(self, job: _Job, bulk: Bulk, answers: Sequence[ItemAnswer]) -> None:
        assert self._host is not None
        delivered = duplicates = 0
        again: list[int] = []
        rejected: list[tuple[bytes, int, ItemAnswer]] = []
        for number, answer in enumerate(answers):
            if answer.status == 201 and not answer.failure_store:
                delivered += 1
                if self._blocks.any:
                    self._blocks.taken(bulk.lines[number])
                if self._templates.any and self._templates.taken(bulk.lines[number]):
                    self._host.report(Status.OK)
                continue
            verdict = item_verdict(answer.status, self._more)
            if verdict is Verdict.DELIVERED:
                delivered += 1
                if answer.failure_store:
                    self._counts.processed("failure_store", answer.status, 1)
            elif verdict is Verdict.DUPLICATE:
                duplicates += 1
            elif verdict is Verdict.AGAIN or self._worth_waiting(bulk.lines[number], answer):
                again.append(number)
                job.refusal = answer
            else:
                self._counts.processed(outcome_of(answer.status), answer.status, 1, answer.type)
                rejected.append((bulk.lines[number], bulk.items[number], answer))
        if delivered:
            self._counts.processed("success", 200, delivered)
        if duplicates:
            self._counts.duplicates.add(duplicates)
            self._counts.processed("duplicate", 409, duplicates)
        job.sent += (
            sum(bulk.items) - sum(bulk.items[number] for number in again) - sum(items for _, items, _ in rejected)
        )
        if again:
            job.again.append(bulk.only(again))
        if self._templates.any:
            self._note(self._templates.advice)
            self._host.report(Status.RECOVERABLE_ERROR, self._templates.advice)
        if rejected:
            await self._keep(job, rejected)

    def _worth_waiting(self, lines: bytes, answer: ItemAnswer) -> bool:
        """Whether a document that is refused may be taken later, when somebody has mended its index or template."""
        assert self._host is not None
        now = self._host.clock.monotonic()
        if is_block(answer):
            return self._blocks.worth_waiting(lines, now)
        return self._templates.worth_waiting(lines, answer, now)

    async def _keep(self, job: _Job, letters: Sequence[tuple[bytes, int, ItemAnswer]]) -> None:
        """Set documents aside that will never be taken; what cannot be kept is dropped and counted by reason."""
        assert self._host is not None
        kept = 0
        where = "dead letters are off"
        if self._dead_letters is not None:
            pairs = [(line, answer) for line, _, answer in letters]
            try:
                async with self._writing:
                    kept = await asyncio.to_thread(self._dead_letters.write, pairs, self._host.clock.now_ns())
                where = f"kept in {self._dead_letters.path}"
            except Full as error:
                where = str(error)
            except OSError as error:
                where = f"{self._dead_letters.path} cannot be written: {error.strerror or error}"
        job.dead += sum(items for _, items, _ in letters[:kept])
        for _, items, answer in letters[kept:]:
            if items:
                job.rejected[self._reason(answer)] += items
        told = Counter((answer.status, answer.type) for _, _, answer in letters)
        for (status, type_), count in told.items():
            example = next(letter for letter in letters if letter[2].type == type_ and letter[2].status == status)
            reason = f": {example[2].reason}" if self._config.include_source_on_error is not None else ""
            self._log.error(
                "%d of %d documents will never be indexed (%d %s%s), for example by %s; %s",
                count, len(letters), status, type_ or "without a type", reason,
                example[0].split(b"\n", 1)[0][:300].decode("utf-8", "replace"),
                where if kept == len(letters) or self._dead_letters is None else f"{kept} kept: {where}",
            )  # fmt: skip
        self._sample(letters[0][0])

    def _sample(self, lines: bytes) -> None:
        telemetry = self._config.telemetry
        if not telemetry.log_failed_docs_input or self._host is None:
            return
        now = self._host.clock.monotonic()
        if now >= self._next_sample:
            self._next_sample = now + telemetry.log_failed_docs_input_rate_limit
            self._log.debug("a document that was not indexed: %s", lines.decode("utf-8", "replace"))

    def _reason(self, answer: ItemAnswer) -> str:
        """A short word for the ledger."""
        word = _NO_WORD.sub("_", answer.type.lower()).strip("_")[:64] or f"http_{answer.status}"
        if word not in self._reasons and len(self._reasons) >= _MOST_REASONS:
            return "other"
        self._reasons.add(word)
        return word

    def _open_dead_letters(self, host: Host) -> DeadLetters | None:
        config = self._config.dead_letters
        if not config.enabled:
            return None
        file = file_name(self._id, self._signal)
        storage = self._config.sending_queue.storage
        if config.directory:
            directory = Path(config.directory)
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StartError(
                    f"exporter {self._id}: dead_letters::directory {directory} cannot be made: {error.strerror}"
                ) from error
        elif storage is not None and self._config.sending_queue.enabled:
            owned = owner(self._id, self._signal)
            directory = host.extension(storage, Storage).directory(owned)  # type: ignore[type-abstract]
        else:
            directory = Path("dead-letters")
        return DeadLetters(directory / file, str(self._id), config.max_size)


def _request_error(reply: Reply) -> ItemAnswer:
    """What the body of a failed request says of it."""
    try:
        error = orjson.loads(reply.body)["error"]
        if isinstance(error, str):
            return ItemAnswer(reply.status, f"http_{reply.status}", error[:1000])
        return ItemAnswer(reply.status, str(error.get("type", ""))[:200], str(error.get("reason", ""))[:1000])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ItemAnswer(reply.status, f"http_{reply.status}", reply.body[:200].decode("utf-8", "replace"))
