"""One host for each component: its background work, its status, and the extensions it may ask for.

A crash of background work is logged with its traceback and becomes the component's status PERMANENT_ERROR. It cancels
nothing else, and ends the process never. PERMANENT_ERROR and FATAL_ERROR stay until the component is stopped: a part
of it that still works does not make up for the part that died.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from heliograph.component.clock import Clock
from heliograph.component.errors import StartError
from heliograph.component.ids import ComponentId, Kind
from heliograph.component.lifecycle import Component, Health, Status

T = TypeVar("T")

_SEVERITY = (
    Status.OK,
    Status.STARTING,
    Status.STOPPED,
    Status.STOPPING,
    Status.RECOVERABLE_ERROR,
    Status.PERMANENT_ERROR,
    Status.FATAL_ERROR,
)
_STICKY = frozenset((Status.PERMANENT_ERROR, Status.FATAL_ERROR))
_ENDING = frozenset((Status.STOPPING, Status.STOPPED, Status.FATAL_ERROR))


class HealthBoard:
    """The Health of a process: what each instance said last."""

    def __init__(self) -> None:
        self._instances: dict[str, dict[str, tuple[Status, str]]] = {}
        self.is_ready = False

    def set(self, name: str, instance: str, status: Status, message: str) -> bool:
        """Note a status; False when nothing changed. instance: tells several of the same name apart."""
        known = self._instances.setdefault(name, {})
        now = known.get(instance)
        if now == (status, message) or (now is not None and now[0] in _STICKY and status not in _ENDING):
            return False
        known[instance] = (status, message)
        return True

    def statuses(self) -> Mapping[str, tuple[Status, str]]:
        """`kind/id` -> the worst status of its instances and the message."""
        return {
            name: max(instances.values(), key=lambda value: _SEVERITY.index(value[0]))
            for name, instances in self._instances.items()
        }

    def ready(self) -> bool:
        """True when start-up is over, shutdown has not begun."""
        return self.is_ready


class ComponentHost:
    """The Host of one instance. kind, id: what health and messages call it. instance: which of those with this id."""

    def __init__(
        self,
        kind: Kind,
        id: ComponentId,
        instance: str,
        *,
        clock: Clock,
        board: HealthBoard,
        extensions: Mapping[ComponentId, Component],
        log: logging.LoggerAdapter[logging.Logger],
    ) -> None:
        self._name = f"{kind}/{id}"
        self._instance = instance
        self._clock = clock
        self._board = board
        self._extensions = extensions
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def clock(self) -> Clock:
        """Wall clock, monotonic clock and waiting."""
        return self._clock

    @property
    def health(self) -> Health:
        """The health of the whole process."""
        return self._board

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Run background work under supervision."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def report(self, status: Status, message: str = "") -> None:
        """Say how this component is; a change is logged when it is one for the worse or back."""
        if not self._board.set(self._name, self._instance, status, message):
            return
        if status in (Status.RECOVERABLE_ERROR, Status.PERMANENT_ERROR, Status.FATAL_ERROR):
            self._log.warning("status changed to %s: %s", status, message)

    def extension(self, id: ComponentId, interface: type[T]) -> T:
        """A started extension. Raises StartError."""
        found = self._extensions.get(id)
        if found is None:
            started = ", ".join(str(name) for name in self._extensions) or "none"
            raise StartError(
                f'extension "{id}" is not started (started: {started}); define it in extensions and list it in '
                "service::extensions"
            )
        if not isinstance(found, interface):
            raise StartError(f'extension "{id}" does not offer {interface.__name__}; name one that does')
        return found

    async def end(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._log.error("%s crashed", task.get_name(), exc_info=error)
            self.report(Status.PERMANENT_ERROR, f"{task.get_name()} crashed: {type(error).__name__}: {error}")
