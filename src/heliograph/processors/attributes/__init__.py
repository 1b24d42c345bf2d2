"""`attributes`: actions on the attributes of spans, log records and data points."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.processors.attributes.config import AttributesConfig
from heliograph.processors.attributes.processor import AttributesProcessor

FACTORY = Factory(kind=Kind.PROCESSOR, type="attributes", config=AttributesConfig, create=AttributesProcessor)
