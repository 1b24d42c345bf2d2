"""Parts for whole pipelines under test: a receiver one can push batches into, exporters that are SinkConsumers, and
components that crash where a test wants it, all made through the same Factory as real ones.

    parts = Parts()
    loaded = configuration({"logs": ("tap", "pass", "sink sink/2")})
    collector = Collector(loaded, factories=parts.factory)
    await collector.start()
    await parts.push("tap", batch)
    parts.sink("sink/2", "logs").items
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from heliograph import catalog
from heliograph.component.batch import Batch
from heliograph.component.config import Node, Origin
from heliograph.component.factory import Factory, Settings
from heliograph.component.ids import ComponentId, Kind, PipelineId, Signal
from heliograph.component.lifecycle import Consumer, Host
from heliograph.config.model import Configured, Loaded, PipelineConfig
from heliograph.config.telemetry import MetricsConfig, MetricsLevel, TelemetryConfig
from heliograph.testing.sink import SinkConsumer


@dataclass(frozen=True, slots=True, kw_only=True)
class NoConfig:
    """It has no keys."""


class Part:
    """A component that notes its life in `events` as "start kind/id" and "stop kind/id". fail_start, fail_stop: raised
    there. hang: shutdown never returns. crash: raised by background work when it is set."""

    def __init__(self, settings: Settings, events: list[str]) -> None:
        self.settings = settings
        self.events = events
        self.name = f"{settings.kind}/{settings.id}" + (f"/{settings.signal}" if settings.signal else "")
        self.fail_start: Exception | None = None
        self.fail_stop: Exception | None = None
        self.hang = False
        self.crash: asyncio.Future[None] | None = None
        self.host: Host | None = None

    async def start(self, host: Host) -> None:
        """Note it; spawn the work that `crash` ends."""
        if self.fail_start is not None:
            raise self.fail_start
        self.host = host
        self.crash = asyncio.get_running_loop().create_future()
        host.spawn(self._work(self.crash), f"{self.name} work")
        self.events.append(f"start {self.name}")

    async def shutdown(self, deadline: float) -> None:
        """Note it."""
        self.events.append(f"stop {self.name}")
        if self.hang:
            await asyncio.Event().wait()
        if self.fail_stop is not None:
            raise self.fail_stop

    @staticmethod
    async def _work(crash: "asyncio.Future[None]") -> None:
        await crash


class Pass(Part):
    """A processor or connector that hands on. error: raised instead."""

    error: Exception | None = None

    async def consume(self, batch: Batch) -> None:
        """Hand on to the output of the batch's signal."""
        if self.error is not None:
            raise self.error
        await self.settings.outputs[batch.signal].consume(batch)


class Sink(Part, SinkConsumer):
    """An exporter that is a SinkConsumer; what it takes is `sent` in the ledger."""

    def __init__(self, settings: Settings, events: list[str]) -> None:
        Part.__init__(self, settings, events)
        SinkConsumer.__init__(self)

    async def consume(self, batch: Batch) -> None:
        """Take, hold or refuse."""
        await SinkConsumer.consume(self, batch)
        self.settings.telemetry.ledger[batch.signal].sent += batch.items


class Parts:
    """Makes parts and remembers them. Types: receivers tap and log_tap (logs only), processor pass, exporter sink,
    connector link, extension side; everything else comes from the catalog.
    fail: ids ("exporter/sink/2") whose start raises this."""

    def __init__(self, fail: Mapping[str, Exception] | None = None) -> None:
        self.made: list[Part] = []
        self.events: list[str] = []
        self._fail = dict(fail or {})

    def factory(self, kind: Kind, type_: str) -> Factory:
        """For Collector(factories=...)."""
        classes: dict[tuple[Kind, str], type[Part]] = {
            (Kind.RECEIVER, "tap"): Part,
            (Kind.RECEIVER, "log_tap"): Part,
            (Kind.PROCESSOR, "pass"): Pass,
            (Kind.EXPORTER, "sink"): Sink,
            (Kind.CONNECTOR, "link"): Pass,
            (Kind.EXTENSION, "side"): Part,
        }
        found = classes.get((kind, type_))
        if found is None:
            return catalog.factory(kind, type_)
        make = found

        def create(settings: Settings, config: NoConfig) -> Part:
            part = make(settings, self.events)
            part.fail_start = self._fail.get(f"{settings.kind}/{settings.id}")
            self.made.append(part)
            return part

        pairs = frozenset((source, target) for source in Signal for target in Signal)
        signals = frozenset((Signal.LOGS,)) if type_ == "log_tap" else frozenset(Signal)
        return Factory(kind, type_, NoConfig, create, signals, (), pairs if kind is Kind.CONNECTOR else frozenset())

    def part(self, name: str) -> Part:
        """A part by its name, "processor/pass/logs" or "receiver/tap"."""
        return next(part for part in self.made if part.name == name)

    def sink(self, id: str, signal: str) -> Sink:
        """An exporter."""
        found = self.part(f"exporter/{id}/{signal}")
        assert isinstance(found, Sink)
        return found

    def output(self, id: str, signal: str) -> Consumer:
        """What a receiver feeds."""
        return self.part(f"receiver/{id}").settings.outputs[Signal(signal)]

    async def push(self, id: str, batch: Batch) -> None:
        """Let the receiver `id` hand a batch in."""
        await self.output(id, str(batch.signal)).consume(batch)


def configuration(
    pipelines: Mapping[str, tuple[str, str, str]],
    *,
    connectors: str = "",
    extensions: str = "",
    configs: Mapping[str, object] | None = None,
) -> Loaded:
    """A Loaded without own metrics. pipelines: id -> (receivers, processors, exporters), each separated by spaces.
    configs: "exporter/otlp_grpc/x" -> configuration object of a real component."""
    joined = frozenset(_ids(connectors))
    node = Node({}, Origin("test"))
    components: dict[tuple[Kind, ComponentId], Configured] = {}

    def add(kind: Kind, ids: tuple[ComponentId, ...]) -> None:
        for id in ids:
            actual = Kind.CONNECTOR if id in joined and kind is not Kind.PROCESSOR else kind
            config = (configs or {}).get(f"{actual}/{id}", NoConfig())
            components[actual, id] = Configured(id, actual, id.type, config, node)

    lists: dict[PipelineId, PipelineConfig] = {}
    for name, (receivers, processors, exporters) in pipelines.items():
        pipeline = PipelineConfig(_ids(receivers), _ids(processors), _ids(exporters))
        lists[PipelineId.parse(name)] = pipeline
        add(Kind.RECEIVER, pipeline.receivers)
        add(Kind.PROCESSOR, pipeline.processors)
        add(Kind.EXPORTER, pipeline.exporters)
    add(Kind.EXTENSION, _ids(extensions))
    telemetry = TelemetryConfig(metrics=MetricsConfig(level=MetricsLevel("none"), readers=[]))
    return Loaded(components, lists, _ids(extensions), telemetry, (), node)


def _ids(text: str) -> tuple[ComponentId, ...]:
    return tuple(ComponentId.parse(word) for word in text.split())
