"""`memory_limiter`: refuses data while the process uses too much memory, so that senders keep it."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.processors.memory_limiter.config import MemoryLimiterConfig
from heliograph.processors.memory_limiter.processor import MemoryLimiter

FACTORY = Factory(kind=Kind.PROCESSOR, type="memory_limiter", config=MemoryLimiterConfig, create=MemoryLimiter)
