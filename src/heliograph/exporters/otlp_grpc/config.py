"""Keys of the otlp_grpc exporter, with upstream's names and defaults (exporter/otlpexporter of the Collector 0.156)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heliograph.component.config import Duration, key
from heliograph.delivery.config import QueueConfig, RetryConfig
from heliograph.net.config import GRPCClientConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class OTLPGRPCConfig(GRPCClientConfig):
    """Sends traces, metrics and logs over OTLP/gRPC."""

    compression: Literal["", "none", "gzip", "zstd", "snappy"] = key("gzip", "Compression; none: not.")
    timeout: Duration = key(Duration(5), "Longest time of one attempt; 0: none.")
    sending_queue: QueueConfig = key(QueueConfig, "What waits between the pipeline and the sending.")
    retry_on_failure: RetryConfig = key(RetryConfig, "When to try again what may work later.")

    def check(self) -> Iterator[tuple[str, str]]:
        """There is an endpoint."""
        yield from GRPCClientConfig.check(self)
        if not self.target:
            yield "endpoint", "must not be empty: write host:port, for example gateway:4317"
        if self.timeout < 0:
            yield "timeout", "must not be negative"
