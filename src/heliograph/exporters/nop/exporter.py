"""The exporter that sends nowhere. What it takes counts as sent."""

from dataclasses import dataclass

from heliograph.component.batch import Batch
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.delivery.config import QueueConfig, RetryConfig
from heliograph.delivery.delivery import Delivery
from heliograph.delivery.sender import SENT, SendResult


@dataclass(frozen=True, slots=True, kw_only=True)
class NopConfig:
    """Takes everything and does nothing with it."""


class NopSender:
    """A Sender without a destination."""

    async def open(self, host: Host) -> None:
        """Nothing to open."""

    async def send(self, batch: Batch) -> SendResult:
        """It has arrived."""
        return SENT

    async def close(self) -> None:
        """Nothing to close."""


def create(settings: Settings, config: NopConfig) -> Delivery:
    """The exporter, without a queue."""
    queue, retry = QueueConfig(enabled=False), RetryConfig(enabled=False)
    return Delivery(settings, NopSender(), queue=queue, retry=retry, timeout=0)
