"""What a leader elector offers: one process of several replicas works, the others stand by.

A receiver with the key `k8s_leader_elector` asks `host.extension(id, LeaderElector)` in its `start` and subscribes
there; it begins its work in `started` and ends it in `stopped`. Many receivers may subscribe to one elector.
Source: the LeaderElection interface of upstream's k8sleaderelector extension (SetCallBackFuncs).
"""

from typing import Protocol, runtime_checkable


class Follower(Protocol):
    """Whoever works only while this process leads. Calls come in the event loop, and always in turns: started, stopped,
    started, ... What one raises is logged and keeps nobody else from being told."""

    async def started(self) -> None:
        """This process leads now: begin, and return soon (go on in `host.spawn`)."""

    async def stopped(self) -> None:
        """This process leads no longer: end at once. Another one may begin soon after the elector's renew_deadline, so
        nothing may be produced after this returned. Not called for `unsubscribe`."""


@runtime_checkable
class LeaderElector(Protocol):
    """An extension that elects one leader among several processes."""

    @property
    def leading(self) -> bool:
        """Whether this process leads now."""

    async def subscribe(self, follower: Follower) -> None:
        """Tell this follower from now on. While this process leads, `started` was awaited when this returns."""

    async def unsubscribe(self, follower: Follower) -> None:
        """Tell it nothing more; no error when it never subscribed. For `shutdown`, which ends the work itself."""
