"""Calls over all addresses of a host: shared, dead ones passed over, new ones found, those that left closed."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from heliograph.component.ids import Signal
from heliograph.net.grpc.client import GrpcChannel
from heliograph.net.grpc.round_robin import Resolve, RoundRobinChannel
from heliograph.net.grpc.status import UNAVAILABLE, GrpcError
from heliograph.otlp.request import request
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.samples import sample
from heliograph.testing.wait import until

EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
BODY = request([sample("logs", "shop", 8).SerializeToString()])


class Names:
    """A name service whose answer a test changes."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self.addresses = list(addresses)
        self.asked = 0
        self.problem: OSError | None = None

    async def resolve(self, host: str, port: int) -> list[tuple[str, int]]:
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        return list(self.addresses)


@asynccontextmanager
async def channel_to(names: Names, refresh: float = 15.0) -> AsyncIterator[RoundRobinChannel]:
    def make(find: Resolve) -> GrpcChannel:
        return GrpcChannel("gateway", 4317, resolve=find)

    channel = RoundRobinChannel("gateway", 4317, make, resolve=names.resolve, refresh=refresh)
    try:
        yield channel
    finally:
        await channel.close()


def address(server: OTLPServer) -> tuple[str, int]:
    return "127.0.0.1", server.ports["grpc"]


def taken(server: OTLPServer) -> int:
    return len(server.sinks[Signal.LOGS].batches)


def members(channel: RoundRobinChannel) -> int:
    return sum(member.channel.connected for member in channel._order)


async def call(channel: RoundRobinChannel, times: int = 1) -> None:
    for _ in range(times):
        await channel.unary(EXPORT, BODY, timeout=5)


async def test_all_addresses_are_used_and_dead_ones_passed_over() -> None:
    """Two servers share the calls; one stops, the other takes them all."""
    async with OTLPServer({"grpc": {}}) as one:
        two = OTLPServer({"grpc": {}})
        await two.__aenter__()
        async with channel_to(Names(address(one), address(two))) as channel:
            await call(channel)
            await until(lambda: members(channel) == 2)
            before = taken(one), taken(two)
            await call(channel, 6)
            assert (taken(one) - before[0], taken(two) - before[1]) == (3, 3)
            await two.__aexit__(None, None, None)
            await call(channel, 6)
            assert taken(one) - before[0] == 9


async def test_an_address_that_does_not_answer_holds_nothing_up() -> None:
    """A listener that never speaks: its connection is never ready, and no call waits for it."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        async with OTLPServer({"grpc": {}}) as server:
            async with channel_to(Names(silent.getsockname()[:2], address(server))) as channel:
                async with asyncio.timeout(3):
                    await call(channel, 5)
            assert taken(server) == 5


async def test_replicas_that_come_and_go_are_followed() -> None:
    """The connection to the first replica never breaks; the second one gets its share all the same."""
    async with OTLPServer({"grpc": {}}) as one, OTLPServer({"grpc": {}}) as two:
        names = Names(address(one))
        async with channel_to(names, refresh=0.1) as channel:
            await call(channel, 3)
            names.addresses.append(address(two))
            async with asyncio.timeout(5):
                while not taken(two):
                    await call(channel)
                    await asyncio.sleep(0.01)
            names.addresses.remove(address(one))
            async with asyncio.timeout(5):
                while len(channel._order) == 2:
                    await call(channel)
                    await asyncio.sleep(0.01)
            before = taken(one)
            await call(channel, 4)
            assert taken(one) == before
            names.problem = OSError(-2, "Name or service not known")
            asked = names.asked
            async with asyncio.timeout(5):
                while names.asked == asked:
                    await call(channel)
                    await asyncio.sleep(0.01)
            await call(channel, 2)


async def test_without_an_address_the_call_says_why() -> None:
    """A name that is not known, and a host at which nobody listens."""
    names = Names()
    names.problem = OSError(-2, "Name or service not known")
    async with channel_to(names) as channel:
        with pytest.raises(GrpcError, match="cannot resolve gateway: Name or service not known") as raised:
            await call(channel)
        assert raised.value.status == UNAVAILABLE
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with channel_to(Names(("127.0.0.1", port))) as channel:
        with pytest.raises(GrpcError, match=r"cannot connect to .*refused"):
            await call(channel)
