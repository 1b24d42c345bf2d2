"""Which changes of events become records.

- One that happened before the receiver was started does not, so that a start brings no flood; the times of events are
  whole seconds mostly, and so is this comparison. Whoever goes on from a checkpoint wants all that is after it.
- A deleted event (they live for an hour) is no news.
- With a dedup_interval, an event that is counted up makes a record no more often than that; with a negative one, never.
"""

from heliograph.kubernetes.changes import Change
from heliograph.receivers.k8s_events.record import Event

_KEPT_UIDS = 100_000


class Choice:
    """since_ns: of the receiver, nanoseconds since the epoch. interval: dedup_interval, seconds."""

    def __init__(self, since_ns: int, interval: float) -> None:
        self._since = since_ns - since_ns % 1_000_000_000
        self._interval = interval
        self._told: dict[str, float] = {}  # uid -> when it last made a record, monotonic, the oldest first

    def wants(self, change: Change, event: Event, happened_ns: int, now: float, resumed: bool) -> bool:
        """Whether the change becomes a record; then it is remembered that it did."""
        if change.type == "DELETED":
            self._told.pop(event.metadata.uid, None)
            return False
        if not resumed and happened_ns < self._since:
            return False
        if change.type == "MODIFIED" and self._interval < 0:
            return False
        if self._interval > 0:
            uid = event.metadata.uid
            last = self._told.get(uid)
            if change.type == "MODIFIED" and last is not None and now - last < self._interval:
                return False
            self._told.pop(uid, None)
            self._told[uid] = now
            self._forget(now)
        return True

    def _forget(self, now: float) -> None:
        while self._told:
            uid, last = next(iter(self._told.items()))
            if now - last < self._interval and len(self._told) <= _KEPT_UIDS:
                return
            del self._told[uid]
