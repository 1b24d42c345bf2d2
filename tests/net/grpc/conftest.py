"""Servers, clients and certificates for the gRPC tests."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import uvloop

from heliograph.net.grpc.client import GrpcChannel
from heliograph.net.grpc.server import Call, GrpcError, GrpcServer, Handler
from heliograph.net.http2.connection import Connection
from heliograph.net.http2.events import Event
from heliograph.net.http2.limits import Limits

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def eventually(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until the condition is true; fail after so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def _echo(message: bytes, call: Call) -> bytes:
    return message


async def _fail(message: bytes, call: Call) -> bytes:
    raise GrpcError(8, "queue full: 100 % of 'größe'", 2.5)


async def _crash(message: bytes, call: Call) -> bytes:
    raise RuntimeError("a secret detail")


class Slow:
    """A handler that waits until it is told; it counts what became of its calls."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.running = 0
        self.cancelled = 0

    async def __call__(self, message: bytes, call: Call) -> bytes:
        self.running += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return message


class Served:
    """A server of ours that listens on `port`. slow: its handler of /t.T/Slow. calls: what /t.T/Look saw."""

    def __init__(self, **options: Any) -> None:
        self.slow = Slow()
        self.calls: list[Call] = []
        handlers: dict[str, Handler] = {
            "/t.T/Echo": _echo,
            "/t.T/Fail": _fail,
            "/t.T/Crash": _crash,
            "/t.T/Slow": self.slow,
            "/t.T/Look": self._look,
        }
        self.server = GrpcServer(handlers, **options)
        self.port = 0

    async def _look(self, message: bytes, call: Call) -> bytes:
        self.calls.append(call)
        return b""


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """A function that starts a server of ours with GrpcServer's options and `ssl`; all are closed after the test."""
    started: list[Served] = []

    async def start(ssl: ssl.SSLContext | None = None, **options: Any) -> Served:
        served = Served(**options)
        served.port = await served.server.listen("127.0.0.1", 0, ssl)
        started.append(served)
        return served

    yield start
    for served in started:
        served.slow.go.set()
        await served.server.close(0.0)


@pytest.fixture
async def channel() -> AsyncIterator[Callable[..., GrpcChannel]]:
    """A function that makes a channel of ours to a port of this machine; all are closed after the test."""
    made: list[GrpcChannel] = []

    def make(port: int, host: str = "127.0.0.1", **options: Any) -> GrpcChannel:
        made.append(GrpcChannel(host, port, **options))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
async def grpcio_channel() -> AsyncIterator[Callable[..., grpc.aio.Channel]]:
    """A function that makes a grpcio channel to a port of this machine; all are closed after the test."""
    made: list[grpc.aio.Channel] = []

    def make(port: int, credentials: grpc.ChannelCredentials | None = None, **options: Any) -> grpc.aio.Channel:
        settings = [*UNLIMITED, *((name.replace("__", "."), value) for name, value in options.items())]
        if credentials is None:
            made.append(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=settings))
        else:
            made.append(grpc.aio.secure_channel(f"localhost:{port}", credentials, options=settings))
        return made[-1]

    yield make
    for one in made:
        await one.close()


@pytest.fixture
async def grpcio_server() -> AsyncIterator[Callable[..., Awaitable[int]]]:
    """A function that starts a grpcio server with handlers (method name -> async function) of service t.T."""
    started: list[grpc.aio.Server] = []

    async def start(
        handlers: Mapping[str, Any],
        port: int = 0,
        credentials: grpc.ServerCredentials | None = None,
        **options: Any,
    ) -> int:
        settings = [*UNLIMITED, *((name.replace("__", "."), value) for name, value in options.items())]
        server = grpc.aio.server(options=settings)
        methods = {name: grpc.unary_unary_rpc_method_handler(function) for name, function in handlers.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", methods),))
        address = f"127.0.0.1:{port}"
        bound = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        await server.start()
        started.append(server)
        return bound

    yield start
    for server in started:
        await server.stop(0)


class RawPeer(asyncio.Protocol):
    """Either side of a connection on the HTTP/2 core alone, for what no proper peer does. events: all that came."""

    def __init__(self, core: Connection, react: Callable[["RawPeer", Event], None] | None = None) -> None:
        self.core = core
        self.events: list[Event] = []
        self.received = b""
        self.lost = False
        self.transport: Any = None
        self._react = react

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.flush()

    def data_received(self, data: bytes) -> None:
        self.received += data
        for event in self.core.receive(data, 0.0):
            self.events.append(event)
            if self._react is not None:
                self._react(self, event)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def flush(self) -> None:
        while output := self.core.take():
            self.transport.write(output)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def raw_client() -> AsyncIterator[Callable[[int], Awaitable[RawPeer]]]:
    """A function that connects a RawPeer as client."""
    made: list[RawPeer] = []

    async def connect(port: int) -> RawPeer:
        loop = asyncio.get_running_loop()
        _, peer = await loop.create_connection(lambda: RawPeer(Connection(True, Limits())), "127.0.0.1", port)
        made.append(peer)
        await eventually(lambda: peer.core.ready)
        return peer

    yield connect
    for peer in made:
        peer.transport.abort()


@pytest.fixture
async def raw_server() -> AsyncIterator[Callable[..., Awaitable[tuple[int, list[RawPeer]]]]]:
    """A function that listens; each connection is a RawPeer with the reaction given. Returns port and connections."""
    listeners: list[asyncio.Server] = []
    everyone: list[RawPeer] = []

    async def listen(react: Callable[[RawPeer, Event], None]) -> tuple[int, list[RawPeer]]:
        peers: list[RawPeer] = []

        def accept() -> RawPeer:
            peer = RawPeer(Connection(False, Limits()), react)
            peers.append(peer)
            everyone.append(peer)
            return peer

        listener = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
        listeners.append(listener)
        return listener.sockets[0].getsockname()[1], peers

    yield listen
    for peer in everyone:
        if peer.transport is not None:
            peer.transport.abort()
    for listener in listeners:
        listener.close()


class Certificates:
    """Files of a CA, a server certificate for localhost and 127.0.0.1, and a client certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca")
        for name in ("server", "client"):
            self._openssl(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}")
            (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
            sign = "x509 -req -in {0}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {0}.crt -days 2 -extfile ext"
            self._openssl(sign.format(name))

    def _openssl(self, arguments: str) -> None:
        subprocess.run(["openssl", *arguments.split()], cwd=self.folder, check=True, capture_output=True)

    def read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()

    def server_context(self, *, mutual: bool = False) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.folder / "ca.crt")
        return context

    def client_context(self, *, mutual: bool = False, trust: bool = True) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trust:
            context.load_verify_locations(self.folder / "ca.crt")
        if mutual:
            context.load_cert_chain(self.folder / "client.crt", self.folder / "client.key")
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates made by openssl."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(name="eventually")
def eventually_fixture() -> Callable[..., Awaitable[None]]:
    """`await eventually(condition)` waits until the condition is true, 5 s at most."""
    return eventually


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """These tests run on uvloop, as the program does."""
    return {"uvloop": uvloop.new_event_loop}
