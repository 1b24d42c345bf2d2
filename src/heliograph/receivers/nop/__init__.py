"""The nop receiver: produces nothing, for pipelines that are there for their other ends.

Source: go.opentelemetry.io/collector/receiver/nopreceiver.
"""

from dataclasses import dataclass

from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import Kind
from heliograph.component.lifecycle import Host


@dataclass(frozen=True, slots=True, kw_only=True)
class NopConfig:
    """It has no keys."""


class NopReceiver:
    """Starts and stops."""

    async def start(self, host: Host) -> None:
        """Nothing to get ready."""

    async def shutdown(self, deadline: float) -> None:
        """Nothing to stop."""


def create(settings: Settings, config: NopConfig) -> NopReceiver:
    """Make one."""
    return NopReceiver()


FACTORY = Factory(kind=Kind.RECEIVER, type="nop", config=NopConfig, create=create)
