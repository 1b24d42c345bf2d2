"""Sends batches over OTLP/gRPC.

Which statuses are tried again is upstream's rule (exporter/otlpexporter): CANCELLED, DEADLINE_EXCEEDED, ABORTED,
OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS, and RESOURCE_EXHAUSTED when it comes with RetryInfo, whose delay is kept. A
message that is larger than the server takes is cut (delivery/halving.py). Everything else is permanent.
"""

import asyncio
import re
from collections.abc import Sequence

from heliograph.component.auth import ClientAuth, secret, with_credentials
from heliograph.component.batch import Batch, Context
from heliograph.component.errors import Denied, MalformedPayload, Permanent, Retryable, StartError
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host
from heliograph.delivery.delivery import Delivery
from heliograph.delivery.halving import Halving, TooLargeForServer
from heliograph.delivery.sender import SENT, SendResult
from heliograph.exporters.otlp_grpc.config import OTLPGRPCConfig
from heliograph.net.address import split
from heliograph.net.grpc.client import ClientKeepalive, GrpcChannel, resolve
from heliograph.net.grpc.round_robin import Resolve, RoundRobinChannel
from heliograph.net.grpc.status import (
    ABORTED,
    CANCELLED,
    DATA_LOSS,
    DEADLINE_EXCEEDED,
    OUT_OF_RANGE,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    GrpcError,
    status_name,
)
from heliograph.net.http.client import USER_AGENT
from heliograph.net.tls import keep_fresh, secure_client_context
from heliograph.otlp.request import request
from heliograph.otlp.response import partial_success

_PING_SECONDS = 10.0
_RETRYABLE = frozenset({CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS})
_DENIED = frozenset({PERMISSION_DENIED, UNAUTHENTICATED})
_PATHS = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_TOO_LARGE = re.compile(r"received message\b.*larger than|message exceeds maximum size", re.IGNORECASE)
_NO_LIMIT = 86_400.0
_READY_POLL = 0.25


def create(settings: Settings, config: OTLPGRPCConfig) -> Delivery:
    """An exporter for one signal."""
    return Delivery(
        settings,
        OTLPGRPCSender(settings, config),
        queue=config.sending_queue,
        retry=config.retry_on_failure,
        timeout=config.timeout,
        endpoint=config.endpoint,
    )


class OTLPGRPCSender:
    """The Sender of one signal."""

    def __init__(self, settings: Settings, config: OTLPGRPCConfig) -> None:
        assert settings.signal is not None
        self._config = config
        self._signal = settings.signal
        self._path = _PATHS[settings.signal]
        self._name = f"exporter {settings.id}"
        self._log = settings.telemetry.log
        self._endpoint = config.endpoint
        self._compression = config.compression
        self._timeout = float(config.timeout) or _NO_LIMIT
        self._metadata = [(name.lower(), f"{value:s}") for name, value in config.headers.items()]
        self._halving = Halving(self._send, self._log)
        self._auth: ClientAuth | None = None
        self._channel: GrpcChannel | RoundRobinChannel | None = None

    async def open(self, host: Host) -> None:
        """Find the authenticator, load certificates; the connection is made by the first call. Raises StartError."""
        config = self._config
        if config.auth is not None:
            self._auth = host.extension(config.auth.authenticator, ClientAuth)  # type: ignore[type-abstract]
            if not config.secure and secret(self._auth):
                raise StartError(
                    f"{self._name}: auth sends credentials, and tls::insecure sends them in plain text: use TLS"
                )
        context = None
        if config.secure:
            try:
                context = secure_client_context(config.tls, ("h2",))
            except StartError as error:
                raise StartError(f"{self._name}: {error}") from None
            if config.tls.reload_interval > 0:
                host.spawn(keep_fresh(context, config.tls, host.clock, self._log), f"{self._name} certificate")
        server, port = split(config.target)
        server = server or "localhost"
        override = config.tls.server_name_override

        def channel(find: Resolve) -> GrpcChannel:
            return GrpcChannel(
                server,
                port,
                ssl=context,
                authority=config.authority or override or config.target,
                server_name=override or server,
                user_agent=config.user_agent or USER_AGENT,
                keepalive=self._keepalive(),
                resolve=find,
            )

        pick_first = config.balancer_name != "round_robin"
        self._channel = channel(resolve) if pick_first else RoundRobinChannel(server, port, channel)

    async def send(self, batch: Batch) -> SendResult:
        """Send one batch."""
        return await self._halving.send(batch)

    def forget(self, batch: Batch) -> SendResult:
        """What became of a batch that is given up."""
        return self._halving.forget(batch)

    async def close(self) -> None:
        """Close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _send(self, parts: Sequence[bytes], items: int, context: Context) -> SendResult:
        metadata = self._metadata
        if self._auth is not None:
            metadata = list((await with_credentials(self._auth, dict(metadata), context)).items())
        try:
            answer = await self._call(request(parts), metadata)
        except GrpcError as error:
            raise self._translated(error) from error
        return self._accepted(answer, items)

    async def _call(self, message: bytes, metadata: Sequence[tuple[str, str]]) -> bytes:
        """One call; with wait_for_ready it outlives failed connects until the time limit cancels it."""
        channel = self._channel
        if channel is None:
            raise GrpcError(UNAVAILABLE, "the exporter is not started")
        while True:
            try:
                return await channel.unary(
                    self._path, message, metadata=metadata, timeout=self._timeout, compression=self._compression
                )
            except GrpcError as error:
                if not self._config.wait_for_ready or error.status != UNAVAILABLE or channel.connected:
                    raise
            await asyncio.sleep(_READY_POLL)

    def _translated(self, error: GrpcError) -> Exception:
        message = f"{self._endpoint}: {status_name(error.status)}: {error.message}"
        if error.status in _RETRYABLE or (error.status == RESOURCE_EXHAUSTED and error.retry_after is not None):
            return Retryable(message, error.retry_after)
        if error.status in _DENIED:
            return Denied(message, "headers, auth and tls of this exporter, and the rights of its key")
        if error.status == RESOURCE_EXHAUSTED and _TOO_LARGE.search(error.message):
            return TooLargeForServer(message)
        return Permanent(message, code=error.status)

    def _accepted(self, answer: bytes, items: int) -> SendResult:
        try:
            rejected, message = partial_success(answer)
        except MalformedPayload as error:
            self._log.warning(
                "%s took %d %s; its answer is unreadable: %s", self._endpoint, items, self._signal.items, error
            )
            return SENT
        if rejected or message:
            self._log.warning(
                "%s took a part: it rejected %d of %d %s: %s",
                self._endpoint, rejected, items, self._signal.items, message,
            )  # fmt: skip
        return SendResult(rejected={"rejected": min(rejected, items)}) if rejected else SENT

    def _keepalive(self) -> ClientKeepalive:
        config = self._config.keepalive
        if config is None:
            return ClientKeepalive()
        return ClientKeepalive(
            time=config.time or _PING_SECONDS,
            timeout=config.timeout or ClientKeepalive().timeout,
            permit_without_stream=config.permit_without_stream,
        )
