"""Addresses as the Collector writes them, `host:port`, and errors of listening that name the port.

Source: Go's net.SplitHostPort, whose spelling upstream uses: an empty host means every interface, an IPv6 address
stands in brackets.
"""

import errno
import os

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
        return StartError(
            f"{component}: cannot listen on {endpoint}: port {port} is taken; stop the program that has it or change {key}"
        )
    if error.errno == errno.EACCES:
        return StartError(
            f"{component}: cannot listen on {endpoint}: port {port} needs more rights; take one above 1023 in {key}"
        )
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return StartError(f"{component}: cannot listen on {endpoint}: {reason}; change {key}")
