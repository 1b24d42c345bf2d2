"""How a component is declared and made: one `Factory` each, one constructor for all signals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from heliograph.component.ids import ComponentId, Kind, PipelineId, Signal
from heliograph.component.lifecycle import Component, Consumer
from heliograph.telemetry.component import ComponentTelemetry

ConfigClass = type[Any]
ALL_SIGNALS = frozenset(Signal)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a constructor gets beside its configuration.

    How many instances there are:
      receiver    one per id; `outputs` has every signal of the pipelines that list it
      processor   one per pipeline; `signal` is the pipeline's, `outputs[signal]` the next consumer
      exporter    one per id and signal
      connector   one per id; it consumes every signal of the pipelines that list it as an exporter, `outputs`
                  fans out to all pipelines of a signal that list it as a receiver, `pipelines` has them one by one
      extension   one per id, no signal
    """

    id: ComponentId
    kind: Kind
    telemetry: ComponentTelemetry
    signal: Signal | None = None
    outputs: Mapping[Signal, Consumer] = field(default_factory=dict)
    pipelines: Mapping[PipelineId, Consumer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Factory:
    """The declaration of one component type.

    type: canonical upstream type. aliases: deprecated types that mean the same.
    config: the dataclass of its configuration (see component/config.py).
    signals: what it works on; for a connector `pairs` of (in, out) instead; empty for extensions.
    create: (Settings, config) -> Component; receivers that produce and consumers that take batches keep the
    contracts of component/lifecycle.py. It opens nothing: that is what start is for.
    """

    kind: Kind
    type: str
    config: ConfigClass
    create: Callable[[Settings, Any], Component]
    signals: frozenset[Signal] = ALL_SIGNALS
    aliases: tuple[str, ...] = ()
    pairs: frozenset[tuple[Signal, Signal]] = frozenset()
