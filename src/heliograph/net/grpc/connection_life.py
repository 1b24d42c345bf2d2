"""The clock of one server connection: handshake timeout, keepalive pings, idleness, age, and how often a peer pings.

Follows upstream's (grpc-go's) server keepalive. One timer per connection, set to whatever is due next.
"""

import asyncio
import math
import random
from typing import Protocol

from heliograph.net.grpc.serving import Serving

_MAX_STRIKES = 2
_PING_WITHOUT_CALLS = 7200.0  # seconds between pings of a peer without calls, unless permitted
_DRAIN_PATIENCE = 5.0  # seconds to wait for the answer to the ping between the two GOAWAYs


class Driven(Protocol):
    """What the clock does to the connection."""

    def ping(self) -> None: ...
    def drain(self, reason: str) -> None: ...
    def last_goaway(self) -> None: ...
    def abort_calls(self, reason: str) -> None: ...
    def kill(self) -> None: ...
    @property
    def handshaken(self) -> bool: ...
    @property
    def busy(self) -> bool: ...


class ConnectionLife:
    """last_read: when bytes last came. lingering: everything is sent, the peer may close."""

    def __init__(self, connection: Driven, serving: Serving, loop: asyncio.AbstractEventLoop) -> None:
        self._connection = connection
        self._keepalive = serving.keepalive
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        now = loop.time()
        self.last_read = now
        self.lingering = False
        self._handshake_by = now + serving.handshake_timeout
        self._idle_since = now
        self._leaving = False
        self._pinged_at = math.inf  # a ping of ours waits for its answer since then
        self._drain_at = now + self._keepalive.max_connection_age * random.uniform(0.9, 1.1)
        self._last_goaway_at = math.inf
        self._abort_at = math.inf
        self._close_at = math.inf
        self._strikes = 0
        self._last_ping: float | None = None

    def begin(self) -> None:
        """Start the clock."""
        self._schedule()

    def end(self) -> None:
        """Stop it."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._close_at = -1.0

    def pong(self) -> None:
        """The peer answered a ping."""
        self._pinged_at = math.inf

    def answered(self) -> None:
        """A call was answered: pings that come with traffic are fine."""
        self._strikes = 0
        self._last_ping = None

    def call_ended(self) -> None:
        """A call ended, in whatever way."""
        self._idle_since = self.last_read

    def draining(self) -> None:
        """The first GOAWAY was sent."""
        now = self._loop.time()
        self._leaving = True
        self._drain_at = math.inf
        self._last_goaway_at = now + _DRAIN_PATIENCE
        self._abort_at = now + self._keepalive.max_connection_age_grace
        self._schedule()

    def linger(self, seconds: float) -> None:
        """Everything is sent: close in so many seconds if the peer does not."""
        self.lingering = True
        self._close_at = self._loop.time() + seconds
        self._schedule()

    def too_many_pings(self) -> bool:
        """A ping came: whether it is one too many."""
        now = self._loop.time()
        last, self._last_ping = self._last_ping, now
        if last is None:
            return False
        wait = self._keepalive.min_time
        if not self._connection.busy and not self._keepalive.permit_without_stream:
            wait = _PING_WITHOUT_CALLS
        if now < last + wait:
            self._strikes += 1
        return self._strikes > _MAX_STRIKES

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._close_at < 0:
            return
        due = min(
            self._due_ping(), self._due_idle(), self._drain_at, self._last_goaway_at, self._abort_at, self._close_at
        )
        if not self._connection.handshaken:
            due = min(due, self._handshake_by)
        if due < math.inf:
            self._timer = self._loop.call_at(due, self._tick)

    def _due_ping(self) -> float:
        if self._pinged_at < math.inf:
            return self._pinged_at + self._keepalive.timeout
        return self.last_read + self._keepalive.time

    def _due_idle(self) -> float:
        if self._leaving:
            return math.inf
        idle_since = self._loop.time() if self._connection.busy else self._idle_since
        return idle_since + self._keepalive.max_connection_idle

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        connection = self._connection
        if now >= self._close_at or (now >= self._handshake_by and not connection.handshaken):
            connection.kill()
            return
        if now >= self._due_ping():
            if self._pinged_at < math.inf and self.last_read <= self._pinged_at:
                connection.kill()
                return
            self._pinged_at = now
            connection.ping()
        if now >= self._abort_at:
            self._abort_at = math.inf
            connection.abort_calls("the connection reached its maximum age")
        elif now >= self._last_goaway_at:
            self._last_goaway_at = math.inf
            connection.last_goaway()
        elif now >= self._drain_at:
            connection.drain("max_age")
        elif now >= self._due_idle():
            connection.drain("max_idle")
        self._schedule()
