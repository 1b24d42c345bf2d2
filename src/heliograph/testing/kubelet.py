"""A small kubelet for tests: answers /stats/summary and /pods with what a test gives, over TLS if wanted.

`tokens` restricts who may ask. `requests` has what was asked. The answers are also under the path by which
an API server passes requests on to a kubelet; `others` has answers to other paths.
"""

import ssl
from typing import Any

from aiohttp import web


class KubeletServer:
    """Use `async with KubeletServer(summary, pods) as kubelet`; `kubelet.url` is its endpoint."""

    def __init__(self, summary: bytes, pods: bytes = b"{}", tls: ssl.SSLContext | None = None) -> None:
        self.summary = summary
        self.pods = pods
        self.tokens: set[str] | None = None
        self.status = 200
        self.requests: list[web.Request] = []
        self.others: dict[str, Any] = {}
        self.url = ""
        self.port = 0
        self._tls = tls
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "KubeletServer":
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if self.tokens is not None and request.headers.get("Authorization", "")[7:] not in self.tokens:
            return web.Response(status=401, text="Unauthorized")
        if request.path in self.others:
            return web.json_response(self.others[request.path])
        body = {"/stats/summary": self.summary, "/pods": self.pods}.get(request.path.rpartition("/proxy")[2])
        if body is None:
            return web.Response(status=404, text="not found")
        return web.Response(status=self.status, body=body, content_type="application/json")
