"""What Elasticsearch said of keys lately. No I/O, no clock of its own.

Nothing is kept of a key but a digest made with a secret of this process; a key is random, so that guessing it from the
digest is no use. Keys that were let in and keys that were refused are remembered apart: whoever tries many wrong keys
pushes no good one out.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from heliograph.component.auth import PermissionDenied, Unauthenticated

Refusal = type[Unauthenticated] | type[PermissionDenied]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a sender. facts: known of one that is let in. refusal, message: how to refuse it."""

    facts: Mapping[str, str] | None = None
    refusal: Refusal = Unauthenticated
    message: str = ""

    def told(self) -> Mapping[str, str]:
        """The facts. Raises Unauthenticated or PermissionDenied."""
        if self.facts is None:
            raise self.refusal(self.message)
        return self.facts


class Verdicts:
    """At most `capacity` of either kind, each for `ttl` seconds; the least recently used go first."""

    def __init__(self, capacity: int, ttl: float) -> None:
        self._capacity = capacity
        self._ttl = ttl
        self._secret = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()
        self._bad: OrderedDict[bytes, tuple[float, Verdict]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._good) + len(self._bad)

    def digest(self, values: Iterable[str]) -> bytes:
        """What a key and the headers that belong to it are remembered by."""
        made = hashlib.blake2b(key=self._secret, digest_size=32)
        for value in values:
            raw = value.encode("utf-8", "surrogateescape")
            made.update(b"%d:%b" % (len(raw), raw))
        return made.digest()

    def find(self, digest: bytes, now: float) -> Verdict | None:
        """What was said, if it is not too old."""
        for kept in (self._good, self._bad):
            found = kept.get(digest)
            if found is None:
                continue
            if now - found[0] < self._ttl:
                kept.move_to_end(digest)
                return found[1]
            del kept[digest]
        return None

    def keep(self, digest: bytes, verdict: Verdict, now: float) -> None:
        """Remember."""
        kept = self._bad if verdict.facts is None else self._good
        kept[digest] = now, verdict
        kept.move_to_end(digest)
        if len(kept) > self._capacity:
            kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._good.clear()
        self._bad.clear()
