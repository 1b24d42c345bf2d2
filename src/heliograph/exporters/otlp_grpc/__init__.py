"""The otlp_grpc exporter: traces, metrics and logs over OTLP/gRPC."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.exporters.otlp_grpc.config import OTLPGRPCConfig
from heliograph.exporters.otlp_grpc.sender import create

FACTORY = Factory(kind=Kind.EXPORTER, type="otlp_grpc", config=OTLPGRPCConfig, create=create, aliases=("otlp",))
