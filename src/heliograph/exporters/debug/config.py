"""Keys of the `debug` exporter, as upstream's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heliograph.component.config import key
from heliograph.delivery.config import QueueConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugConfig:
    """Shows what comes."""

    verbosity: Literal["basic", "normal", "detailed"] = key(
        "basic", "basic: counts. normal: a line for each record. detailed: everything."
    )
    sampling_initial: int = key(2, "How many equal messages a second are shown.")
    sampling_thereafter: int = key(1, "Of those that follow, every n-th is shown. 0: none.")
    use_internal_logger: bool = key(True, "Write to the collector's own log instead of output_paths.")
    output_paths: list[str] | None = key(None, 'Where to write without the log: "stdout", "stderr" or files.')
    sending_queue: QueueConfig | None = key(None, "Absent: shown within the call that brings the data.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.use_internal_logger and self.output_paths is not None:
            yield "output_paths", "not used with the collector's own log: set use_internal_logger: false"
        if self.output_paths is not None and not self.output_paths:
            yield "output_paths", "must not be empty"
        for name in ("sampling_initial", "sampling_thereafter"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
