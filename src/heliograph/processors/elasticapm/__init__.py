"""`elasticapm` processor: adds to OpenTelemetry data what Elastic's Observability screens ask for.

Follow a span: processor.py (one per pipeline) -> part.py (resource, scopes, records) -> span.py (the walk over its
bytes) -> facts.py (what its attributes say) -> plan.py (what is added, remembered for spans alike) -> span_event.py.
Logs take log.py. Every rule, its source and its test: docs/elasticapm.md.

Source: processor/elasticapmprocessor of github.com/elastic/opentelemetry-collector-components, mapping mode otel.
"""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.processors.elasticapm.config import ElasticApmConfig
from heliograph.processors.elasticapm.processor import ElasticApmProcessor

FACTORY = Factory(kind=Kind.PROCESSOR, type="elasticapm", config=ElasticApmConfig, create=ElasticApmProcessor)
