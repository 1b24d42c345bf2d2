"""What a component is, and what it may ask of the process that hosts it.

- `start(host)` returns when the component is ready (a receiver: when it listens). Start goes back to front:
  extensions, exporters, connectors and processors, receivers last.
- `shutdown(deadline)` stops and drains, in the opposite order; extensions last. It is safe on a component that was
  never started, and twice. `deadline` is a time of `clock.monotonic()`: what is not drained by then is counted as
  dropped{shutdown} (or stays in the persistent queue).
- Background work goes through `host.spawn`. A crash in it is logged with its traceback and becomes the component's
  status; it never cancels a sibling and never ends the process.
- Completions may come back after `shutdown` of the receiver (exporters drain last): a receiver must still take them.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from enum import StrEnum
from typing import Any, Protocol, TypeVar, runtime_checkable

from heliograph.component.batch import Batch
from heliograph.component.clock import Clock
from heliograph.component.ids import ComponentId

T = TypeVar("T")


class Status(StrEnum):
    """Health of a component; names follow upstream's componentstatus package."""

    STARTING = "StatusStarting"
    OK = "StatusOK"
    RECOVERABLE_ERROR = "StatusRecoverableError"
    PERMANENT_ERROR = "StatusPermanentError"
    FATAL_ERROR = "StatusFatalError"
    STOPPING = "StatusStopping"
    STOPPED = "StatusStopped"


class Health(Protocol):
    """The statuses of all components of this process, for health_check."""

    def statuses(self) -> Mapping[str, tuple[Status, str]]:
        """`kind/id` (for example "exporter/otlp_grpc/gateway") -> status and its message."""

    def ready(self) -> bool:
        """True when start-up is over, shutdown has not begun."""


class Host(Protocol):
    """Given to `start`; one for each component."""

    @property
    def clock(self) -> Clock:
        """Wall clock, monotonic clock and waiting."""

    @property
    def health(self) -> Health:
        """The health of the whole process."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Run background work under supervision. The task is cancelled after `shutdown` returned, if it still runs."""

    def report(self, status: Status, message: str = "") -> None:
        """Say how this component is. Saying the same again is free."""

    def extension(self, id: ComponentId, interface: type[T]) -> T:
        """The started extension `id`, which must offer `interface` (a runtime-checkable Protocol).

        Raises StartError that names what is defined and what is missing.
        """


@runtime_checkable
class Component(Protocol):
    """Everything in the configuration."""

    async def start(self, host: Host) -> None:
        """Get ready. Raises StartError."""

    async def shutdown(self, deadline: float) -> None:
        """Stop and drain until `deadline`."""


@runtime_checkable
class Consumer(Protocol):
    """Whoever takes batches: processors, exporters, connectors, and the pipeline's own fan-outs."""

    async def consume(self, batch: Batch) -> None:
        """Take a batch (and then finish it exactly once), or raise a DeliveryError (and then leave it alone)."""
