"""Those who follow the leadership: each is told in turns, started, stopped, started; one never waits for another."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from heliograph.component.leadership import Follower
from heliograph.telemetry.component import ComponentTelemetry


class Followers:
    """All followers of one elector."""

    def __init__(self, telemetry: ComponentTelemetry) -> None:
        self._log = telemetry.log
        self._told: dict[Follower, asyncio.Task[None] | None] = {}  # the running or ended `started` of each
        self.leading = False

    async def add(self, follower: Follower) -> None:
        """Tell it from now on, at once while leading."""
        if follower in self._told:
            return
        self._told[follower] = None
        if self.leading:
            await asyncio.wait({self._start(follower)})

    async def remove(self, follower: Follower) -> None:
        """Tell it nothing more."""
        task = self._told.pop(follower, None)
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    def start(self) -> None:
        """This process leads: tell all; those that need time for it hold nobody up."""
        self.leading = True
        for follower in self._told:
            self._start(follower)

    async def stop(self, patience: float) -> None:
        """This process leads no longer: tell all at once, and wait until all have ended. Those that have not after
        `patience` seconds are logged: another process may do the same work then."""
        self.leading = False
        stopping = {
            asyncio.create_task(self._stop(follower, task)): follower
            for follower, task in self._told.items()
            if task is not None
        }
        if not stopping:
            return
        _, late = await asyncio.wait(stopping, timeout=patience)
        for task in late:
            self._log.error("%s does not stop although another process may lead now", type(stopping[task]).__name__)
        if late:
            await asyncio.wait(late)

    def _start(self, follower: Follower) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._guarded(follower.started(), "start"))
        self._told[follower] = task
        return task

    async def _stop(self, follower: Follower, starting: "asyncio.Task[None]") -> None:
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
        if follower in self._told:
            self._told[follower] = None
        await self._guarded(follower.stopped(), "stop")

    async def _guarded(self, call: Coroutine[Any, Any, None], what: str) -> None:
        try:
            await call
        except Exception:  # noqa: BLE001
            self._log.exception("a follower could not %s", what)
