"""The far end, in a process of its own: takes everything at once and counts items into a shared file.

python -m bench.sink otlp|bulk PORT FILE

otlp: gRPC for all signals; spans, log records and data points are counted. bulk: Elasticsearch's _bulk, which answers
each document with 201; documents are counted.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import uvloop

from bench.process import Count

_MAX = 1 << 28
_ITEM = b'{"create":{"_index":".ds-x","status":201}}'


async def otlp(port: int, count: Count) -> None:
    """Serve gRPC until the process is ended."""
    from heliograph.component.ids import Signal
    from heliograph.net.grpc.server import Call, GrpcServer, Handler
    from heliograph.otlp import count as counting
    from heliograph.otlp.check import cut
    from heliograph.receivers.otlp.grpc import method_path

    def handler(name: str) -> Handler:
        async def export(request: bytes, call: Call) -> bytes:
            count.add(sum(counting.count(name, part) for part in cut(request)))
            return b""

        return export

    server = GrpcServer({method_path(each): handler(str(each)) for each in Signal}, max_message_bytes=_MAX)
    await server.listen("127.0.0.1", port)
    await until_ended()


async def bulk(port: int, count: Count) -> None:
    """Serve HTTP until the process is ended."""
    from aiohttp import web

    async def take(request: web.Request) -> web.Response:
        documents = (await request.read()).count(b"\n") // 2
        count.add(documents)
        return web.Response(
            body=b'{"items":[%b]}' % b",".join([_ITEM] * documents),
            headers={"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json"},
        )

    application = web.Application(client_max_size=_MAX)
    application.router.add_post("/_bulk", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await until_ended()


async def until_ended() -> None:
    """Wait for SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


def main() -> None:
    """Run as the module's docstring says."""
    kind, port, path = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run({"otlp": otlp, "bulk": bulk}[kind](int(port), Count(Path(path))))


if __name__ == "__main__":
    main()
