"""Addresses as the Collector writes them, `host:port`, and errors of listening that name the port.

Source: Go's net.SplitHostPort, whose spelling upstream uses: an empty host means every interface, an IPv6 address
stands in brackets.
"""

import asyncio
import errno
import os
import socket
from urllib.parse import urlsplit

from heliograph.component.errors import StartError


class AddressError(ValueError):
    """An endpoint that is no `host:port`; the message shows it."""


def split(endpoint: str) -> tuple[str, int]:
    """`host:port` -> (host, port); the host may be empty, brackets are taken off. Raises AddressError."""
    host, colon, port = endpoint.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif "[" in host or "]" in host or "]" in port:
        raise AddressError(f"{endpoint!r} has no port: write host:port, for example [::1]:4317")
    elif ":" in host:
        raise AddressError(f"{endpoint!r} has too many colons: an IPv6 address stands in brackets, [::1]:4317")
    if not colon:
        raise AddressError(f"{endpoint!r} has no port: write host:port, for example localhost:4317")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise AddressError(f"invalid port {port!r} in {endpoint!r}: write a number from 0 to 65535")
    return host, int(port)


def join(host: str, port: int) -> str:
    """(host, port) -> `host:port`, with brackets where they are needed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listening_error(component: str, endpoint: str, key: str, error: OSError) -> StartError:
    """What to tell when listening on an endpoint failed. component: for example "receiver otlp"; key: where the
    endpoint is configured, for example "protocols::grpc::endpoint"."""
    _, _, port = endpoint.rpartition(":")
    if error.errno == errno.EADDRINUSE:
        return StartError(f"{component}: cannot listen on {endpoint}: port {port} is taken; free it or change {key}")
    if error.errno == errno.EACCES:
        return StartError(
            f"{component}: cannot listen on {endpoint}: port {port} needs more rights; take one above 1023 in {key}"
        )
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return StartError(f"{component}: cannot listen on {endpoint}: {reason}; change {key}")


def listen(host: str, port: int) -> socket.socket:
    """A bound TCP socket, as Go binds one: for an empty host on every interface and both IP versions, for a name on
    its first IPv4 address, else its first IPv6 address. Raises OSError."""
    if not host:
        if socket.has_dualstack_ipv6():
            try:
                return _bound(socket.AF_INET6, ("::", port))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
        return _bound(socket.AF_INET, ("0.0.0.0", port))
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return _bound(family, address)


async def resolve(host: str) -> str:
    """The IP address on which a server for a host listens, chosen as `listen` does; "" stays "". Raises OSError."""
    if not host:
        return ""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address[0] == "::" else 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def is_url(text: str) -> bool:
    """Whether it is an http or https URL with a host, and with a port that can be where it has one."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    return usable and not any(character.isspace() for character in parts.netloc)
