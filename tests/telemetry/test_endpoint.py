"""The small HTTP server: bounds of size and number, and addresses."""

import asyncio

import pytest

from heliograph.component.errors import StartError
from heliograph.telemetry.endpoint import MAX_CONNECTIONS, Endpoint, Page
from heliograph.testing.wait import until


async def ask(port: int, host: str = "127.0.0.1") -> bytes:
    """What GET / answers; empty when the connection is closed without an answer."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "", "0.0.0.0"])
async def test_every_way_to_write_a_host_is_reached_over_ipv4(host: str) -> None:
    """A name, an address, every interface."""
    endpoint = Endpoint(lambda path: Page(200, path))
    port = await endpoint.listen(host, 0, key="x")
    assert (await ask(port)).endswith(b"\r\n\r\n/")
    await endpoint.close()


async def test_a_host_that_does_not_exist_is_a_start_error_with_the_key() -> None:
    """The message says what to change."""
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0: .*change the::key"):
        await Endpoint(lambda path: Page(200, path)).listen("192.0.2.1", 0, key="the::key")


async def test_connections_that_say_nothing_are_bounded_and_let_go() -> None:
    """One more than the bound gets no answer; when the silent ones leave, it is answered again."""
    endpoint = Endpoint(lambda path: Page(200, path))
    port = await endpoint.listen("127.0.0.1", 0, key="x")
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    assert await ask(port) == b""
    for _, writer in silent:
        writer.close()
    answers: list[bytes] = []

    async def again() -> None:
        while not answers or not answers[-1]:
            answers.append(await ask(port))

    asking = asyncio.ensure_future(again())
    await until(asking.done, "an answer")
    await endpoint.close()
