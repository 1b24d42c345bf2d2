"""From pipelines to a graph, without making anything: which instances there are, what feeds what, who starts when.

Instances: one receiver for each id, one processor for each mention in a pipeline, one exporter for each id and signal,
one connector for each id. Mistakes that only the graph shows are found here, with upstream's words: signals that a
component does not do, connectors with one end, cycles. Sources: upstream's service/internal/graph and its messages
as observed.

Cycles are looked for between (connector, signal in, signal out), as data flows; a connector that joins two
signals may well lie twice on one path.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from heliograph.component.errors import ConfigError
from heliograph.component.factory import Factory
from heliograph.component.ids import ComponentId, Kind, PipelineId, Signal

FactoryOf = Callable[[Kind, ComponentId], Factory]
_Hop = tuple[ComponentId, Signal, Signal]


class Lists(Protocol):
    """What a pipeline lists."""

    @property
    def receivers(self) -> tuple[ComponentId, ...]:
        """Receivers and connectors that feed it."""

    @property
    def processors(self) -> tuple[ComponentId, ...]:
        """Processors, in order."""

    @property
    def exporters(self) -> tuple[ComponentId, ...]:
        """Exporters and connectors it feeds."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One component to be made. signal: of an exporter or processor. pipeline: of a processor."""

    kind: Kind
    id: ComponentId
    signal: Signal | None = None
    pipeline: PipelineId | None = None


