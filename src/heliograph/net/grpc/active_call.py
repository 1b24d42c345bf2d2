"""A call that a server connection is busy with, and two small readings of what came with it."""

import asyncio
import ipaddress

from heliograph.net.grpc import answers
from heliograph.net.grpc.call import Call
from heliograph.net.grpc.framing import Assembler
from heliograph.net.grpc.status import GrpcError
from heliograph.net.http2.events import Header


class ActiveCall:
    """A call on this connection. ending: the error to answer with when its task is cancelled by us; None: no answer.
    body_since: when its body began, infinite when it is complete."""

    __slots__ = (
        "assembler", "body", "body_since", "call", "encoding", "ending", "handler", "held", "started", "stream_id",
        "task",
    )  # fmt: skip

    def __init__(self, stream_id: int, call: Call, handler: answers.Handler, encoding: str, now: float) -> None:
        self.body_since = now
        self.stream_id = stream_id
        self.call = call
        self.handler = handler
        self.encoding = encoding
        self.held = 0
        self.assembler: Assembler | None = None
        self.body: asyncio.Future[tuple[bool, bytes]] | None = None
        self.task: asyncio.Task[None] | None = None
        self.started = False
        self.ending: GrpcError | None = None


def repeats_pseudo_header(headers: list[Header]) -> bool:
    """Whether a pseudo-header comes twice, which makes a request malformed."""
    names = [name for name, _ in headers if name.startswith(":")]
    return len(names) != len(set(names))


def address_of(peername: object) -> str:
    """The IP address of a peer; "" for what is no IP socket."""
    if not isinstance(peername, tuple) or not peername:
        return ""
    host = str(peername[0])
    if host.startswith("::ffff:"):
        mapped = ipaddress.IPv6Address(host.partition("%")[0]).ipv4_mapped
        return str(mapped) if mapped is not None else host
    return host
