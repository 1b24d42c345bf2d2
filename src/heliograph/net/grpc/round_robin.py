"""Calls spread over all addresses of a host, as gRPC's `round_robin` policy does.

Each address has a channel of its own. A call takes the next one; where no connection can be made it goes on to the one
after it, so that a dead replica costs nothing but a failed connect. The host is resolved again whenever a channel has
to connect anew, at most every REFRESH seconds: replicas that came are used, those that are gone finish their calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from heliograph.net.grpc.client import GrpcChannel, resolve
from heliograph.net.grpc.status import UNAVAILABLE, GrpcError

REFRESH = 10.0
"""Seconds between two look-ups of the host, at least."""

Address = tuple[str, int]
Resolve = Callable[[str, int], Awaitable[list[Address]]]
MakeChannel = Callable[[Resolve], GrpcChannel]
"""Makes a channel that connects to what the given function answers."""


class _Member:
    """One address. calls: running ones."""

    __slots__ = ("calls", "channel", "leaving")

    def __init__(self, channel: GrpcChannel) -> None:
        self.channel = channel
        self.calls = 0
        self.leaving = False


class RoundRobinChannel:
    """The same calls as a GrpcChannel."""

    def __init__(self, host: str, port: int, make: MakeChannel, *, resolve: Resolve = resolve) -> None:
        self._host = host
        self._port = port
        self._make = make
        self._resolve = resolve
        self._members: dict[Address, _Member] = {}
        self._order: list[_Member] = []
        self._turn = 0
        self._stale = True
        self._looked = -REFRESH
        self._looking: asyncio.Lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def unary(
        self,
        path: str,
        message: bytes,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout: float,
        compression: str = "",
    ) -> bytes:
        """Call one of the servers. Raises GrpcError."""
        if self._stale:
            await self._refresh()
        problem: GrpcError | None = None
        for _ in range(max(1, len(self._order))):
            member = self._next()
            connected = member.channel.connected
            member.calls += 1
            try:
                return await member.channel.unary(
                    path, message, metadata=metadata, timeout=timeout, compression=compression
                )
            except GrpcError as error:
                if connected or member.channel.connected or error.status != UNAVAILABLE:
                    raise
                problem = error
            finally:
                member.calls -= 1
                if member.leaving and member.calls == 0:
                    self._close_soon(member)
        assert problem is not None
        raise problem

    @property
    def connected(self) -> bool:
        """Whether a call would find a connection."""
        return any(member.channel.connected for member in self._order)

    async def close(self) -> None:
        """Close all channels."""
        members, self._order = self._order, []
        self._members = {}
        await asyncio.gather(*(member.channel.close() for member in members), *self._closing)

    def _next(self) -> _Member:
        if not self._order:
            raise GrpcError(UNAVAILABLE, f"{self._host}:{self._port} has no address")
        self._turn += 1
        return self._order[self._turn % len(self._order)]

    async def _refresh(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._looking:
            if not self._stale or (self._order and loop.time() < self._looked + REFRESH):
                return
            self._looked = loop.time()
            try:
                addresses = await self._resolve(self._host, self._port)
            except OSError as error:
                if not self._order:
                    reason = f"cannot resolve {self._host}: {error.strerror or error}"
                    raise GrpcError(UNAVAILABLE, reason) from error
                return
            self._stale = False
            for address in set(self._members).difference(addresses):
                member = self._members.pop(address)
                member.leaving = True
                if member.calls == 0:
                    self._close_soon(member)
            for address in addresses:
                if address not in self._members:
                    self._members[address] = _Member(self._make(self._only(address)))
            self._order = list(self._members.values())

    def _only(self, address: Address) -> Resolve:
        async def answer(host: str, port: int) -> list[Address]:
            self._stale = True  # it connects anew: perhaps the addresses have changed
            return [address]

        return answer

    def _close_soon(self, member: _Member) -> None:
        task = asyncio.get_running_loop().create_task(member.channel.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
