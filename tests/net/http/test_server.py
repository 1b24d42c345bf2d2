"""The HTTP server's own limits."""

import asyncio
import logging

import pytest

from heliograph.net.config import HTTPServerConfig
from heliograph.net.http.server import HttpServer

LOG = logging.LoggerAdapter(logging.getLogger(__name__))
GET = b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_one_connection_too_many_is_closed_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """Without a traceback; those that are there go on, and when one ends another may come."""
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    server = HttpServer(HTTPServerConfig(endpoint="127.0.0.1:0"), {}, log=LOG, max_connections=3)
    port = await server.listen("127.0.0.1", 0)
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
    for reader, _ in streams[3:]:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 5)
    for reader, writer in streams[:3]:
        writer.write(GET)
        assert await asyncio.wait_for(reader.readline(), 5) == b"HTTP/1.1 404 Not Found\r\n"
    for _, writer in streams:
        writer.close()
    async with asyncio.timeout(5):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(GET)
            try:
                if await reader.readline():
                    break
            except ConnectionError:
                continue
            finally:
                writer.close()
    await server.close(1)
    assert raised == []
    assert not [record for record in caplog.records if record.exc_info]
