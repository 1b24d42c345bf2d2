"""Indices that take nothing for now: blocked, closed, forbidden, without a shard, without a template. No I/O.

Whatever such an index is sent is refused, until somebody (or Elasticsearch itself) mends it. Its documents are set
aside meanwhile (aside.py), so that they are kept and what goes elsewhere flows on.
Source: answers of Elasticsearch 9.2 to bulks for a blocked, a read-only and a lacking index, observed.
"""

import re

from heliograph.exporters.elasticsearch.bulk import ItemAnswer, advice
from heliograph.exporters.elasticsearch.templates import is_missing, missing_advice, template_of

_BLOCKS = {
    "cluster_block_exception": (403, 429, 503),
    "index_closed_exception": (400, 403),
    "security_exception": (403,),
    "unavailable_shards_exception": (503,),
    "no_shard_available_action_exception": (503,),
}
_INDEX = re.compile(rb'"_index":"((?:[^"\\]|\\.)*)"')
_MOST = 1000
_NAMED = 3


def is_block(lines: bytes, answer: ItemAnswer) -> bool:
    """Whether a document was refused whatever it holds, because of its index."""
    if answer.status in _BLOCKS.get(answer.type, ()):
        return True
    return is_missing(index_of(lines), answer)


def index_of(lines: bytes) -> bytes:
    """The index in the action line of a document, as it is written in JSON."""
    found = _INDEX.search(lines, 0, lines.find(b"\n"))
    return found[1] if found else b""


class Blocks:
    """Which indices are blocked, why, and whether others take documents meanwhile."""

    def __init__(self) -> None:
        self._answers: dict[bytes, ItemAnswer] = {}
        self._flowing: set[bytes] = set()

    def __contains__(self, index: bytes) -> bool:
        return index in self._answers

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._answers)

    @property
    def others_flow(self) -> bool:
        """Whether another index has taken documents since the first of these was blocked, and is not blocked itself."""
        return bool(self._flowing)

    def add(self, index: bytes, answer: ItemAnswer) -> bool:
        """An index has refused; true when that is news. A thousand are known at most."""
        self._flowing.discard(index)
        if index not in self._answers and len(self._answers) >= _MOST:
            return False
        before = self._answers.get(index)
        self._answers[index] = answer
        return before is None or (before.status, before.type) != (answer.status, answer.type)

    def answer(self, index: bytes) -> ItemAnswer | None:
        """Why it is blocked; None when it is not."""
        return self._answers.get(index)

    def taken(self, index: bytes) -> bool:
        """It took a document; true when it was blocked before."""
        was = self._answers.pop(index, None) is not None
        if not self._answers:
            self._flowing.clear()
        elif len(self._flowing) < _MOST:
            self._flowing.add(index)
        return was

    @property
    def text(self) -> str:
        """What is wrong and what to do, for health and log; the same as long as nothing changes."""
        missing = {template_of(index) for index, answer in self._answers.items() if is_missing(index, answer)}
        texts = [missing_advice(missing)] if missing else []
        others = [(index, answer) for index, answer in self._answers.items() if not is_missing(index, answer)]
        texts += [self.why(index, answer) for index, answer in others[:_NAMED]]
        if len(others) > _NAMED:
            texts.append(f"and {len(others) - _NAMED} others")
        return "; ".join(texts)

    @staticmethod
    def why(index: bytes, answer: ItemAnswer) -> str:
        """Why one index is blocked."""
        if is_missing(index, answer):
            return missing_advice({template_of(index)})
        name = index.decode("utf-8", "replace")
        return f"{name} takes no documents ({answer.status}, {answer.type}): {advice(answer.status, answer.type)}"
