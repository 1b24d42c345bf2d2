"""Settings for one component under test, with metrics and a ledger of their own."""

import logging
from collections.abc import Mapping

from heliograph.component.factory import Settings
from heliograph.component.ids import ComponentId, Kind, PipelineId, Signal
from heliograph.component.lifecycle import Consumer
from heliograph.telemetry.component import ComponentTelemetry
from heliograph.telemetry.ledger import Ledger
from heliograph.telemetry.metrics import Metrics


def settings(
    kind: Kind | str,
    id: ComponentId | str,
    signal: Signal | str | None = None,
    outputs: Mapping[Signal, Consumer] | Mapping[str, Consumer] | None = None,
    *,
    pipelines: Mapping[str, Consumer] | None = None,
    metrics: Metrics | None = None,
    ledger: Ledger | None = None,
) -> Settings:
    """What a constructor gets: settings("exporter", "otlp_grpc/x", "logs"). Look at `.telemetry.ledger` and
    `.telemetry.metrics` afterwards; pass the same ones to several components to see them together."""
    kind = Kind(kind)
    id = id if isinstance(id, ComponentId) else ComponentId.parse(id)
    telemetry = ComponentTelemetry(
        kind,
        id,
        metrics=metrics or Metrics(),
        ledger=ledger or Ledger(),
        logger=logging.getLogger(f"heliograph.{kind}.{id.type}"),
    )
    return Settings(
        id=id,
        kind=kind,
        telemetry=telemetry,
        signal=None if signal is None else Signal(signal),
        outputs={Signal(name): consumer for name, consumer in (outputs or {}).items()},
        pipelines={PipelineId.parse(name): consumer for name, consumer in (pipelines or {}).items()},
    )
