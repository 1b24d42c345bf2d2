"""`resource`: actions on the attributes of resources."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.processors.resource.config import ResourceConfig
from heliograph.processors.resource.processor import ResourceProcessor

FACTORY = Factory(kind=Kind.PROCESSOR, type="resource", config=ResourceConfig, create=ResourceProcessor)
