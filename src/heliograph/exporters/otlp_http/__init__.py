"""The otlp_http exporter: traces, metrics and logs over OTLP/HTTP, as protobuf or JSON."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.exporters.otlp_http.config import OTLPHTTPConfig
from heliograph.exporters.otlp_http.sender import create

FACTORY = Factory(kind=Kind.EXPORTER, type="otlp_http", config=OTLPHTTPConfig, create=create, aliases=("otlphttp",))
