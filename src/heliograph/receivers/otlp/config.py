"""Keys of the otlp receiver, with upstream's names and defaults (receiver/otlpreceiver of the Collector 0.156).

`protocols: {grpc: , http: }` switches both on with their defaults: here, unlike elsewhere, an empty value means "yes".
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from heliograph.component.config import Decoder, Duration, Node, key
from heliograph.component.ids import Signal
from heliograph.net.config import GRPCServerConfig, HTTPServerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPCProtocol(GRPCServerConfig):
    """OTLP over gRPC."""

    OPTIONAL: ClassVar[bool] = True

    endpoint: str = key("localhost:4317", "Address to listen on, host:port; 0.0.0.0:4317 for every interface.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPProtocol(HTTPServerConfig):
    """OTLP over HTTP."""

    OPTIONAL: ClassVar[bool] = True

    endpoint: str = key("localhost:4318", "Address to listen on, host:port; 0.0.0.0:4318 for every interface.")
    write_timeout: Duration = key(Duration(0), "Longest time from the headers to the end of the response; 0: none.")
    read_header_timeout: Duration = key(Duration(0), "Longest time for the request's headers; 0: 60 s.")
    idle_timeout: Duration = key(Duration(0), "Close a connection unused for this time; 0: read_timeout, else 1 h.")
    traces_url_path: str = key("/v1/traces", "Path for traces.")
    metrics_url_path: str = key("/v1/metrics", "Path for metrics.")
    logs_url_path: str = key("/v1/logs", "Path for logs.")

    def check(self) -> Iterator[tuple[str, str]]:
        """No two signals share a path."""
        yield from HTTPServerConfig.check(self)
        paths = list(self.paths.values())
        if len(set(paths)) < len(paths):
            yield "traces_url_path", "each signal needs a path of its own"

    @property
    def paths(self) -> dict[Signal, str]:
        """The path of each signal, with a slash in front."""
        return {signal: "/" + getattr(self, f"{signal}_url_path").lstrip("/") for signal in Signal}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolKeys:
    """Which protocols are on."""

    grpc: GRPCProtocol | None = key(None, "OTLP over gRPC; `grpc:` alone is enough.")
    http: HTTPProtocol | None = key(None, "OTLP over HTTP; `http:` alone is enough.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocols(ProtocolKeys):
    """Which protocols are on; an empty value means the defaults."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Protocols | None":
        """Read `grpc:` without a value as `grpc: {}`."""
        if isinstance(node.value, dict):
            filled = {
                name: replace(child, value={}) if child.value is None else child for name, child in node.value.items()
            }
            node = replace(node, value=filled)
        elif node.value is None:
            return cls()
        keys = decoder.decode(ProtocolKeys, node)
        return None if keys is None else cls(grpc=keys.grpc, http=keys.http)


@dataclass(frozen=True, slots=True, kw_only=True)
class OTLPReceiverConfig:
    """Receives traces, metrics and logs over OTLP."""

    protocols: Protocols = key(Protocols, "Which protocols are on: grpc, http or both.")

    def check(self) -> Iterator[tuple[str, str]]:
        """At least one protocol."""
        if self.protocols.grpc is None and self.protocols.http is None:
            yield "protocols", "must specify at least one protocol: write `grpc:` or `http:` below it, or both"
