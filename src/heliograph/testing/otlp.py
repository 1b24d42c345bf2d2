"""An otlp receiver with a sink for each signal behind it, for tests of whatever sends OTLP."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from heliograph import catalog
from heliograph.component.ids import Kind, Signal
from heliograph.config.decode import from_plain
from heliograph.telemetry.metrics import Metrics
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer

LOCAL = {"grpc": {"endpoint": "127.0.0.1:0"}, "http": {"endpoint": "127.0.0.1:0"}}


class OTLPServer:
    """Use as an async context manager. protocols: as in the configuration; without an endpoint a free port is taken.

    sinks: what stands behind, by signal. ports: "grpc" and "http" -> port. metrics: of the receiver.
    """

    def __init__(
        self,
        protocols: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        signals: Sequence[str] = ("traces", "metrics", "logs"),
        extensions: Mapping[Any, object] | None = None,
    ) -> None:
        wanted = protocols if protocols is not None else LOCAL
        factory = catalog.factory(Kind.RECEIVER, "otlp")
        config = from_plain(
            factory.config,
            {"protocols": {name: {"endpoint": "127.0.0.1:0", **keys} for name, keys in wanted.items()}},
        )
        self.sinks = {Signal(signal): SinkConsumer() for signal in signals}
        self.metrics = Metrics()
        self.host = TestHost(extensions=extensions)
        made = settings(Kind.RECEIVER, "otlp", outputs=self.sinks, metrics=self.metrics)
        self.receiver: Any = factory.create(made, config)

    @property
    def ports(self) -> Mapping[str, int]:
        """The port of each protocol."""
        ports: Mapping[str, int] = self.receiver.ports
        return ports

    def url(self, signal: str, scheme: str = "http") -> str:
        """Where HTTP takes a signal."""
        return f"{scheme}://127.0.0.1:{self.ports['http']}/v1/{signal}"

    def malformed(self, transport: str, signal: str) -> float:
        """How many malformed requests were counted."""
        labels = {"receiver": "otlp", "transport": transport, "signal": signal}
        return self.metrics.value("heliograph_receiver_malformed_requests", labels)

    async def __aenter__(self) -> Self:
        await self.receiver.start(self.host)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.receiver.shutdown(self.host.clock.monotonic() + 2)
        await self.host.close()
