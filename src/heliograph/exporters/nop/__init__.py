"""`nop`: takes everything and does nothing with it; for configurations that need an exporter, and for measuring."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.exporters.nop.exporter import NopConfig, create

FACTORY = Factory(kind=Kind.EXPORTER, type="nop", config=NopConfig, create=create)
