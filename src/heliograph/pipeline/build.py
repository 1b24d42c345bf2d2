"""From a plan to instances that know one another. Nothing is opened: that is what start is for.

Made from the back to the front, so that a constructor gets consumers that are ready to be bound. The one exception is a
connector that lies on its own way with another signal (see plan.py): behind it stands a `Late` that finds it when
the first batch comes.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph.component.batch import Batch
from heliograph.component.clock import Clock
from heliograph.component.errors import ConfigError
from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import ComponentId, Kind, PipelineId, Signal
from heliograph.component.lifecycle import Component, Consumer
from heliograph.pipeline.entry import Entry, incoming, outgoing
from heliograph.pipeline.fanout import FanOut
from heliograph.pipeline.plan import FactoryOf, Instance, Plan
from heliograph.telemetry.component import ComponentTelemetry
from heliograph.telemetry.ledger import Ledger
from heliograph.telemetry.metrics import Metrics

ConfigOf = Mapping[tuple[Kind, ComponentId], Any]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every instance shares."""

    clock: Clock
    metrics: Metrics = field(default_factory=Metrics)
    ledger: Ledger = field(default_factory=Ledger)

    def telemetry(self, kind: Kind, id: ComponentId, type_: str) -> ComponentTelemetry:
        """A component's own voice. type_: canonical type, which names the logger."""
        logger = logging.getLogger(f"heliograph.{kind}.{type_}")
        return ComponentTelemetry(kind, id, metrics=self.metrics, ledger=self.ledger, logger=logger)


def build(plan: Plan, configs: ConfigOf, factory: FactoryOf, around: Surroundings) -> dict[Instance, Component]:
    """Make every instance of the plan; the result is in the plan's order of starting. Raises ConfigError when a
    constructor does."""
    made = _Builder(plan, configs, factory, around).build()
    return {instance: made[instance] for instance in plan.order}


def build_extension(id: ComponentId, config: Any, factory: Factory, around: Surroundings) -> Component:
    """Make an extension. Raises ConfigError when its constructor does."""
    settings = Settings(id, Kind.EXTENSION, around.telemetry(Kind.EXTENSION, id, factory.type))
    return factory.create(settings, config)


class Late:
    """A connector that is being made."""

    def __init__(self) -> None:
        self.consumer: Consumer | None = None

    async def consume(self, batch: Batch) -> None:
        """Hand a batch on."""
        assert self.consumer is not None
        await self.consumer.consume(batch)


class _Builder:
    def __init__(self, plan: Plan, configs: ConfigOf, factory: FactoryOf, around: Surroundings) -> None:
        self._plan = plan
        self._configs = configs
        self._factory = factory
        self._around = around
        self._made: dict[Instance, Component] = {}
        self._heads: dict[PipelineId, Consumer] = {}
        self._late: dict[ComponentId, Late] = {}

    def build(self) -> Mapping[Instance, Component]:
        for pipeline in self._plan.pipelines:
            self._head(pipeline)
        for id, pipelines in self._plan.receivers.items():
            self._receiver(id, pipelines)
        return self._made

    def _head(self, pipeline: PipelineId) -> Consumer:
        """The first consumer of a pipeline."""
        if pipeline in self._heads:
            return self._heads[pipeline]
        lists = self._plan.pipelines[pipeline]
        # Connectors last: what an exporter refuses comes again, and a connector that counts must not count it twice.
        ids = sorted(dict.fromkeys(lists.exporters), key=lambda id: id in self._plan.connectors)
        ends = [self._exporter(id, pipeline.signal) for id in ids]
        head = self._fan_out(pipeline.signal, ends, {"pipeline": str(pipeline)})
        for id in reversed(lists.processors):
            head = self._processor(id, pipeline, head)
        self._heads[pipeline] = head
        return head

    def _exporter(self, id: ComponentId, signal: Signal) -> Consumer:
        if id in self._plan.connectors:
            return self._connector(id)
        instance = Instance(Kind.EXPORTER, id, signal)
        if instance not in self._made:
            self._make(instance, {}, {})
        return _consumer(instance, self._made[instance])

    def _connector(self, id: ComponentId) -> Consumer:
        instance = Instance(Kind.CONNECTOR, id)
        if instance in self._made:
            return _consumer(instance, self._made[instance])
        if id in self._late:
            return self._late[id]
        late = self._late[id] = Late()
        pipelines = {target: self._head(target) for target in self._plan.connectors[id].targets}
        late.consumer = _consumer(
            instance, self._make(instance, self._outputs(id, Kind.CONNECTOR, pipelines), pipelines)
        )
        return late.consumer

    def _processor(self, id: ComponentId, pipeline: PipelineId, next_: Consumer) -> Consumer:
        instance = Instance(Kind.PROCESSOR, id, pipeline.signal, pipeline)
        telemetry = self._telemetry(Kind.PROCESSOR, id)
        made = self._make(instance, {pipeline.signal: outgoing(next_, telemetry, pipeline.signal)}, {})
        return incoming(_consumer(instance, made), telemetry, pipeline.signal)

    def _receiver(self, id: ComponentId, pipelines: tuple[PipelineId, ...]) -> None:
        heads = {pipeline: self._heads[pipeline] for pipeline in pipelines}
        telemetry = self._telemetry(Kind.RECEIVER, id)
        outputs = {
            signal: Entry(signal, output, telemetry)
            for signal, output in self._outputs(id, Kind.RECEIVER, heads).items()
        }
        self._make(Instance(Kind.RECEIVER, id), outputs, {})

    def _outputs(self, id: ComponentId, kind: Kind, pipelines: Mapping[PipelineId, Consumer]) -> dict[Signal, Consumer]:
        by_signal: dict[Signal, list[Consumer]] = {}
        for pipeline, head in pipelines.items():
            by_signal.setdefault(pipeline.signal, []).append(head)
        return {signal: self._fan_out(signal, heads, {str(kind): str(id)}) for signal, heads in by_signal.items()}

    def _fan_out(self, signal: Signal, branches: list[Consumer], labels: Mapping[str, str]) -> Consumer:
        if len(branches) == 1:
            return branches[0]
        around = self._around
        return FanOut(
            signal,
            branches,
            clock=around.clock,
            ledger=around.ledger,
            metrics=around.metrics,
            log=logging.getLogger("heliograph.pipeline"),
            labels=labels,
        )

    def _make(
        self, instance: Instance, outputs: Mapping[Signal, Consumer], pipelines: Mapping[PipelineId, Consumer]
    ) -> Component:
        settings = Settings(
            instance.id,
            instance.kind,
            self._telemetry(instance.kind, instance.id),
            signal=instance.signal,
            outputs=outputs,
            pipelines=pipelines,
        )
        factory = self._factory(instance.kind, instance.id)
        made = factory.create(settings, self._configs[instance.kind, instance.id])
        self._made[instance] = made
        return made

    def _telemetry(self, kind: Kind, id: ComponentId) -> ComponentTelemetry:
        return self._around.telemetry(kind, id, self._factory(kind, id).type)


def _consumer(instance: Instance, component: Component) -> Consumer:
    if not isinstance(component, Consumer):
        raise ConfigError(f"{instance.kind} {instance.id} takes no data: its type is made wrongly")
    return component
