"""Documents of indices that take none for now: found among the answers, held back, set aside.

Blocks (blocks.py) knows which indices these are, Aside (aside.py) keeps their documents on disk, Templates
(templates.py) tells what the cluster lacks before the first document. Here these three are brought to bear on a job.
"""

from collections.abc import Awaitable, Callable, Sequence

from heliograph.component.batch import Context
from heliograph.component.errors import StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.delivery.sender import Keeper
from heliograph.exporters.elasticsearch.aside import Aside, Tried
from heliograph.exporters.elasticsearch.blocks import Blocks, index_of
from heliograph.exporters.elasticsearch.bulk import Bulk, ItemAnswer
from heliograph.exporters.elasticsearch.client import Client
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.counts import Counts
from heliograph.exporters.elasticsearch.job import Job, columns
from heliograph.exporters.elasticsearch.places import aside_directory
from heliograph.exporters.elasticsearch.rejects import Rejects
from heliograph.exporters.elasticsearch.templates import Templates, template_of


class Blocked:
    """The blocked indices of one exporter and signal, and what is for them. keeper: whom to tell of documents that are
    set aside; without one, none are. note: logs a text once."""

    def __init__(
        self,
        settings: Settings,
        config: ElasticsearchConfig,
        client: Client,
        counts: Counts,
        rejects: Rejects,
        note: Callable[[str], None],
    ) -> None:
        assert settings.signal is not None
        self.keeper: Keeper | None = None
        self._settings = settings
        self._id = settings.id
        self._signal = settings.signal
        self._log = settings.telemetry.log
        self._config = config
        self._counts = counts
        self._rejects = rejects
        self._note = note
        self._blocks = Blocks()
        self._templates = Templates(str(settings.signal), client.get)
        self._aside: Aside | None = None
        self._host: Host | None = None

    def open(self, host: Host, try_again: Callable[[Bulk, Context], Awaitable[Tried]]) -> None:
        """Go on with what a former process has set aside. try_again: sends documents that were."""
        self._host = host
        self._aside = self._open_aside(host, try_again)

    async def close(self) -> None:
        """What waits stays on disk."""
        if self._aside is not None:
            await self._aside.close()

    @property
    def any(self) -> bool:
        """Whether an index is blocked."""
        return self._blocks.any

    @property
    def trouble(self) -> str:
        """Which indices take nothing, why, and where their documents are; "" when all do."""
        aside = self._aside
        if not self._blocks.any:
            return aside.problem if aside is not None else ""
        if aside is None:
            return self._blocks.text
        full = "; there is no more room for it (blocked_index::max_size)" if aside.full else ""
        failed = f"; sending it has failed: {aside.problem}" if aside.problem else ""
        return f"{self._blocks.text}; what it is sent waits in {aside.directory}{full}{failed}"

    def holds_back(self, job: Job, bulk: Bulk) -> bool:
        """Take out of the first bulk what is for an index that is known to take nothing, and for which documents wait
        already: those find out when it does again. Whether there was some."""
        aside = self._aside
        if not self._blocks.any or aside is None or job.tries_aside:
            return False
        closed = [
            number
            for number, lines in enumerate(bulk.lines)
            if (index := index_of(lines)) in self._blocks and aside.holds(index)
        ]
        return _take_out(job, bulk, closed)

    async def lacks_template(self, job: Job, bulk: Bulk) -> bool:
        """Take out of the first bulk what the cluster has no template for. Whether there was some.

        Raises Unreachable."""
        if self._templates.settled:
            return False
        assert self._host is not None
        streams = [number for number, lines in enumerate(bulk.lines) if template_of(index_of(lines))]
        refusal = await self._templates.refusal(self._host.clock, job.context) if streams else None
        if refusal is None:
            return False
        job.refusal = refusal
        for number in streams:
            self.refuses(bulk.lines[number], refusal)
        return _take_out(job, bulk, streams)

    async def set_aside(self, job: Job) -> None:
        """Set the documents of blocked indices aside. Without room they become dead letters if other indices take
        documents, which must not wait for them; if none does, all wait."""
        groups: dict[bytes, list[tuple[bytes, int]]] = {}
        for lines, items in zip(*columns(job.blocked), strict=True):
            groups.setdefault(index_of(lines), []).append((lines, items))
        job.blocked.clear()
        for index, pairs in groups.items():
            bulk = Bulk([lines for lines, _ in pairs], [items for _, items in pairs])
            answer = self._blocks.answer(index) or job.refusal
            if await self._is_aside(job, index, bulk):
                continue
            job.refusal = answer
            if (
                self._aside is not None
                and self._aside.full
                and self._blocks.others_flow
                and not self._config.retry.attempts
            ):
                await self._rejects.give_up(job, bulk, answer)
            else:
                job.again.append(bulk)

    async def _is_aside(self, job: Job, index: bytes, bulk: Bulk) -> bool:
        aside = self._aside
        if aside is None or self._config.retry.attempts or index not in self._blocks:
            return False
        try:
            done = await aside.put(index, bulk, job.context)
        except (OSError, StartError) as error:
            self._note(f"documents cannot be set aside in {aside.directory}, so they hold up others: {error}")
            return False
        if done:
            job.aside += sum(bulk.items)
            self._counts.set_aside.add(len(bulk.lines))
        return done

    def refuses(self, lines: bytes, answer: ItemAnswer) -> None:
        """The index of a document refuses whatever it is sent."""
        index = index_of(lines)
        if self._blocks.add(index, answer):
            self._log.warning("%s (%s)", self._blocks.why(index, answer), answer.reason[:500])
            if self.keeper is not None:
                self.keeper.changed()

    def takes(self, lines: bytes) -> None:
        """The index of a document has looked at it, so it is not blocked."""
        index = index_of(lines)
        if self._blocks.taken(index):
            self._log.info("%s takes documents again", index.decode("utf-8", "replace"))
            if self.keeper is not None:
                self.keeper.changed()

    def _open_aside(self, host: Host, try_again: Callable[[Bulk, Context], Awaitable[Tried]]) -> Aside | None:
        directory, fsync = aside_directory(self._config, self._id, self._signal, host)
        size = self._config.blocked_index.max_size
        if directory is None or not size or self.keeper is None:
            return None
        aside = Aside(
            directory, self._settings, fsync=fsync, max_size=size, pauses=self._config.pauses(), blocks=self._blocks,
            send=try_again, keeper=self.keeper,
        )  # fmt: skip
        aside.open(host)
        return aside


def _take_out(job: Job, bulk: Bulk, blocked: Sequence[int]) -> bool:
    """Move documents of the first bulk to those whose index takes none. Whether there are some."""
    if not blocked:
        return False
    job.blocked.append(bulk.only(blocked))
    job.bulks.popleft()
    left = bulk.only(sorted(set(range(len(bulk.lines))).difference(blocked)))
    if left.lines:
        job.bulks.appendleft(left)
    return True
