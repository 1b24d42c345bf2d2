"""`file`: writes OTLP to a file, one JSON object a line or length-prefixed protobuf."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.exporters.file.config import FileConfig
from heliograph.exporters.file.exporter import create

FACTORY = Factory(kind=Kind.EXPORTER, type="file", config=FileConfig, create=create)
