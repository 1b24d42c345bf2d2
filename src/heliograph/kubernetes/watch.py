"""A watch that goes on for ever: a Reflector, a client, back-off with jitter, and those who listen.

Nothing is kept here but the uids of what exists; whoever listens keeps what it needs. So one who joins late makes the
watch list once more, and all others hear of the same objects again. Calls to listeners are synchronous and in order.
When the API cannot be reached or refuses, listeners are told once, and again when it works.
"""

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import Protocol

from heliograph.component.clock import Clock
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError, BadAnswer, rule
from heliograph.kubernetes.objects import Object, Resource, Scope
from heliograph.kubernetes.reflector import Applied, Change, Reflector, Removed

_LOG = logging.getLogger("heliograph.kubernetes")
FIRST_PAUSE = 0.8
LONGEST_PAUSE = 30.0
_SECONDS = (300.0, 600.0)  # how long a watch lasts, chosen at random, so that those of a cluster do not end together
_FORBIDDEN = 403
_REFUSALS = 5  # of a watch, one after another, until everything is listed again


class Listener(Protocol):
    """Whoever wants to know. What it raises is logged and goes no further."""

    def applied(self, resource: Resource, found: Object) -> None:
        """An object is new or changed; it may also be told again unchanged."""

    def removed(self, resource: Resource, uid: str, name: str) -> None:
        """An object is gone."""

    def synced(self, resource: Resource, scope: Scope) -> None:
        """Everything in the scope has been told at least once."""

    def troubled(self, resource: Resource, scope: Scope, problem: str) -> None:
        """The watch does not work for this reason; it goes on trying. "": it works again."""


class Watch:
    """One kind and scope."""

    def __init__(self, client: ApiClient, resource: Resource, scope: Scope, clock: Clock) -> None:
        self._client = client
        self._reflector = Reflector(resource, scope)
        self._clock = clock
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._begun = False
        self._problem = ""

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def join(self, listener: Listener) -> None:
        """Tell this listener too, from the beginning."""
        self._listeners.append(listener)
        if self._begun and self._task is not None:
            self._task.cancel()
            self._task = None
            self._reflector.restart()
        if self._task is None:
            self._begun = False
            self._task = asyncio.get_running_loop().create_task(self._run())
        if self._problem:
            listener.troubled(self._reflector.resource, self._reflector.scope, self._problem)

    async def leave(self, listener: Listener) -> None:
        """Tell it nothing more; without listeners the watch ends."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        task = self._task
        if not self._listeners and task is not None:
            self._task = None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        self._begun = True
        failures = refusals = 0
        while True:
            pause = 0.0
            began = self._clock.monotonic()
            try:
                busy = await self._once()
                failures = refusals = 0
                if not busy and self._clock.monotonic() - began < 1.0:
                    pause = FIRST_PAUSE
            except ApiError as error:
                failures += 1
                refusals += error.status != 0
                if not (self._reflector.refused(error.status) and failures < 2):
                    pause = max(back_off(failures), min(error.after or 0.0, LONGEST_PAUSE))
                    self._trouble(self._described(error))
                if isinstance(error, BadAnswer) or refusals >= _REFUSALS:
                    self._reflector.restart()
                    refusals = 0
            except Exception as error:  # noqa: BLE001
                failures += 1
                _LOG.exception("watching %s", self._reflector.resource.plural)
                self._reflector.restart()
                self._trouble(f"{type(error).__name__}: {error}")
                pause = back_off(failures)
            if pause:
                await self._clock.sleep(pause)

    async def _once(self) -> bool:
        """Do one request. Whether anything came."""
        reflector = self._reflector
        request = reflector.request()
        if not request.watch:
            body = await self._client.body(request.path, request.query, request.accept)
            self._trouble("")
            self._tell(reflector.page(body))
            return True
        query = {**request.query, "timeoutSeconds": str(int(random.uniform(*_SECONDS)))}
        busy = False
        async with self._client.stream(request.path, query, request.accept) as content:
            self._trouble("")
            async for piece in content.iter_any():
                busy = True
                self._tell(reflector.feed(piece))
                if not reflector.watching:
                    break
        reflector.ended()
        return busy

    def _tell(self, changes: Iterable[Change]) -> None:
        resource, scope = self._reflector.resource, self._reflector.scope
        for change in changes:
            for listener in tuple(self._listeners):
                try:
                    if isinstance(change, Applied):
                        listener.applied(resource, change.object)
                    elif isinstance(change, Removed):
                        listener.removed(resource, change.uid, change.name)
                    else:
                        listener.synced(resource, scope)
                except Exception:  # noqa: BLE001
                    _LOG.exception("a change of %s was not taken", resource.plural)

    def _described(self, error: ApiError) -> str:
        """The error, and the rule that is missing when it was refused for want of rights."""
        if error.status != _FORBIDDEN:
            return str(error)
        resource, scope = self._reflector.resource, self._reflector.scope
        group = resource.api.removeprefix("/apis/").rpartition("/")[0] if resource.api.startswith("/apis/") else ""
        namespace = scope.namespace if resource.namespaced else ""
        return f"{error}; {rule(group, resource.plural, namespace, ('get', 'list', 'watch'))}"

    def _trouble(self, problem: str) -> None:
        if problem == self._problem:
            return
        resource, scope = self._reflector.resource, self._reflector.scope
        if problem:
            _LOG.warning("cannot watch %s: %s", resource.plural, problem)
        else:
            _LOG.info("watching %s again", resource.plural)
        self._problem = problem
        for listener in tuple(self._listeners):
            listener.troubled(resource, scope, problem)


def back_off(failures: int) -> float:
    """Seconds before the next try: doubling, with half of it left to chance."""
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1.0)
