"""Runs the processor on one message."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from heliograph.component.batch import Batch, Context
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.processors.elasticapm import FACTORY
from heliograph.processors.elasticapm.config import ElasticApmConfig
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer

_TYPES = {"ResourceSpans": "traces", "ResourceLogs": "logs", "ResourceMetrics": "metrics"}


@pytest.fixture
def enrich() -> Callable[..., Awaitable[Any]]:
    """`await enrich(message, config, context)`: the enriched Resource* message."""

    async def run(message: Any, config: Mapping[str, Any] | None = None, context: Context | None = None) -> Any:
        signal = _TYPES[type(message).__name__]
        sink = SinkConsumer()
        processor: Any = FACTORY.create(
            settings("processor", "elasticapm", signal, {signal: sink}),
            from_plain(ElasticApmConfig, dict(config or {})),
        )
        part = message.SerializeToString()
        await processor.consume(Batch(Signal(signal), [part], 1, context=context or Context()))
        return sink.messages[0]

    return run
