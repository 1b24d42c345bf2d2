"""`debug`: shows what comes, in the log or on standard output."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.exporters.debug.config import DebugConfig
from heliograph.exporters.debug.exporter import create

FACTORY = Factory(kind=Kind.EXPORTER, type="debug", config=DebugConfig, create=create)
