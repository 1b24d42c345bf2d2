"""The `service` section and what it refers to.

Checked here: that everything a pipeline or `extensions` names is defined, that extensions which are used run, that
pipelines have both ends, that no processor is there twice, that each component works on the signal, that connectors
join two pipelines. What depends on the order of the graph (cycles) is the planner's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heliograph import catalog
from heliograph.component.config import Decoder, Node, key
from heliograph.component.ids import ComponentId, Kind, PipelineId, Signal
from heliograph.config.decode import Decoding, is_class, keys
from heliograph.config.model import Configured, PipelineConfig
from heliograph.config.problem import nearest
from heliograph.config.telemetry import TelemetryConfig

Defined = Mapping[Kind, Mapping[ComponentId, str | None]]
"""Ids that are defined, by kind, with their canonical type; None where the definition has a mistake in it."""


class Pipelines(dict[PipelineId, PipelineConfig]):
    """The pipelines. A null one is not there: that is how a later file removes it."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Pipelines | None":
        """Read each pipeline; with mistakes in some, the others are still read."""
        pipelines = cls()
        if node.value is None:
            return pipelines
        if not isinstance(node.value, dict):
            decoder.problem(node, "expected a map of pipelines", "write logs: {receivers: [...], exporters: [...]}")
            return None
        for name, child in node.value.items():
            id_ = _pipeline_id(name, child, decoder)
            if id_ is None or (child.value is None and child.text is None):
                continue
            lists = decoder.decode(_Lists, child)
            if lists is not None:
                receivers, processors, exporters = map(tuple, (lists.receivers, lists.processors, lists.exporters))
                pipelines[id_] = PipelineConfig(receivers, processors, exporters, child)
        return pipelines


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lists:
    """What one pipeline lists."""

    receivers: list[ComponentId] = key(list, "Where data comes from: receivers and connectors.")
    processors: list[ComponentId] = key(list, "What is done to it, in this order.")
    exporters: list[ComponentId] = key(list, "Where it goes: exporters and connectors.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """Which of the defined components run, and how they are connected."""

    extensions: list[ComponentId] = key(list, "Extensions that run, in this order.")
    pipelines: Pipelines = key(Pipelines, "Pipelines by signal or signal/name.")
    telemetry: TelemetryConfig = key(TelemetryConfig, "What this program says of itself.")


def _pipeline_id(name: str, node: Node, decoder: Decoder) -> PipelineId | None:
    try:
        return PipelineId.parse(name)
    except ValueError as error:
        signals = [str(signal) for signal in Signal]
        type_ = name.partition("/")[0]
        if type_ == "profiles":
            decoder.problem(node, "the signal profiles is not supported", "remove this pipeline")
            return None
        near = nearest(type_, signals) if type_ not in signals else ""
        decoder.problem(
            node, f'"{name}" is no id of a pipeline: {error}', near or f"write {', '.join(signals)}, or logs/name"
        )
        return None


class References:
    """Checks what the service refers to; mistakes go to the decoding."""

    def __init__(self, service: Node, defined: Defined, components: Sequence[Configured], decoding: Decoding) -> None:
        self._service = service
        self._components = components
        self._defined = defined
        self._decoding = decoding

    def check(self, config: ServiceConfig) -> None:
        """Check extensions, pipelines and connectors."""
        for place, id_ in self._listed(self._service, "extensions", config.extensions):
            self._known(place, id_, (Kind.EXTENSION,))
        self._used_extensions(config)
        for id_, node in self._ambiguous():
            where = f"{id_} is defined as an exporter or receiver and as a connector"
            self._decoding.problem(node, where, "give one of them another name")
        if not config.pipelines:
            if not any(p.path[:2] in (("service",), ("service", "pipelines")) for p in self._decoding.problems):
                place = _child(self._service, "pipelines")
                self._decoding.problem(
                    place,
                    "there must be at least one pipeline",
                    "for example logs: {receivers: [otlp], exporters: [debug]}",
                )
            return
        for pipeline_id, pipeline in config.pipelines.items():
            self._pipeline(pipeline_id, pipeline)
        self._connectors(config.pipelines)

    def _used_extensions(self, config: ServiceConfig) -> None:
        """What running components name under `storage` or `authenticator` must run too."""
        running = {(Kind.EXTENSION, id_) for id_ in config.extensions}
        for pipeline in config.pipelines.values():
            for kind, ids in zip(
                (Kind.RECEIVER, Kind.PROCESSOR, Kind.EXPORTER),
                (pipeline.receivers, pipeline.processors, pipeline.exporters),
                strict=True,
            ):
                running |= {(kind, id_) for id_ in ids} | {(Kind.CONNECTOR, id_) for id_ in ids}
        for item in self._components:
            if (item.kind, item.id) not in running:
                continue
            for place, id_ in _extensions_named(item.config, item.node):
                if id_ not in config.extensions:
                    near = nearest(str(id_), [str(known) for known in config.extensions])
                    problem = f'extension "{id_}" does not run'
                    self._decoding.problem(place, problem, near or f"define it and add {id_} to service::extensions")

    def _listed(self, node: Node | None, name: str, ids: Iterable[ComponentId]) -> Iterable[tuple[Node, ComponentId]]:
        place = _child(node, name) if node is not None else Node(None, self._service.origin)
        nodes = place.value if isinstance(place.value, list) else []
        for index, id_ in enumerate(ids):
            yield (nodes[index] if index < len(nodes) else place), id_

    def _ambiguous(self) -> Iterable[tuple[ComponentId, Node]]:
        for id_ in self._defined[Kind.CONNECTOR]:
            if id_ in self._defined[Kind.EXPORTER] or id_ in self._defined[Kind.RECEIVER]:
                yield id_, Node(None, self._service.origin, ("connectors", str(id_)))

    def _pipeline(self, id_: PipelineId, pipeline: PipelineConfig) -> None:
        node = pipeline.node or self._service
        for name, ids, kinds in (
            ("receivers", pipeline.receivers, (Kind.RECEIVER, Kind.CONNECTOR)),
            ("processors", pipeline.processors, (Kind.PROCESSOR,)),
            ("exporters", pipeline.exporters, (Kind.EXPORTER, Kind.CONNECTOR)),
        ):
            if not ids and name != "processors":
                fix = "list one, or set the pipeline to null to remove it"
                self._decoding.problem(_child(node, name), f"there must be at least one {name[:-1]}", fix)
            seen: set[ComponentId] = set()
            for place, component in self._listed(node, name, ids):
                if name == "processors" and component in seen:
                    fix = f"list it once, or define another one such as {component.type}/2"
                    self._decoding.problem(place, f'processor "{component}" is there twice', fix)
                seen.add(component)
                self._known(place, component, kinds)
                self._signal(place, component, kinds[0], id_.signal)

    def _known(self, place: Node, id_: ComponentId, kinds: tuple[Kind, ...]) -> None:
        defined = [str(known) for kind in kinds for known in self._defined[kind]]
        if str(id_) in defined:
            return
        near = nearest(str(id_), defined)
        elsewhere = [kind for kind in Kind if kind not in kinds and id_ in self._defined[kind]]
        what = f'{kinds[0]} "{id_}" is not defined'
        if near:
            fix = near
        elif elsewhere:
            fix = f"{id_} is defined as {'an' if elsewhere[0][0] in 'e' else 'a'} {elsewhere[0]}"
        else:
            listed = f"; defined: {', '.join(sorted(defined))}" if defined else ""
            fix = f"add it under {kinds[0].section}:{listed}"
        self._decoding.problem(place, what, fix)

    def _signal(self, place: Node, id_: ComponentId, kind: Kind, signal: Signal) -> None:
        type_ = self._defined[kind].get(id_)
        if type_ is None:
            return
        signals = catalog.factory(kind, type_).signals
        if signal not in signals:
            works = ", ".join(sorted(signals))
            self._decoding.problem(place, f'{kind} "{id_}" does not support {signal}', f"it supports {works}")

    def _connectors(self, pipelines: Pipelines) -> None:
        sources: dict[ComponentId, list[tuple[PipelineId, Node]]] = {}
        sinks: dict[ComponentId, list[tuple[PipelineId, Node]]] = {}
        for id_, pipeline in pipelines.items():
            for into, name, ids in (
                (sinks, "receivers", pipeline.receivers),
                (sources, "exporters", pipeline.exporters),
            ):
                for place, component in self._listed(pipeline.node, name, ids):
                    if component in self._defined[Kind.CONNECTOR]:
                        into.setdefault(component, []).append((id_, place))
        for component in dict.fromkeys((*sources, *sinks)):
            self._connector(component, sources.get(component, []), sinks.get(component, []))

    def _connector(
        self, id_: ComponentId, sources: list[tuple[PipelineId, Node]], sinks: list[tuple[PipelineId, Node]]
    ) -> None:
        type_ = self._defined[Kind.CONNECTOR][id_]
        if type_ is None:
            return
        pairs = catalog.factory(Kind.CONNECTOR, type_).pairs
        known = ", ".join(sorted(f"{a} to {b}" for a, b in pairs))
        ends = ((sources, sinks, "exporter", "receiver"), (sinks, sources, "receiver", "exporter"))
        for here, there, end, other in ends:
            for pipeline, place in here:
                if not there:
                    problem = f'connector "{id_}" is used as {end} here and as {other} nowhere'
                    fix = f"list it as {other} in another pipeline, or remove it"
                elif not any(
                    ((pipeline.signal, far.signal) if end == "exporter" else (far.signal, pipeline.signal)) in pairs
                    for far, _ in there
                ):
                    far_signals = ", ".join(sorted({far.signal for far, _ in there}))
                    problem = f'connector "{id_}" cannot join {pipeline.signal} here with {far_signals} there'
                    fix = f"it joins {known}"
                else:
                    continue
                self._decoding.problem(place, problem, fix)


def _child(node: Node, name: str) -> Node:
    """The node under a key, or where it should be."""
    child = node.value.get(name) if isinstance(node.value, dict) else None
    return child if child is not None else Node(None, node.origin, (*node.path, name))


def _extensions_named(value: Any, node: Node) -> Iterator[tuple[Node, ComponentId]]:
    """Ids of extensions in a typed configuration, with their places."""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            places = node.value if isinstance(node.value, list) else []
            yield from _extensions_named(item, places[index] if index < len(places) else node)
        return
    cls: type = type(value)
    if not is_class(cls):
        return
    for name, entry in keys(cls).items():
        inner = getattr(value, entry.field.name)
        if isinstance(inner, ComponentId):
            if name in ("storage", "authenticator"):
                yield _child(node, name), inner
        else:
            yield from _extensions_named(inner, _child(node, name))
