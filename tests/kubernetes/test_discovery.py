"""Which kinds a server has, and what it means when it does not say."""

import json
from collections.abc import AsyncIterator

import pytest

from heliograph.component.clock import SystemClock
from heliograph.kubernetes.access import Access, Token
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.discovery import served
from heliograph.kubernetes.errors import ApiError, BadAnswer
from heliograph.testing.api_server import ApiServer


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[ApiClient]:
    client = ApiClient(Access(server.url, None, Token(), {}), SystemClock())
    client.open()
    yield client
    await client.close()


async def test_served(server: ApiServer, client: ApiClient) -> None:
    """The plurals of a group; none when there is no such group; not told when it is denied."""
    server.groups["apps"] = {"v1": ["deployments", "deployments/scale"]}
    assert await served(client, "/apis/apps/v1") == {"deployments", "deployments/scale"}
    server.refuse("v1", 404)
    assert await served(client, "/apis/apps/v1") == frozenset()
    server.refuse("v1", 403)
    assert await served(client, "/apis/apps/v1") is None


async def test_a_server_that_is_not_well(server: ApiServer, client: ApiClient) -> None:
    """It is to be asked again."""
    server.refuse("v1", 503)
    with pytest.raises(ApiError, match="503"):
        await served(client, "/api/v1")
    await server.stop()
    with pytest.raises(ApiError):
        await served(client, "/api/v1")


async def test_an_answer_of_another_shape(server: ApiServer, client: ApiClient) -> None:
    """Is no list of resources."""
    server.groups[""] = {"v1": json.loads('[{"name": 5}]')}
    with pytest.raises(BadAnswer):
        await served(client, "/api/v1")
