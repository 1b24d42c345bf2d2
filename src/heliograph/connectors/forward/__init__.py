"""The forward connector: whatever the pipelines that export to it hand over goes on, unchanged, into all pipelines
of the same signal that receive from it.

Source: go.opentelemetry.io/collector/connector/forwardconnector.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from heliograph.component.batch import Batch
from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import Kind, Signal
from heliograph.component.lifecycle import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardConfig:
    """It has no keys."""


class ForwardConnector:
    """Hands on."""

    def __init__(self, settings: Settings) -> None:
        self._outputs = dict(settings.outputs)

    async def start(self, host: Host) -> None:
        """Nothing to get ready."""

    async def shutdown(self, deadline: float) -> None:
        """Nothing to stop: it holds no data."""

    def consume(self, batch: Batch) -> Coroutine[Any, Any, None]:
        """Hand a batch on. Raises what the next consumer raises."""
        return self._outputs[batch.signal].consume(batch)


def create(settings: Settings, config: ForwardConfig) -> ForwardConnector:
    """Make one."""
    return ForwardConnector(settings)


FACTORY = Factory(
    kind=Kind.CONNECTOR,
    type="forward",
    config=ForwardConfig,
    create=create,
    signals=frozenset(),
    pairs=frozenset((signal, signal) for signal in Signal),
)