@dataclass(frozen=True, slots=True)
class Ends:
    """A connector's pipelines: those that export to it and those that receive from it."""

    sources: tuple[PipelineId, ...]
    targets: tuple[PipelineId, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The graph.

    receivers: the pipelines that each feeds. connectors: their ends. order: who starts after whom: exporters, then
    processors and connectors (each after everything it feeds), receivers last.
    """

    pipelines: Mapping[PipelineId, Lists]
    receivers: Mapping[ComponentId, tuple[PipelineId, ...]]
    connectors: Mapping[ComponentId, Ends]
    order: tuple[Instance, ...]


def plan(pipelines: Mapping[PipelineId, Lists], connectors: AbstractSet[ComponentId], factory: FactoryOf) -> Plan:
    """Make the graph. connectors: ids that the configuration defines as connectors. Raises ConfigError with every
    mistake found."""
    receivers: dict[ComponentId, list[PipelineId]] = {}
    sources: dict[ComponentId, list[PipelineId]] = {}
    targets: dict[ComponentId, list[PipelineId]] = {}
    for id, lists in pipelines.items():
        for name in dict.fromkeys(lists.receivers):
            (targets if name in connectors else receivers).setdefault(name, []).append(id)
        for name in dict.fromkeys(lists.exporters):
            if name in connectors:
                sources.setdefault(name, []).append(id)
    ends = {
        name: Ends(tuple(sources.get(name, ())), tuple(targets.get(name, ())))
        for name in dict.fromkeys((*sources, *targets))
    }
    problems = [
        *_signals(pipelines, connectors, factory),
        *(problem for name, end in ends.items() for problem in _one_ended(name, end, factory(Kind.CONNECTOR, name))),
    ]
    if not problems:
        problems.extend(_cycle(pipelines, ends, factory))
    if problems:
        raise ConfigError("\n".join(f"failed to build pipelines: {problem}" for problem in problems))
    return Plan(
        pipelines,
        {name: tuple(ids) for name, ids in receivers.items()},
        ends,
        tuple(_order(pipelines, receivers, ends)),
    )


def _signals(
    pipelines: Mapping[PipelineId, Lists], connectors: AbstractSet[ComponentId], factory: FactoryOf
) -> list[str]:
    problems: dict[str, None] = {}
    for id, lists in pipelines.items():
        for kind, names in (
            (Kind.RECEIVER, lists.receivers),
            (Kind.PROCESSOR, lists.processors),
            (Kind.EXPORTER, lists.exporters),
        ):
            for name in names:
                if name in connectors or id.signal in factory(kind, name).signals:
                    continue
                place = f', in pipeline "{id}"' if kind is Kind.PROCESSOR else f' for data type "{id.signal}"'
                problems[f'failed to create "{name}" {kind}{place}: telemetry type is not supported'] = None
    return list(problems)


def _one_ended(name: ComponentId, ends: Ends, factory: Factory) -> list[str]:
    """Complaints about pipelines that a connector cannot join to any other."""
    problems = []
    for source in ends.sources:
        if not any((source.signal, target.signal) in factory.pairs for target in ends.targets):
            problems.append(
                f'connector "{name}" used as exporter in [{source}] pipeline but not used in any supported '
                "receiver pipeline"
            )
    for target in ends.targets:
        if not any((source.signal, target.signal) in factory.pairs for source in ends.sources):
            problems.append(
                f'connector "{name}" used as receiver in [{target}] pipeline but not used in any supported '
                "exporter pipeline"
            )
    return problems


def _cycle(pipelines: Mapping[PipelineId, Lists], ends: Mapping[ComponentId, Ends], factory: FactoryOf) -> list[str]:
    """The first way on which data comes back to where it was."""

    def hops_from(pipeline: PipelineId) -> list[tuple[_Hop, PipelineId]]:
        return [
            ((name, pipeline.signal, target.signal), target)
            for name in pipelines[pipeline].exporters
            if name in ends
            for target in ends[name].targets
            if (pipeline.signal, target.signal) in factory(Kind.CONNECTOR, name).pairs
        ]

    done: set[PipelineId] = set()
    for start in pipelines:
        path: list[PipelineId] = [start]
        hops: list[_Hop] = []
        stack = [iter(hops_from(start))] if start not in done else []
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                done.add(path.pop())
                if hops:
                    hops.pop()
                continue
            hop, target = step
            if target in path:
                return [_told(pipelines, path[path.index(target) :], [*hops[path.index(target) :], hop])]
            if target not in done:
                path.append(target)
                hops.append(hop)
                stack.append(iter(hops_from(target)))
    return []


def _told(pipelines: Mapping[PipelineId, Lists], path: Sequence[PipelineId], hops: Sequence[_Hop]) -> str:
    """path: the pipelines of a cycle; hops: how each is left, the last one leads to the first pipeline."""
    words = [_hop_text(hops[-1])]
    for pipeline, hop in zip(path, hops, strict=True):
        words.extend(f'processor "{name}" in pipeline "{pipeline}"' for name in pipelines[pipeline].processors)
        words.append(_hop_text(hop))
    return "cycle detected: " + " -> ".join(words)


def _hop_text(hop: _Hop) -> str:
    name, source, target = hop
    return f'connector "{name}" ({source} to {target})'


def _order(
    pipelines: Mapping[PipelineId, Lists], receivers: Mapping[ComponentId, object], ends: Mapping[ComponentId, Ends]
) -> list[Instance]:
    order: dict[Instance, None] = {}
    for id, lists in pipelines.items():
        for name in lists.exporters:
            if name not in ends:
                order[Instance(Kind.EXPORTER, name, id.signal)] = None
    seen: set[PipelineId | ComponentId] = set()

    def add_pipeline(id: PipelineId) -> None:
        if id in seen:
            return
        seen.add(id)
        for name in pipelines[id].exporters:
            if name in ends and name not in seen:
                seen.add(name)
                for target in ends[name].targets:
                    add_pipeline(target)
                order[Instance(Kind.CONNECTOR, name)] = None
        for name in reversed(pipelines[id].processors):
            order[Instance(Kind.PROCESSOR, name, id.signal, id)] = None

    for id in pipelines:
        add_pipeline(id)
    for name in receivers:
        order[Instance(Kind.RECEIVER, name)] = None
    return list(order)
