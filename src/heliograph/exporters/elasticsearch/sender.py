"""Sends batches to Elasticsearch: what was delivered stays delivered, what failed is sent again alone.

A batch is encoded once and then worked off bulk by bulk. When a request or single documents are to be sent again, the
rest of the work is kept and Retryable is raised; delivery waits and comes back with the same batch. Documents of an
index that takes none for now are set aside (blocked.py), and the batch is over without them. Nothing is given up unless
`retry` says so; what the server will never take is a matter of rejects.py.
"""

from collections.abc import Sequence

import orjson

from heliograph.component.batch import Batch, Context
from heliograph.component.errors import Permanent, Retryable
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.delivery.sender import NOTHING_SENT, Keeper, PartlyTaken, SendResult
from heliograph.exporters.elasticsearch.aside import Tried
from heliograph.exporters.elasticsearch.blocked import Blocked
from heliograph.exporters.elasticsearch.blocks import is_block
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
from heliograph.exporters.elasticsearch.encoding import BatchEncoder
from heliograph.exporters.elasticsearch.job import Job, joined
from heliograph.exporters.elasticsearch.rejects import Rejects
from heliograph.otlp.errors import MalformedPayload

NEWLINE = b"\n"
_SMALLEST_LIMIT = 64 * 1024
_MOST_NOTES = 64


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
        self._rejects = Rejects(settings, config, self._counts)
        self._more = frozenset(config.retry.retry_on_status)
        self._limit = config.max_bulk_bytes
        self._jobs: dict[int, Job] = {}
        self._noted: set[str] = set()
        self._blocked = Blocked(settings, config, self._client, self._counts, self._rejects, self._note)
        self._host: Host | None = None

    @property
    def label(self) -> str:
        """Where it goes, for messages."""
        return self._client.label

    @property
    def trouble(self) -> str:
        """Which indices take nothing, why, and where their documents are; "" when all do."""
        return self._blocked.trouble

    def keep_for(self, keeper: Keeper) -> None:
        """Whom to tell of documents that are set aside."""
        self._blocked.keeper = keeper

    async def open(self, host: Host) -> None:
        """Raises StartError."""
        self._host = host
        self._rejects.open(host)
        await self._client.open(host, self._log)
        self._blocked.open(host, self._try_again)

    async def close(self) -> None:
        """Close connections."""
        self._jobs.clear()
        await self._blocked.close()
        await self._client.close()

    async def send(self, batch: Batch) -> SendResult:
        """Send a batch, or what is left of it: another attempt is made with the same object. Raises Retryable,
        Permanent."""
        job = self._jobs.get(id(batch))
        if job is None:
            job = self._jobs[id(batch)] = await self._begin(batch)
        await self._work_off(job)
        del self._jobs[id(batch)]
        return SendResult(rejected=dict(job.rejected), dead_lettered=job.dead, set_aside=job.aside)

    def forget(self, batch: Batch) -> SendResult:
        """What became of a batch that is given up."""
        job = self._jobs.pop(id(batch), None)
        return NOTHING_SENT if job is None else job.result

    async def _begin(self, batch: Batch) -> Job:
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
        return Job(batch.context, cut(documents.lines, documents.items, self._limit), documents.left_out)

    def _note(self, text: str) -> None:
        """Log something once."""
        if text not in self._noted and len(self._noted) < _MOST_NOTES:
            self._noted.add(text)
            self._log.warning("%s", text)

    async def _work_off(self, job: Job) -> None:
        job.attempts += 1
        limit = self._config.retry.attempts
        last = 0 < limit <= job.attempts
        while (failure := await self._requests(job)) is not None:
            problem, answer, after = failure
            bulk = job.bulks[0]
            if not last:
                self._counts.retried_requests.add(len(bulk.lines))
                raise Retryable(problem, after)
            job.bulks.popleft()
            await self._rejects.give_up(job, bulk, answer)
        if job.blocked:
            await self._blocked.set_aside(job)
        if not job.again:
            return
        bulk = joined(job.again)
        job.again.clear()
        refusal = job.refusal
        if last:
            await self._rejects.give_up(job, bulk, refusal)
            return
        job.bulks.extend(cut(bulk.lines, bulk.items, self._limit))
        self._counts.retried.add(len(bulk.lines))
        kind = refusal.type or advice(refusal.status)
        where = f", for example by {bulk.lines[0].partition(NEWLINE)[0][:300].decode('utf-8', 'replace')}"
        if self.trouble:
            where += f"; {self.trouble}"
        raise PartlyTaken(
            f"{self.label}: {len(bulk.lines)} documents were refused for now ({refusal.status}, {kind}){where}"
        )

    async def _requests(self, job: Job) -> tuple[str, ItemAnswer, float | None] | None:
        """Make the requests of a job, each once. None: it has no more; else why the first one left has failed."""
        while job.bulks:
            bulk = job.bulks[0]
            if self._blocked.holds_back(job, bulk):
                continue
            try:
                if await self._blocked.lacks_template(job, bulk):
                    continue
            except Unreachable as error:
                return self._unreachable(error, 0.0)
            failure = await self._request(job, bulk)
            if failure is not None:
                return failure
        return None

    async def _try_again(self, bulk: Bulk, context: Context) -> Tried:
        """Send documents that were set aside."""
        job = Job(context, [bulk], {})
        job.tries_aside = True
        try:
            failure = await self._requests(job)
        except Exception as error:  # noqa: BLE001  an auth extension, or a mistake: they wait on
            failure = f"{self.label}: {error or type(error).__name__}", ItemAnswer(0), None
        rest = joined([*job.bulks, *job.again, *job.blocked])
        if failure is None:
            return Tried(rest, job.result)
        problem, _, after = failure
        return Tried(rest, job.result, problem, after)

    async def _request(self, job: Job, bulk: Bulk) -> tuple[str, ItemAnswer, float | None] | None:
        """Make one request. None: it is over, whatever became of its documents. Else what to say and how long the
        server wants us to wait; the bulk is still the first of the job."""
        assert self._host is not None
        body = bulk.body
        if self._config.telemetry.log_request_body:
            self._log.debug("bulk request: %s", body.decode("utf-8", "replace"))
        begun = self._host.clock.monotonic()
        try:
            reply = await self._client.bulk(body, len(bulk.lines), job.context)
        except Unreachable as error:
            return self._unreachable(error, self._seconds_since(begun))
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
            what = advice(reply.status, answer.type)
            return f"{reply.url}: HTTP {reply.status}{said}: {what}", answer, reply.after
        job.bulks.popleft()
        await self._rejects.give_up(job, bulk, answer)
        return None

    def _unreachable(self, error: Unreachable, seconds: float) -> tuple[str, ItemAnswer, float | None]:
        self._counts.request("timeout" if error.sent else "failed_connection", 0, seconds)
        return str(error), ItemAnswer(0, "unreachable", str(error)), None

    def _seconds_since(self, begun: float) -> float:
        assert self._host is not None
        return self._host.clock.monotonic() - begun

    async def _too_large(self, job: Job, bulk: Bulk, size: int, reply: Reply) -> None:
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
        await self._rejects.keep(job, [(bulk.lines[0], bulk.items[0], answer)])

    async def _settle(self, job: Job, bulk: Bulk, answers: Sequence[ItemAnswer]) -> None:
        delivered = duplicates = 0
        again: list[int] = []
        blocked: list[int] = []
        rejected: list[tuple[bytes, int, ItemAnswer]] = []
        for number, answer in enumerate(answers):
            if answer.status == 201 and not answer.failure_store:
                delivered += 1
                if self._blocked.any:
                    self._blocked.takes(bulk.lines[number])
                continue
            if is_block(bulk.lines[number], answer):
                blocked.append(number)
                self._blocked.refuses(bulk.lines[number], answer)
                continue
            verdict = item_verdict(answer.status, self._more)
            if self._blocked.any and verdict is not Verdict.AGAIN:
                self._blocked.takes(bulk.lines[number])
            if verdict is Verdict.DELIVERED:
                delivered += 1
                if answer.failure_store:
                    self._counts.processed("failure_store", answer.status, 1)
            elif verdict is Verdict.DUPLICATE:
                duplicates += 1
            elif verdict is Verdict.AGAIN:
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
        left = sum(bulk.items[number] for number in (*again, *blocked)) + sum(items for _, items, _ in rejected)
        job.sent += sum(bulk.items) - left
        if again:
            job.again.append(bulk.only(again))
        if blocked:
            job.blocked.append(bulk.only(blocked))
        if rejected:
            await self._rejects.keep(job, rejected)


def _request_error(reply: Reply) -> ItemAnswer:
    """What the body of a failed request says of it."""
    try:
        error = orjson.loads(reply.body)["error"]
        if isinstance(error, str):
            return ItemAnswer(reply.status, f"http_{reply.status}", error[:1000])
        return ItemAnswer(reply.status, str(error.get("type", ""))[:200], str(error.get("reason", ""))[:1000])
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ItemAnswer(reply.status, f"http_{reply.status}", reply.body[:200].decode("utf-8", "replace"))
