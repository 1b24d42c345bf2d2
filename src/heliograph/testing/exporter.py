"""An exporter under test: made from its configuration, started, fed with parts, its outcomes kept."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from heliograph import catalog
from heliograph.component.batch import NO_CONTEXT, Batch, Completion, Context, Outcome
from heliograph.component.clock import Clock
from heliograph.component.ids import Kind, Signal
from heliograph.config.decode import from_plain
from heliograph.otlp.count import count
from heliograph.telemetry.ledger import Ledger
from heliograph.telemetry.metrics import Metrics
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings

NO_QUEUE: Mapping[str, Any] = {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
"""Keys with which `send` itself sends once, and raises what went wrong."""


class ExporterUnderTest:
    """Use as an async context manager. keys: its configuration, as in a file."""

    def __init__(
        self,
        type: str,
        signal: str,
        keys: Mapping[str, Any],
        *,
        extensions: Mapping[Any, object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.signal = Signal(signal)
        self.metrics, self.ledger = Metrics(), Ledger()
        self.host = TestHost(extensions=extensions, clock=clock)
        factory = catalog.factory(Kind.EXPORTER, type)
        made = settings(Kind.EXPORTER, type, signal, metrics=self.metrics, ledger=self.ledger)
        self.exporter: Any = factory.create(made, from_plain(factory.config, dict(keys)))

    async def send(self, parts: Sequence[bytes], context: Context = NO_CONTEXT) -> Outcome:
        """Hand it a batch and wait for its fate. Raises what `consume` raises."""
        fate: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        items = sum(count(self.signal.value, part) for part in parts)
        batch = Batch(self.signal, parts, items, context=context, completion=Completion(fate.set_result))
        await self.exporter.consume(batch)
        return await fate

    async def __aenter__(self) -> Self:
        await self.exporter.start(self.host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.exporter.shutdown(self.host.clock.monotonic() + 2)
        await self.host.close()
