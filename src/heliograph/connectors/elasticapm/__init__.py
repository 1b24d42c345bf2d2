"""`elasticapm` connector: makes Elastic's APM metrics of spans, logs and metrics.

Follow a batch: connector.py -> intake.py (which window) -> spans.py (the walk over its bytes) -> cells.py (what is
counted while it comes in) -> aggregator.py (when a window is over) -> window.py and dimensions.py (the metrics, their
limits) -> encode.py -> outbox.py. Every rule, its source and its test: docs/elasticapm.md.

Source: connector/elasticapmconnector and processor/lsmintervalprocessor of
github.com/elastic/opentelemetry-collector-components.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind, Signal
from heliograph.connectors.elasticapm.config import ElasticApmConfig
from heliograph.connectors.elasticapm.connector import ElasticApmConnector

FACTORY = Factory(
    kind=Kind.CONNECTOR,
    type="elasticapm",
    config=ElasticApmConfig,
    create=ElasticApmConnector,
    signals=frozenset(),
    pairs=frozenset((signal, Signal.METRICS) for signal in Signal),
)
