"""Keys of the `batch` processor, as upstream's."""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import Duration, key


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProcessorConfig:
    """Joins small batches."""

    timeout: Duration = key(Duration(0.2), "A batch is sent after this time whatever its size. 0: at once.")
    send_batch_size: int = key(8192, "A batch is sent when it has this many spans, points or records. 0: at once.")
    send_batch_max_size: int = key(0, "No batch has more; greater ones are split. 0: no limit.")
    metadata_keys: list[str] = key(list, "Request headers: requests whose values differ are not joined.")
    metadata_cardinality_limit: int = key(1000, "How many combinations of metadata_keys there may be. 0: any number.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.timeout < 0:
            yield "timeout", "must not be negative"
        if self.send_batch_size < 0:
            yield "send_batch_size", "must not be negative"
        if self.send_batch_max_size < 0:
            yield "send_batch_max_size", "must not be negative"
        if 0 < self.send_batch_max_size < self.send_batch_size:
            yield "send_batch_max_size", f"must be at least send_batch_size ({self.send_batch_size}), or 0"
        if self.metadata_cardinality_limit < 0:
            yield "metadata_cardinality_limit", "must not be negative"
        seen: set[str] = set()
        for name in self.metadata_keys:
            if name.lower() in seen:
                yield "metadata_keys", f"duplicate entry {name!r} (upper and lower case are the same)"
            seen.add(name.lower())
