"""Telemetry whose pod is not known yet, bounded in time and bytes.

Pieces wait under the identifier of their pod, and leave in the order in which they came when it is known or when their
time is over. An identifier that was waited for in vain is not waited for again for a while, so that what comes from
outside of the cluster is delayed once and not for ever.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from heliograph.component.batch import Batch
from heliograph.processors.k8s_attributes.association import Identifier

_IN_VAIN = 1024  # identifiers remembered
_IN_VAIN_SECONDS = 300.0


class Waiting:
    """timeout: seconds. max_bytes: of all pieces together."""

    def __init__(self, timeout: float, max_bytes: int) -> None:
        self._timeout, self._max = timeout, max_bytes
        self._pieces: deque[tuple[float, Identifier, Batch]] = deque()
        self._waited: Counter[Identifier] = Counter()
        self._due: set[Identifier] = set()
        self._in_vain: dict[Identifier, float] = {}
        self.bytes = 0
        self.items = 0

    def in_vain(self, identifier: Identifier, now: float) -> bool:
        """Whether this pod was waited for in vain lately."""
        since = self._in_vain.get(identifier)
        return since is not None and now - since < _IN_VAIN_SECONDS

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Bytes that a sender who is not answered yet has here: they take room, but are still the sender's."""
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size

    def room(self, size: int) -> bool:
        """Whether so many bytes more may wait."""
        return self.bytes + size <= self._max

    def add(self, identifier: Identifier, batch: Batch, now: float) -> None:
        """Let a piece wait."""
        self._pieces.append((now + self._timeout, identifier, batch))
        self._waited[identifier] += 1
        self.bytes += batch.size
        self.items += batch.items

    def arrived(self, identifiers: Iterable[Identifier]) -> bool:
        """These pods are known now. Whether any piece waited for them."""
        before = len(self._due)
        for identifier in identifiers:
            self._in_vain.pop(identifier, None)
            if self._waited.get(identifier):
                self._due.add(identifier)
        return len(self._due) > before

    @property
    def next_end(self) -> float | None:
        """When the oldest piece's time is over."""
        return self._pieces[0][0] if self._pieces else None

    def leave(self, now: float, *, everything: bool = False) -> list[tuple[Batch, bool]]:
        """The pieces that go on now, and whether their pod is known."""
        due, self._due = self._due, set()
        kept: deque[tuple[float, Identifier, Batch]] = deque()
        leaving: list[tuple[Batch, bool]] = []
        for end, identifier, batch in self._pieces:
            known = identifier in due
            if not (known or everything or end <= now):
                kept.append((end, identifier, batch))
                continue
            if not known and not everything:
                self.give_up(identifier, now)
            self._waited[identifier] -= 1
            if not self._waited[identifier]:
                del self._waited[identifier]
            self.bytes -= batch.size
            self.items -= batch.items
            leaving.append((batch, known))
        self._pieces = kept
        return leaving

    def give_up(self, identifier: Identifier, now: float) -> None:
        """This pod was waited for in vain."""
        self._in_vain.pop(identifier, None)
        self._in_vain[identifier] = now
        if len(self._in_vain) > _IN_VAIN:
            del self._in_vain[next(iter(self._in_vain))]
