"""The processor: one per pipeline; what it does is decided by the pipeline's signal when it is made.

It works on the serialized form: attributes are appended, what nobody looks at is copied. Mapping mode ecs is not
written by this program, so a request that asks for it is enriched for mode otel, which is said once in the log.
"""

from heliograph.component.batch import Batch
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host
from heliograph.otlp.resource import resource_of
from heliograph.processors.elasticapm.config import ElasticApmConfig
from heliograph.processors.elasticapm.log import LogEnricher, language_of, namespace_of
from heliograph.processors.elasticapm.part import Edit, ScopeEnricher, edit_part
from heliograph.processors.elasticapm.resource import resource_editor
from heliograph.processors.elasticapm.span import SpanEnricher

_MODE = "x-elastic-mapping-mode"


class ElasticApmProcessor:
    """Component and Consumer."""

    def __init__(self, settings: Settings, config: ElasticApmConfig) -> None:
        signal = settings.signal
        assert signal is not None
        self._next = settings.outputs[signal]
        self._signal = signal
        self._telemetry = settings.telemetry
        self._odd = settings.telemetry.counter(
            "heliograph_elasticapm_not_enriched", "Records passed on as they came because they could not be read."
        )
        self._skip = config.skip_enrichment and signal is not Signal.TRACES
        self._resources = resource_editor(config, metrics=signal is Signal.METRICS)
        self._scopes = ScopeEnricher(config)
        self._spans = SpanEnricher(config)
        self._logs = LogEnricher(config)
        self._said_ecs = False

    async def start(self, host: Host) -> None:
        """Nothing to get ready."""

    async def shutdown(self, deadline: float) -> None:
        """Nothing is held here."""

    async def consume(self, batch: Batch) -> None:
        """Enrich and hand on. Raises what the next consumer raises."""
        ecs = batch.context.metadata.get(_MODE, ("",))[:1] == ("ecs",)
        if ecs and not self._said_ecs:
            self._said_ecs = True
            self._telemetry.log.warning(
                "a request asks for mapping mode ecs, which is not done here: enriched for otel"
            )
        if not self._skip or ecs:
            batch = batch.with_parts([self._enrich(part) for part in batch.parts])
        await self._next.consume(batch)

    def _enrich(self, part: bytes) -> bytes:
        part = self._resources.apply(part)
        if self._signal is Signal.METRICS:
            part, _ = edit_part(part, self._scopes, None)
            return part
        if self._signal is Signal.TRACES:
            enrich = self._spans.enrich
            part, odd = edit_part(part, self._scopes, lambda scope: enrich)
        else:
            language = language_of(resource_of(part))
            part, odd = edit_part(part, self._scopes, lambda scope: self._log_edit(language, namespace_of(scope)))
        if odd:
            self._odd.add(odd)
        return part

    def _log_edit(self, language: str, namespace: str) -> Edit:
        enrich = self._logs.enrich
        return lambda record: enrich(record, language, namespace)
