"""What a sender remembers of a batch between attempts."""

from collections import Counter, deque
from collections.abc import Sequence

from heliograph.component.batch import Context
from heliograph.delivery.sender import SendResult
from heliograph.exporters.elasticsearch.bulk import Bulk, ItemAnswer


class Job:
    """Documents in work. bulks: requests to make; again: documents of them that the server refused for now, refusal:
    the last answer of these; blocked: those whose index takes none. sent, dead, aside: items that were indexed, are in
    the dead letters, are set aside. tries_aside: the documents come from there."""

    __slots__ = (
        "again",
        "aside",
        "attempts",
        "blocked",
        "bulks",
        "context",
        "dead",
        "refusal",
        "rejected",
        "sent",
        "tries_aside",
    )

    def __init__(self, context: Context, bulks: Sequence[Bulk], rejected: dict[str, int]) -> None:
        self.context = context
        self.bulks = deque(bulks)
        self.again: list[Bulk] = []
        self.blocked: list[Bulk] = []
        self.refusal = ItemAnswer(0)
        self.rejected: Counter[str] = Counter(rejected)
        self.sent = 0
        self.dead = 0
        self.aside = 0
        self.attempts = 0
        self.tries_aside = False

    @property
    def result(self) -> SendResult:
        """What is over."""
        return SendResult(sent=self.sent, rejected=dict(self.rejected), dead_lettered=self.dead, set_aside=self.aside)


def columns(bulks: Sequence[Bulk]) -> tuple[list[bytes], list[int]]:
    """Lines and items of the documents of several bulks."""
    return [line for bulk in bulks for line in bulk.lines], [count for bulk in bulks for count in bulk.items]


def joined(bulks: Sequence[Bulk]) -> Bulk:
    """One bulk with the documents of several."""
    return Bulk(*columns(bulks))
