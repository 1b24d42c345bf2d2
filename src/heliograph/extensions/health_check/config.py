"""Keys of health_check.

Source: contrib's extension/healthcheckextension 0.156 (its v1 form) with confighttp.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import Duration, key
from heliograph.net.address import AddressError, split
from heliograph.net.config import TLSServerConfig

_V2 = "the v2 form is not available here; the answer names each unhealthy component already: remove this key"
_PLAIN = "the answer is a small public page for probes: remove this key"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseBody:
    """Fixed bodies instead of the JSON."""

    healthy: str = key("", "Body of a 200.")
    unhealthy: str = key("", "Body of a 503.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPipeline:
    """Deprecated upstream, where it does nothing."""

    enabled: bool = key(False, "Must stay false: the status of every component always counts.")
    interval: Duration = key(Duration(300), "Without effect.")
    exporter_failure_threshold: int = key(5, "Without effect.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckConfig:
    """Answers probes over HTTP: 200 when this process is healthy, else 503 with what is wrong."""

    endpoint: str = key("localhost:13133", "Address to listen on, host:port.")
    path: str = key("/", "Path of the page.")
    tls: TLSServerConfig | None = key(None, "TLS; absent: plain text.")
    response_body: ResponseBody | None = key(None, "Fixed bodies instead of the JSON.")
    check_collector_pipeline: CheckPipeline = key(
        CheckPipeline, "Accepted when not enabled.", deprecated="check_collector_pipeline has no effect: remove it"
    )
    UNSUPPORTED = {
        "use_v2": _V2,
        "http": _V2,
        "grpc": _V2,
        "component_health": _V2,
        "transport": "it listens on TCP: remove this key",
        "dialer": "a server does not dial: remove this key",
        "cors": _PLAIN,
        "auth": _PLAIN,
        "max_request_body_size": "request bodies are never read: remove this key",
        "include_metadata": _PLAIN,
        "response_headers": _PLAIN,
        "compression_algorithms": "request bodies are never read: remove this key",
        "read_timeout": "a request has 10 s: remove this key",
        "read_header_timeout": "a request has 10 s: remove this key",
        "write_timeout": "a request has 10 s: remove this key",
        "idle_timeout": "connections are closed after the answer: remove this key",
        "keep_alives_enabled": "connections are closed after the answer: remove this key",
        "middlewares": "middleware extensions are not available: remove this key",
        "port": "write endpoint: localhost:13133",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        """The endpoint has a port, the path starts with a slash."""
        try:
            split(self.endpoint)
        except AddressError as error:
            yield "endpoint", str(error)
        if not self.path.startswith("/"):
            yield "path", "path must start with /"
        if self.check_collector_pipeline.enabled:
            yield (
                "check_collector_pipeline.enabled",
                "the status of every component always counts here: remove check_collector_pipeline",
            )
