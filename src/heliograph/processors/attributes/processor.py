"""The processor: every span, log record or data point that is meant goes through the actions in order."""

from collections.abc import Iterator
from typing import Any

from heliograph.component.batch import Batch
from heliograph.component.errors import ConfigError
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host
from heliograph.otlp.edit import Attributes
from heliograph.processors.attribute_action import lookup
from heliograph.processors.attributes.config import AttributesConfig
from heliograph.processors.attributes.match import skip


class AttributesProcessor:
    """Component and Consumer. Raises ConfigError when include or exclude do not fit the pipeline's signal."""

    def __init__(self, settings: Settings, config: AttributesConfig) -> None:
        assert settings.signal is not None
        self._signal = settings.signal
        self._next = settings.outputs[settings.signal]
        for name, properties in (("include", config.include), ("exclude", config.exclude)):
            problem = properties.problem(settings.signal) if properties else ""
            if problem:
                raise ConfigError(f"processors::{settings.id}::{name}: in a {settings.signal} pipeline: {problem}")
        self._actions = [action.compile() for action in config.actions]
        self._skip = skip(settings.signal, config.include, config.exclude)

    async def start(self, host: Host) -> None:
        """Nothing to get ready."""

    async def shutdown(self, deadline: float) -> None:
        """Nothing is held here."""

    async def consume(self, batch: Batch) -> None:
        """Change the attributes and hand on."""
        messages = batch.take_messages()
        find = lookup(batch.context)
        actions = self._actions
        for message in messages:
            for attributes in self._meant(message):
                for action in actions:
                    action.apply(attributes, find)
        await self._next.consume(batch.with_messages(messages))

    def _meant(self, message: Any) -> Iterator[Attributes]:
        """The attribute lists to change in a ResourceSpans, ResourceMetrics or ResourceLogs."""
        left_alone = self._skip
        resource = message.resource
        if self._signal is Signal.TRACES:
            for scope_spans in message.scope_spans:
                for span in scope_spans.spans:
                    if left_alone is None or not left_alone(resource, scope_spans.scope, span):
                        yield span.attributes
        elif self._signal is Signal.LOGS:
            for scope_logs in message.scope_logs:
                for record in scope_logs.log_records:
                    if left_alone is None or not left_alone(resource, scope_logs.scope, record):
                        yield record.attributes
        else:
            for scope_metrics in message.scope_metrics:
                for metric in scope_metrics.metrics:
                    if left_alone is None or not left_alone(resource, scope_metrics.scope, metric):
                        kind = metric.WhichOneof("data")
                        if kind is not None:
                            for point in getattr(metric, kind).data_points:
                                yield point.attributes
