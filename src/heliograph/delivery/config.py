"""The keys that every exporter shares: `sending_queue`, `sending_queue::batch`, `retry_on_failure`.

Names, defaults and rules are upstream's (exporter/exporterhelper and config/configretry of the Collector 0.156).
An exporter with other defaults derives from `QueueConfig` or `BatchConfig` and declares the differing keys again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from heliograph.component.config import Duration, key
from heliograph.component.ids import ComponentId

QueueSizer = Literal["requests", "items", "bytes"]
BatchSizer = Literal["items", "bytes"]


def duplicates(keys: Sequence[str]) -> Iterator[str]:
    """Entries that were there before, in whatever case (request headers do not distinguish it)."""
    seen: set[str] = set()
    for name in keys:
        if name.lower() in seen:
            yield name
        seen.add(name.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionConfig:
    """What is never joined in one batch."""

    metadata_keys: list[str] = key(
        list, "Request headers; requests whose values differ are batched separately. Needs include_metadata."
    )

    def check(self) -> Iterator[tuple[str, str]]:
        for name in duplicates(self.metadata_keys):
            yield "metadata_keys", f"duplicate entry {name!r} (upper and lower case are the same)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """Joins what is taken from the queue into batches before it is sent."""

    enabled: bool = key(True, "false sends each request as it came.")
    flush_timeout: Duration = key(Duration(0.2), "Time after which a batch is sent whatever its size.")
    sizer: BatchSizer | None = key(
        None, "Unit of min_size and max_size: items or bytes. Without it that of the queue, or items."
    )
    min_size: int = key(8192, "A batch is sent as soon as it has this size.")
    max_size: int = key(0, "A batch is never greater; what is greater is split. 0: no limit.")
    partition: PartitionConfig = key(PartitionConfig, "What is batched separately.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.flush_timeout <= 0:
            yield "flush_timeout", "must be positive"
        if self.min_size < 0:
            yield "min_size", "must not be negative"
        if self.max_size < 0:
            yield "max_size", "must not be negative"
        if 0 < self.max_size < self.min_size:
            yield "max_size", f"must be at least min_size ({self.min_size}), or 0 for no limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """What waits between the pipeline and the sending."""

    enabled: bool = key(True, "false sends within the call that brings the data; errors go back to the caller.")
    num_consumers: int = key(10, "How many requests are sent at the same time.")
    queue_size: int = key(1000, "How much the queue holds, in units of sizer; what is being sent counts too.")
    sizer: QueueSizer = key("requests", "Unit of queue_size: requests, items or bytes.")
    block_on_overflow: bool = key(
        False, "true waits for room in a full queue; false refuses, the sender keeps the data."
    )
    wait_for_result: bool = key(False, "true holds the caller until the data is sent, and tells it the error.")
    storage: ComponentId | None = key(
        None, "A storage extension, for example file_storage: the queue is kept on disk and survives a crash."
    )
    batch: BatchConfig | None = key(None, "Join requests into batches. Absent: each is sent as it came.")

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.enabled:
            return
        if self.num_consumers <= 0:
            yield "num_consumers", "must be positive"
        if self.queue_size <= 0:
            yield "queue_size", "must be positive"
        if self.storage is not None and self.wait_for_result:
            yield "wait_for_result", "not possible with a queue on disk: remove it, or remove storage"
        batch = self.batch
        if batch is not None and batch.enabled and self.batch_sizer == self.sizer and batch.min_size > self.queue_size:
            yield "batch.min_size", f"must not be greater than queue_size ({self.queue_size}), or no batch is ever full"

    @property
    def batch_sizer(self) -> BatchSizer:
        """The unit of the batch's limits."""
        if self.batch is not None and self.batch.sizer is not None:
            return self.batch.sizer
        return "bytes" if self.sizer == "bytes" else "items"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """When to try again what may work later."""

    enabled: bool = key(True, "false drops what failed once.")
    initial_interval: Duration = key(Duration(5), "Wait after the first failure.")
    randomization_factor: float = key(0.5, "Each wait is varied by at most this share, 0 to 1.")
    multiplier: float = key(1.5, "Each wait is this many times the one before.")
    max_interval: Duration = key(Duration(30), "No wait is longer, unless the other side asks for it.")
    max_elapsed_time: Duration = key(Duration(300), "Give up after this time and drop the data. 0: never give up.")

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.enabled:
            return
        if self.initial_interval < 0:
            yield "initial_interval", "must not be negative"
        if not 0 <= self.randomization_factor <= 1:
            yield "randomization_factor", "must be between 0 and 1"
        if self.multiplier < 0:
            yield "multiplier", "must not be negative"
        if self.max_interval < 0:
            yield "max_interval", "must not be negative"
        if self.max_elapsed_time < 0:
            yield "max_elapsed_time", "must not be negative; 0 never gives up"
        elif self.max_elapsed_time > 0:
            if self.max_elapsed_time < self.initial_interval:
                yield "max_elapsed_time", "must not be less than initial_interval"
            elif self.max_elapsed_time < self.max_interval:
                yield "max_elapsed_time", "must not be less than max_interval"
