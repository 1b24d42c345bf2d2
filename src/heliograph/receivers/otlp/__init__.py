"""The otlp receiver: traces, metrics and logs over gRPC and HTTP, as protobuf or JSON."""

from heliograph.component.factory import Factory
from heliograph.component.ids import Kind
from heliograph.receivers.otlp.config import OTLPReceiverConfig
from heliograph.receivers.otlp.receiver import OTLPReceiver

FACTORY = Factory(kind=Kind.RECEIVER, type="otlp", config=OTLPReceiverConfig, create=OTLPReceiver)
