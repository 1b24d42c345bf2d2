"""Calls spread over all addresses of a host, as gRPC's `round_robin` policy does, and over those that come later.

Each address has a channel of its own. A call takes the next one that is connected; the others are connected meanwhile,
so that a replica that does not answer holds nothing up. gRPC looks the host up again only when a connection breaks, so
that new replicas get nothing until then; here it is looked up every REFRESH seconds while there are calls. Replicas
that came are used at once, those that are gone finish their calls.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from heliograph.net.grpc.client import GrpcChannel, resolve
from heliograph.net.grpc.status import DEADLINE_EXCEEDED, UNAVAILABLE, GrpcError

REFRESH = 15.0
"""Seconds between two look-ups of the host; 20 % more or less by chance: a cluster's daemons are not in step."""
_SOONER = 0.15  # of that, after a connection broke
_CONNECT_SECONDS = 20.0  # for one attempt

Address = tuple[str, int]
Resolve = Callable[[str, int], Awaitable[list[Address]]]
MakeChannel = Callable[[Resolve], GrpcChannel]
"""Makes a channel that connects to what the given function answers."""


class _Member:
    """One address. calls: running ones. leaving: no longer an address of the host."""

    __slots__ = ("calls", "channel", "connecting", "leaving")

    def __init__(self, channel: GrpcChannel) -> None:
        self.channel = channel
        self.calls = 0
        self.connecting: asyncio.Task[None] | None = None
        self.leaving = False


class RoundRobinChannel:
    """The same calls as a GrpcChannel. refresh: seconds between two look-ups."""

    def __init__(
        self,
        host: str,
        port: int,
        make: MakeChannel,
        *,
        resolve: Resolve = resolve,
        refresh: float = REFRESH,
    ) -> None:
        self._host = host
        self._port = port
        self._make = make
        self._resolve = resolve
        self._refresh = refresh
        self._members: dict[Address, _Member] = {}
        self._order: list[_Member] = []
        self._turn = 0
        self._next_look = 0.0
        self._no_address = f"{host}:{port} has no address"
        self._looking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

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
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        if loop.time() >= self._next_look and self._looking is None:
            self._looking = self._spawn(self._look())
        if not self._order and self._looking is not None:
            await asyncio.wait([self._looking], timeout=timeout)
        member = self._next() or await self._first(deadline)
        member.calls += 1
        try:
            left = max(0.0, deadline - loop.time())
            return await member.channel.unary(path, message, metadata=metadata, timeout=left, compression=compression)
        finally:
            member.calls -= 1
            if member.leaving and member.calls == 0:
                self._spawn(member.channel.close())

    @property
    def connected(self) -> bool:
        """Whether a call would find a connection."""
        return any(member.channel.connected for member in self._order)

    async def close(self) -> None:
        """Close all channels."""
        members, self._order = self._order, []
        self._members = {}
        await asyncio.gather(*(member.channel.close() for member in members))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _next(self) -> _Member | None:
        """The next member with a connection; those that have none get one."""
        found = None
        for _ in range(len(self._order)):
            self._turn += 1
            member = self._order[self._turn % len(self._order)]
            if member.channel.connected:
                found = member
                break
            self._connect(member)
        return found

    async def _first(self, deadline: float) -> _Member:
        """The first member that gets a connection. Raises GrpcError when none does."""
        if not self._order:
            raise GrpcError(UNAVAILABLE, self._no_address)
        attempts = {self._connect(member): member for member in self._order}
        waiting = set(attempts)
        problem: BaseException | None = None
        while waiting:
            left = max(0.0, deadline - asyncio.get_running_loop().time())
            done, waiting = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                problem = None if attempt.cancelled() else attempt.exception()
                if problem is None and attempts[attempt].channel.connected:
                    return attempts[attempt]
            if not done:
                raise GrpcError(DEADLINE_EXCEEDED, f"no connection to {self._host}:{self._port} in time")
        raise problem or GrpcError(UNAVAILABLE, f"the connection to {self._host}:{self._port} ended at once")

    def _connect(self, member: _Member) -> "asyncio.Task[None]":
        """Connect a member, without waiting for it."""
        if member.connecting is None or member.connecting.done():
            member.connecting = self._spawn(member.channel.connect(_CONNECT_SECONDS))
        return member.connecting

    async def _look(self) -> None:
        """Look the host up and keep the members in line with what is found."""
        loop = asyncio.get_running_loop()
        try:
            addresses = await self._resolve(self._host, self._port)
        except OSError as error:
            self._next_look = loop.time() + self._refresh * _SOONER
            self._no_address = f"cannot resolve {self._host}: {error.strerror or error}"
            return
        finally:
            self._looking = None
        self._next_look = loop.time() + self._refresh * random.uniform(0.8, 1.2)
        for address in set(self._members).difference(addresses):
            member = self._members.pop(address)
            member.leaving = True
            if member.calls == 0:
                self._spawn(member.channel.close())
        for address in addresses:
            if address not in self._members:
                self._members[address] = _Member(self._make(self._only(address)))
        self._order = list(self._members.values())

    def _only(self, address: Address) -> Resolve:
        async def answer(host: str, port: int) -> list[Address]:
            # It connects, perhaps anew: the addresses may have changed.
            self._next_look = min(self._next_look, asyncio.get_running_loop().time() + self._refresh * _SOONER)
            return [address]

        return answer

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it raises it; here it only counts as seen
