"""Opening a connection: names to addresses, the addresses in turn, TLS, and a proxy where there is one.

When a name has several addresses, the next one is tried a quarter of a second after the last, IPv6 and IPv4 in turn,
and the first that answers is taken, so that a family of addresses that leads nowhere costs little. Through a proxy,
http:// is asked for with the whole URL and https:// goes through a tunnel (CONNECT).
Sources: RFC 8305; RFC 9110, 9.3.6.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, TypeVar

from heliograph.net.http.errors import CertificateRefused, ConnectFailed
from heliograph.net.http.exchange import ClientConnection
from heliograph.net.http.url import Url, parse

_STAGGER = 0.25
_LONGEST_REPLY = 64 * 1024
Tune = Callable[[socket.socket], None]
_Made = TypeVar("_Made", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to a server. server_name: expected in its certificate. proxy: URL of one, or "". unix: path of a
    socket instead of host and port."""

    scheme: str
    host: str
    port: int
    server_name: str = ""
    proxy: str = ""
    unix: str = ""


async def dial(way: Way, tls: ssl.SSLContext | None, seconds: float, tune: Tune | None) -> ClientConnection:
    """A connection that is ready for a request. tls: the context, for https://. tune: is given every socket before it
    connects. Raises ConnectFailed."""
    try:
        async with asyncio.timeout(seconds):
            return await _dial(way, tls, tune)
    except ssl.SSLCertVerificationError as error:
        raise CertificateRefused(error) from error
    except TimeoutError as error:
        raise ConnectFailed(error if error.errno else TimeoutError(f"no connection within {seconds:g} s")) from None
    except OSError as error:
        raise ConnectFailed(error) from error
    except UnicodeError as error:  # a name with an empty or too long label
        raise ConnectFailed(OSError(f"{way.host!r} is no name of a host: {error}")) from None


async def _dial(way: Way, tls: ssl.SSLContext | None, tune: Tune | None) -> ClientConnection:
    loop = asyncio.get_running_loop()
    secure = tls if way.scheme == "https" else None
    name = (way.server_name or way.host) if secure else None
    if way.unix:
        _, unix = await loop.create_unix_connection(ClientConnection, way.unix)
        return unix
    if not way.proxy:
        reached = await _reach(way.host, way.port, tune)
        return await _over(reached, ClientConnection, secure, name)
    proxy = parse(way.proxy)
    reached = await _reach(proxy.host, proxy.port, tune)
    outer = tls if proxy.scheme == "https" else None
    if secure is None:
        return await _over(reached, ClientConnection, outer, proxy.host if outer else None)
    tunnel = await _over(reached, _Tunnel, outer, proxy.host if outer else None)
    try:
        await tunnel.ask(way, proxy)
        connection = ClientConnection()
        transport = await loop.start_tls(tunnel.transport, connection, secure, server_hostname=name)
        if transport is None:
            raise ConnectionAbortedError("the proxy closed the connection")
        connection.connection_made(transport)
    except BaseException:
        tunnel.transport.abort()
        raise
    return connection


async def _over(
    reached: socket.socket, factory: Callable[[], _Made], tls: ssl.SSLContext | None, name: str | None
) -> _Made:
    """A protocol of the factory on a connected socket."""
    try:
        _, protocol = await asyncio.get_running_loop().create_connection(
            factory, sock=reached, ssl=tls, server_hostname=name
        )
    except BaseException:
        reached.close()
        raise
    return protocol


async def _reach(host: str, port: int, tune: Tune | None) -> socket.socket:
    """A connected socket."""
    known = _numeric(host, port)
    if known is not None:
        return await _try(known, tune)
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if not found:
        raise OSError(f"{host} has no address")
    if len(found) == 1:
        return await _try(found[0], tune)
    first = [entry for entry in found if entry[0] == found[0][0]]
    others = [entry for entry in found if entry[0] != found[0][0]]
    order = [entry for entry in chain.from_iterable(zip_longest(first, others)) if entry is not None]
    return await _race(order, tune)


def _numeric(host: str, port: int) -> Any:
    """The entry for an IP address, which needs no thread to be looked up; None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)
    return None


async def _race(order: list[Any], tune: Tune | None) -> socket.socket:
    """The first of several addresses that answers."""
    running: set[asyncio.Task[socket.socket]] = set()
    problem: OSError | None = None
    won: asyncio.Task[socket.socket] | None = None
    try:
        while won is None and (order or running):
            if order:
                running.add(asyncio.ensure_future(_try(order.pop(0), tune)))
            done, running = await asyncio.wait(
                running, timeout=_STAGGER if order else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is None and won is None:
                    won = task
                elif error is None:
                    task.result().close()
                elif isinstance(error, OSError):
                    problem = problem or error
                else:
                    raise error
    finally:
        for task in running:
            task.add_done_callback(_close_late)
            task.cancel()
    if won is None:
        raise problem or OSError("no address could be reached")
    return won.result()


def _close_late(task: "asyncio.Task[socket.socket]") -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _try(entry: Any, tune: Tune | None) -> socket.socket:
    family, kind, protocol, _, address = entry
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        if tune is not None:
            tune(made)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel; TLS goes on where its answer ends."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._reply = bytearray()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected to the proxy."""
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Collect the answer."""
        self._reply += data
        if not self._done.done() and (b"\r\n\r\n" in self._reply or len(self._reply) > _LONGEST_REPLY):
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy does not want to."""
        if not self._done.done():
            self._done.set_exception(ConnectionResetError("the proxy closed the connection"))

    async def ask(self, way: Way, proxy: Url) -> None:
        """Raises OSError with what the proxy said."""
        host = f"[{way.host}]" if ":" in way.host else way.host
        head = f"CONNECT {host}:{way.port} HTTP/1.1\r\nHost: {host}:{way.port}\r\n"
        if proxy.basic:
            head += f"Proxy-Authorization: {proxy.basic}\r\n"
        self.transport.write(f"{head}\r\n".encode())
        await self._done
        line, _, rest = bytes(self._reply).partition(b"\r\n")
        words = line.split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or words[1] != b"200":
            raise OSError(f"the proxy answered {line[:200].decode('latin-1')!r}")
        if rest.partition(b"\r\n\r\n")[2]:
            raise OSError("the proxy sent data before the tunnel's other end could")
