"""A host for one component under test."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from heliograph.component.clock import Clock, SystemClock
from heliograph.component.errors import StartError
from heliograph.component.ids import ComponentId
from heliograph.component.lifecycle import Health, Status

T = TypeVar("T")


class TestHost:
    """A Host. extensions: by ComponentId or "type/name". A crash of spawned work is kept in `crashes` and becomes
    the status PERMANENT_ERROR, as in a real process. Use `async with TestHost() as host` or call `close`: it cancels
    what was spawned."""

    __test__ = False

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        extensions: Mapping[ComponentId | str, object] | None = None,
        health: Health | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.extensions: dict[ComponentId | str, object] = dict(extensions or {})
        self.health: Health = health or HealthOfTest()
        self.tasks: list[asyncio.Task[None]] = []
        self.reports: list[tuple[Status, str]] = []
        self.crashes: list[BaseException] = []

    @property
    def status(self) -> Status | None:
        """What was reported last."""
        return self.reports[-1][0] if self.reports else None

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Run background work."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self.tasks.append(task)
        return task

    def report(self, status: Status, message: str = "") -> None:
        """Keep a status in `reports`."""
        if not self.reports or self.reports[-1] != (status, message):
            self.reports.append((status, message))

    def extension(self, id: ComponentId, interface: type[T]) -> T:
        """The extension that the test gave. Raises StartError."""
        found = self.extensions.get(id, self.extensions.get(str(id)))
        if found is None:
            raise StartError(f"extension {str(id)!r} is not defined")
        if not isinstance(found, interface):
            raise StartError(f"extension {str(id)!r} is no {interface.__name__}")
        return found

    async def close(self) -> None:
        """Cancel what was spawned and still runs, and wait for it."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def __aenter__(self) -> "TestHost":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self.crashes.append(error)
            self.report(Status.PERMANENT_ERROR, f"{task.get_name()}: {error}")


class HealthOfTest:
    """A Health whose answers a test sets."""

    __test__ = False

    def __init__(self) -> None:
        self.values: dict[str, tuple[Status, str]] = {}
        self.is_ready = True

    def statuses(self) -> Mapping[str, tuple[Status, str]]:
        """What the test set."""
        return self.values

    def ready(self) -> bool:
        """What the test set."""
        return self.is_ready
