"""An HTTP proxy before Elasticsearch that refuses requests, or holds them back for a while."""

import asyncio
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

_PASSED = ("Content-Type", "Content-Encoding", "Authorization")


class BulkProxy:
    """Use as an async context manager. refusing: whether each request gets a 429 with Retry-After: `retry_after`
    (seconds). delay: seconds that each request is held back. refused: how many there were."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._runner: web.AppRunner | None = None
        self.refusing = False
        self.retry_after = 1
        self.delay = 0.0
        self.refused = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=1 << 28)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._session = aiohttp.ClientSession(auto_decompress=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.refusing:
            self.refused += 1
            error = {
                "type": "es_rejected_execution_exception",
                "reason": "rejected execution of coordinating operation",
            }
            headers = {"Retry-After": str(self.retry_after)}
            return web.json_response({"error": error, "status": 429}, status=429, headers=headers)
        if self.delay:
            await asyncio.sleep(self.delay)
        headers = {name: request.headers[name] for name in _PASSED if name in request.headers}
        async with self._session.request(
            request.method, f"{self._target}{request.path_qs}", data=body, headers=headers
        ) as answer:
            content = await answer.read()
            headers = {name: answer.headers[name] for name in _PASSED if name in answer.headers}
            return web.Response(status=answer.status, body=content, headers=headers)
