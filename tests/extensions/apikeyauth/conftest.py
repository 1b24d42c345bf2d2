"""Extensions that are started against a key server."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from heliograph import catalog
from heliograph.component.ids import Kind
from heliograph.config.decode import from_plain
from heliograph.testing.host import TestHost
from heliograph.testing.key_server import KeyServer
from heliograph.testing.settings import settings

APM = [{"application": "apm", "privileges": ["event:write"], "resources": ["-"]}]
Start = Callable[..., Awaitable[Any]]


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    """A server of our own."""
    async with KeyServer() as running:
        yield running


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """start(endpoint, clock=..., **keys): an extension that asks for event:write, with its host as `.host`."""
    running: list[tuple[Any, TestHost]] = []

    async def make(endpoint: str, *, clock: Any = None, **keys: Any) -> Any:
        factory = catalog.factory(Kind.EXTENSION, "apikeyauth")
        plain = {"endpoint": endpoint, "application_privileges": APM, **keys}
        extension: Any = factory.create(settings("extension", "apikeyauth"), from_plain(factory.config, plain))
        host = TestHost(clock=clock)
        await extension.start(host)
        running.append((extension, host))
        return extension

    yield make
    for extension, host in running:
        await extension.shutdown(host.clock.monotonic() + 1)
        await host.close()
