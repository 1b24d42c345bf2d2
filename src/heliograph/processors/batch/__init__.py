"""`batch`: joins small batches, by size or by time, without losing the acknowledgement."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.processors.batch.config import BatchProcessorConfig
from heliograph.processors.batch.processor import BatchProcessor

FACTORY = Factory(kind=Kind.PROCESSOR, type="batch", config=BatchProcessorConfig, create=BatchProcessor)
