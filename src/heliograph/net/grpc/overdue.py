"""Calls of one server connection whose time is over: their deadline passed, or their body comes too slowly.

One timer a connection, set to the earliest time at which something can be due: calls come and go by the thousand in
between, and cost a comparison each. A connection from which we withhold window does not send because of us: then the
bodies get more time.
"""

import asyncio
import math
from collections.abc import Iterable
from typing import Protocol

from heliograph.net import pace
from heliograph.net.grpc.active_call import ActiveCall
from heliograph.net.grpc.status import DEADLINE_EXCEEDED, UNAVAILABLE, GrpcError


class Watched(Protocol):
    """What is asked of the connection."""

    @property
    def calls(self) -> Iterable[ActiveCall]: ...
    @property
    def withholding(self) -> bool: ...
    def end_call(self, active: ActiveCall, error: GrpcError) -> None: ...


class Overdue:
    """grace: seconds that any body may take."""

    def __init__(self, connection: Watched, loop: asyncio.AbstractEventLoop, grace: float) -> None:
        self._connection = connection
        self._loop = loop
        self._grace = grace
        self._timer: asyncio.TimerHandle | None = None
        self._at = math.inf

    def watch(self, active: ActiveCall) -> None:
        """A call began."""
        deadline = active.call.deadline
        due = pace.due(active.body_since, 0, self._grace)
        if deadline is not None and deadline < due:
            due = deadline
        if due < self._at:
            self._set(due)

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, at: float) -> None:
        self.stop()
        self._at = at
        self._timer = self._loop.call_at(at, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        self._at = math.inf
        now = self._loop.time()
        withholding = self._connection.withholding
        earliest = math.inf
        for active in list(self._connection.calls):
            if active.ending is not None:
                continue
            if withholding and active.body_since < now:
                active.body_since = now
            deadline = math.inf if active.call.deadline is None else active.call.deadline
            slow = pace.due(active.body_since, active.held, self._grace)
            if deadline <= now:
                text = "the deadline passed while the call was handled"
                self._connection.end_call(active, GrpcError(DEADLINE_EXCEEDED, text))
            elif slow <= now:
                text = f"grpc: only {active.held} bytes of the message came in {now - active.body_since:.0f} s"
                self._connection.end_call(active, GrpcError(UNAVAILABLE, text))
            else:
                earliest = min(earliest, deadline, slow)
        if earliest < math.inf:
            self._set(earliest)
