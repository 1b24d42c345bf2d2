"""Indices that take nothing for now for a reason that somebody must mend: a block, a missing right, a closed index.

Their documents are sent again for a while. A block that lasts longer would hold up what goes elsewhere, since every
batch has some such documents: then they become dead letters at once, until the index takes one again.
"""

import re

from heliograph.exporters.elasticsearch.bulk import ItemAnswer

LONGEST = 60.0
"""Seconds that documents wait for an index."""
_TYPES = frozenset(("cluster_block_exception", "security_exception", "index_closed_exception"))
_INDEX = re.compile(rb'"_index":"((?:[^"\\]|\\.)*)"')
_MOST = 1000


def is_block(answer: ItemAnswer) -> bool:
    """Whether a document was refused whatever it holds."""
    return answer.type in _TYPES and answer.status in (400, 403)


class Blocks:
    """Since when which index is blocked."""

    def __init__(self) -> None:
        self._since: dict[bytes, float] = {}

    def worth_waiting(self, lines: bytes, now: float) -> bool:
        """Note that an index is blocked; whether its documents should wait."""
        index = index_of(lines)
        if index not in self._since and len(self._since) >= _MOST:
            self._since.clear()
        return now - self._since.setdefault(index, now) < LONGEST

    def taken(self, lines: bytes) -> None:
        """A document was taken."""
        if self._since:
            self._since.pop(index_of(lines), None)

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._since)


def index_of(lines: bytes) -> bytes:
    """The index in the action line of a document, as it is written in JSON."""
    found = _INDEX.search(lines, 0, lines.find(b"\n"))
    return found[1] if found else b""
