"""A configuration that was loaded: typed, checked, ready to be planned and built."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from heliograph.component.config import Node
from heliograph.component.ids import ComponentId, Kind, PipelineId
from heliograph.config.telemetry import TelemetryConfig


@dataclass(frozen=True, slots=True)
class Configured:
    """One component of the configuration.

    type: its canonical type (the id may spell an alias). config: an instance of its Factory's config class.
    node: what was written.
    """

    id: ComponentId
    kind: Kind
    type: str
    config: object
    node: Node


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """What one pipeline lists, in its order. node: what was written."""

    receivers: tuple[ComponentId, ...]
    processors: tuple[ComponentId, ...]
    exporters: tuple[ComponentId, ...]
    node: Node | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A whole configuration without a mistake in it.

    components: everything that is defined, also what no pipeline uses. extensions: those of `service::extensions`, in
    order. warnings: one line each, to be logged at start. root: the merged and expanded tree. secrets: paths in it
    that must not be shown.
    """

    components: Mapping[tuple[Kind, ComponentId], Configured]
    pipelines: Mapping[PipelineId, PipelineConfig]
    extensions: tuple[ComponentId, ...]
    telemetry: TelemetryConfig
    warnings: tuple[str, ...]
    root: Node
    secrets: frozenset[tuple[str, ...]] = field(default_factory=frozenset)
