"""The exporter: a summary line for each batch, and with more verbosity its text.

Equal messages (the summaries of a signal are equal to one another) are sampled by the second, as upstream's
logger does.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from heliograph.component.batch import Batch
from heliograph.component.clock import Clock
from heliograph.component.errors import Retryable, StartError
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host
from heliograph.delivery.config import QueueConfig, RetryConfig
from heliograph.delivery.delivery import Delivery
from heliograph.delivery.sender import SENT, SendResult
from heliograph.exporters.debug import detailed, normal
from heliograph.exporters.debug.config import DebugConfig

_TITLES = {Signal.TRACES: "Traces", Signal.METRICS: "Metrics", Signal.LOGS: "Logs"}
_RESOURCES = {
    Signal.TRACES: "resource spans",
    Signal.METRICS: "resource metrics",
    Signal.LOGS: "resource logs",
}
_COUNTED = {Signal.TRACES: "spans", Signal.METRICS: "data points", Signal.LOGS: "log records"}
_STREAMS = {"stdout": lambda: sys.stdout, "stderr": lambda: sys.stderr}


class Sampler:
    """Of equal messages, the first `initial` in each second pass, then every `thereafter`-th."""

    def __init__(self, initial: int, thereafter: int, clock: Clock) -> None:
        self._initial = initial
        self._thereafter = thereafter
        self._clock = clock
        self._second = -1
        self._seen: dict[int, int] = {}

    def passes(self, message: str) -> bool:
        """Whether to show this one."""
        second = self._clock.now_ns() // 1_000_000_000
        if second != self._second:
            self._second = second
            self._seen.clear()
        key = hash(message)
        count = self._seen[key] = self._seen.get(key, 0) + 1
        if count <= self._initial:
            return True
        return self._thereafter > 0 and (count - self._initial) % self._thereafter == 0


class DebugSender:
    """A Sender that writes text."""

    def __init__(self, settings: Settings, config: DebugConfig) -> None:
        self._config = config
        self._name = f"exporter {settings.id}"
        self._log = settings.telemetry.log
        self._outputs: list[tuple[TextIO, bool]] = []  # stream, ours to close
        self._text: Callable[[Batch], str] | None = {"normal": normal.text, "detailed": detailed.text}.get(
            config.verbosity
        )

    async def open(self, host: Host) -> None:
        """Open the outputs. Raises StartError."""
        self._sampler = Sampler(self._config.sampling_initial, self._config.sampling_thereafter, host.clock)
        if self._config.use_internal_logger:
            return
        for path in self._config.output_paths or ["stdout"]:
            if path in _STREAMS:
                self._outputs.append((_STREAMS[path](), False))
                continue
            try:
                self._outputs.append((_append_to(path), True))
            except OSError as error:
                raise StartError(f"{self._name}: cannot open {path}: {error.strerror}") from error

    async def send(self, batch: Batch) -> SendResult:
        """Show a batch."""
        title = _TITLES[batch.signal]
        self._show(title, json.dumps(summary(batch)))
        if self._text is not None:
            self._show(self._text(batch), "")
        return SENT

    async def close(self) -> None:
        """Close the files."""
        for stream, ours in self._outputs:
            if ours:
                stream.close()
        self._outputs.clear()

    def _show(self, message: str, fields: str) -> None:
        if not self._sampler.passes(message):
            return
        line = f"{message}\t{fields}" if fields else message
        if self._config.use_internal_logger:
            self._log.info("%s", line)
            return
        try:
            for stream, _ in self._outputs:
                stream.write(line + "\n")
                stream.flush()
        except OSError as error:
            raise Retryable(f"{self._name}: cannot write: {error.strerror}") from error


def _append_to(path: str) -> TextIO:
    return Path(path).open("a", encoding="utf-8")


def summary(batch: Batch) -> dict[str, int]:
    """What the summary line counts."""
    counts = {_RESOURCES[batch.signal]: len(batch.parts)}
    if batch.signal is Signal.METRICS:
        counts["metrics"] = sum(len(scope.metrics) for message in batch.messages() for scope in message.scope_metrics)
    counts[_COUNTED[batch.signal]] = batch.items
    return counts


def create(settings: Settings, config: DebugConfig) -> Delivery:
    """The exporter; without `sending_queue` there is no queue."""
    queue = config.sending_queue or QueueConfig(enabled=False)
    return Delivery(settings, DebugSender(settings, config), queue=queue, retry=RetryConfig(enabled=False), timeout=0)
