"""What becomes of documents that will never be indexed: dead letters, else dropped and counted by reason.

Each is counted and told in the log with the server's answer; what the ledger is told of them goes into the job. The
words of the server that become labels or reasons are bounded in number.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence

from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.exporters.elasticsearch.bulk import Bulk, ItemAnswer
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.counts import Counts, outcome_of
from heliograph.exporters.elasticsearch.dead_letters import DeadLetters, Full, file_name
from heliograph.exporters.elasticsearch.job import Job
from heliograph.exporters.elasticsearch.places import letters_directory

_MOST_REASONS = 64
_NO_WORD = re.compile(r"[^a-z0-9_]+")


class Rejects:
    """The documents of one exporter and signal that are given up."""

    def __init__(self, settings: Settings, config: ElasticsearchConfig, counts: Counts) -> None:
        assert settings.signal is not None
        self._id = settings.id
        self._signal = settings.signal
        self._log = settings.telemetry.log
        self._config = config
        self._counts = counts
        self._reasons: set[str] = set()
        self._dead_letters: DeadLetters | None = None
        self._writing = asyncio.Lock()
        self._next_sample = 0.0
        self._host: Host | None = None

    def open(self, host: Host) -> None:
        """Find the place of the dead letters, if they are on. Raises StartError."""
        self._host = host
        if self._config.dead_letters.enabled:
            directory = letters_directory(self._config, self._id, self._signal, host)
            path = directory / file_name(self._id, self._signal)
            self._dead_letters = DeadLetters(path, str(self._id), self._config.dead_letters.max_size)

    async def give_up(self, job: Job, bulk: Bulk, answer: ItemAnswer) -> None:
        """Documents that are not sent any more because of this answer."""
        self._counts.processed(outcome_of(answer.status), answer.status, len(bulk.lines), answer.type)
        await self.keep(job, [(lines, items, answer) for lines, items in zip(bulk.lines, bulk.items, strict=True)])

    async def keep(self, job: Job, letters: Sequence[tuple[bytes, int, ItemAnswer]]) -> None:
        """Write documents to the dead letters and note their fate in the job; what cannot be kept is dropped and
        counted by reason."""
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
