"""Elasticsearch's security API, as far as apikeyauth asks it: which API keys there are, and what they may do.

Real HTTP on a free port. `answers` holds statuses to answer the next questions with instead; `hold` keeps all questions
waiting until it is set.
"""

import asyncio
import base64
from collections import deque
from types import TracebackType
from typing import Any, Self

from aiohttp import web


def encoded(id: str, secret: str) -> str:
    """What a sender writes behind "ApiKey "."""
    return base64.b64encode(f"{id}:{secret}".encode()).decode()


class KeyServer:
    """Use as an async context manager. allow: encoded key -> (application, privilege, resource) that it has; a
    resource * means all. questions: paths and bodies that were asked, with the key."""

    def __init__(self) -> None:
        self.allow: dict[str, set[tuple[str, str, str]]] = {}
        self.questions: list[tuple[str, str, Any]] = []
        self.answers: deque[int] = deque()
        self.hold: asyncio.Event | None = None
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """http://127.0.0.1:<port>"""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen."""
        application = web.Application()
        application.router.add_post("/_security/user/_has_privileges", self._answer)
        application.router.add_get("/_security/_authenticate", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        question = await request.json() if request.can_read_body else None
        key = request.headers.get("Authorization", "").removeprefix("ApiKey ")
        self.questions.append((request.path, key, question))
        if self.hold is not None:
            await self.hold.wait()
        if self.answers and (status := self.answers.popleft()) != 200:
            return web.json_response({"error": {"type": "test", "reason": "for a test"}}, status=status)
        if key not in self.allow:
            return web.json_response({"error": {"type": "security_exception", "reason": "unknown"}}, status=401)
        wanted = [
            (each["application"], privilege, resource)
            for each in (question or {}).get("application", ())
            for privilege in each["privileges"]
            for resource in each["resources"]
        ]
        mine = self.allow[key]
        granted = all(each in mine or (*each[:2], "*") in mine for each in wanted)
        return web.json_response({"username": "ada", "has_all_requested": granted})
