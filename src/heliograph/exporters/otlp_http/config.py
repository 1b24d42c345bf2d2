"""Keys of the otlp_http exporter, with upstream's names and defaults.

Source: exporter/otlphttpexporter of the Collector 0.156.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heliograph.component.config import Duration, key
from heliograph.component.ids import Signal
from heliograph.delivery.config import QueueConfig, RetryConfig
from heliograph.net.address import is_url
from heliograph.net.config import Compression, HTTPClientConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class OTLPHTTPConfig(HTTPClientConfig):
    """Sends traces, metrics and logs over OTLP/HTTP."""

    endpoint: str = key("", "URL of the server, for example https://gateway:4318; /v1/<signal> is appended.")
    traces_endpoint: str = key("", "Whole URL for traces, instead of endpoint.")
    metrics_endpoint: str = key("", "Whole URL for metrics, instead of endpoint.")
    logs_endpoint: str = key("", "Whole URL for logs, instead of endpoint.")
    encoding: Literal["proto", "json"] = key("proto", "Form of the data: proto or json.")
    timeout: Duration = key(Duration(30), "Longest time of one attempt; 0: none.")
    compression: Compression = key("gzip", "How bodies are compressed; none: not.")
    sending_queue: QueueConfig = key(QueueConfig, "What waits between the pipeline and the sending.")
    retry_on_failure: RetryConfig = key(RetryConfig, "When to try again what may work later.")
    UNSUPPORTED = {
        **HTTPClientConfig.UNSUPPORTED,
        "profiles_endpoint": "profiles are not available: remove this key",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        """There is an endpoint, and each is a URL."""
        yield from HTTPClientConfig.check(self)
        names = ("endpoint", "traces_endpoint", "metrics_endpoint", "logs_endpoint")
        given = {name: getattr(self, name) for name in names if getattr(self, name)}
        if not given:
            yield "endpoint", "at least one endpoint must be specified, for example https://gateway:4318"
        for name, url in given.items():
            if not is_url(url):
                yield name, f"{url!r} must be a valid URL with its scheme, for example https://gateway:4318"

    def url(self, signal: Signal) -> str:
        """Where a signal goes; "" when neither its own endpoint nor the common one is given."""
        own: str = getattr(self, f"{signal}_endpoint")
        if own or not self.endpoint:
            return own
        return f"{self.endpoint.removesuffix('/')}/v1/{signal}"
