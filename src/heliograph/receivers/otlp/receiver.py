"""The component: starts and stops the servers of the protocols that are on."""

import asyncio
import ssl

from heliograph.component.auth import ServerAuth
from heliograph.component.errors import StartError
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Host
from heliograph.net.address import listening_error, resolve, split
from heliograph.net.config import AuthConfig, KeepaliveServer, TLSServerConfig
from heliograph.net.grpc.server import GrpcServer, ServerKeepalive
from heliograph.net.http.server import HttpServer
from heliograph.net.tls import keep_fresh, server_context
from heliograph.receivers.otlp.config import GRPCProtocol, HTTPProtocol, OTLPReceiverConfig
from heliograph.receivers.otlp.grpc import handlers
from heliograph.receivers.otlp.http import WORDING, SignalRoute
from heliograph.receivers.otlp.intake import Intake


class OTLPReceiver:
    """Listens for OTLP. ports: "grpc" and "http" -> the port in use, once started."""

    def __init__(self, settings: Settings, config: OTLPReceiverConfig) -> None:
        self._settings = settings
        self._name = f"receiver {settings.id}"
        self._grpc_config = config.protocols.grpc
        self._http_config = config.protocols.http
        self._grpc: GrpcServer | None = None
        self._http: HttpServer | None = None
        self._host: Host | None = None
        self.ports: dict[str, int] = {}

    async def start(self, host: Host) -> None:
        """Listen on every protocol that is on. Raises StartError; then nothing listens."""
        self._host = host
        try:
            if self._grpc_config is not None:
                await self._start_grpc(host, self._grpc_config)
            if self._http_config is not None:
                await self._start_http(host, self._http_config)
        except StartError:
            await self._close(0.0)
            raise

    async def shutdown(self, deadline: float) -> None:
        """Stop listening; requests that run may end until `deadline`."""
        if self._host is not None:
            await self._close(deadline - self._host.clock.monotonic())

    async def _close(self, grace: float) -> None:
        servers = [server for server in (self._grpc, self._http) if server is not None]
        self._grpc = self._http = None
        await asyncio.gather(*(server.close(max(0.0, grace)) for server in servers))

    async def _start_grpc(self, host: Host, config: GRPCProtocol) -> None:
        intake = Intake(self._settings, "grpc", config.include_metadata)
        authenticator = self._authenticator(host, config.auth)
        server = GrpcServer(
            handlers(intake),
            max_message_bytes=config.max_message,
            max_concurrent_streams=config.max_concurrent_streams or None,
            keepalive=_keepalive(config.keepalive),
            authenticate=None if authenticator is None else authenticator.authenticate,
        )
        context = self._context(host, "grpc", config.tls, ("h2",))
        address, port = split(config.endpoint)
        try:
            self.ports["grpc"] = await server.listen(await resolve(address), port, context)
        except OSError as error:
            raise listening_error(self._name, config.endpoint, "protocols::grpc::endpoint", error) from error
        self._grpc = server
        self._settings.telemetry.log.info("listening for OTLP over gRPC on %s", config.endpoint)

    async def _start_http(self, host: Host, config: HTTPProtocol) -> None:
        intake = Intake(self._settings, "http", config.include_metadata)
        paths = {path: signal for signal, path in config.paths.items() if signal in self._settings.outputs}

        def malformed(path: str) -> None:
            signal: Signal | None = paths.get(path)
            intake.malformed(signal)

        server = HttpServer(
            config,
            {path: SignalRoute(signal, intake) for path, signal in paths.items()},
            log=self._settings.telemetry.log,
            authenticator=self._authenticator(host, config.auth),
            wording=WORDING,
            on_malformed=malformed,
        )
        context = self._context(host, "http", config.tls, ("http/1.1",))
        address, port = split(config.endpoint)
        try:
            self.ports["http"] = await server.listen(address, port, context)
        except OSError as error:
            raise listening_error(self._name, config.endpoint, "protocols::http::endpoint", error) from error
        self._http = server
        self._settings.telemetry.log.info("listening for OTLP over HTTP on %s", config.endpoint)

    def _authenticator(self, host: Host, config: AuthConfig | None) -> ServerAuth | None:
        if config is None:
            return None
        return host.extension(config.authenticator, ServerAuth)  # type: ignore[type-abstract]

    def _context(
        self, host: Host, protocol: str, config: TLSServerConfig | None, alpn: tuple[str, ...]
    ) -> ssl.SSLContext | None:
        if config is None:
            return None
        try:
            context = server_context(config, alpn)
        except StartError as error:
            raise StartError(f"{self._name}: protocols::{protocol}::{error}") from None
        if config.reload_interval > 0:
            host.spawn(
                keep_fresh(context, config, host.clock, self._settings.telemetry.log), f"{self._name} certificate"
            )
        return context


def _keepalive(config: KeepaliveServer) -> ServerKeepalive:
    """The server's settings, where 0 means gRPC's own default."""
    own, policy, default = config.server_parameters, config.enforcement_policy, ServerKeepalive()
    return ServerKeepalive(
        max_connection_idle=own.max_connection_idle or default.max_connection_idle,
        max_connection_age=own.max_connection_age or default.max_connection_age,
        max_connection_age_grace=own.max_connection_age_grace or default.max_connection_age_grace,
        time=own.time or default.time,
        timeout=own.timeout or default.timeout,
        min_time=policy.min_time or default.min_time,
        permit_without_stream=policy.permit_without_stream,
    )
