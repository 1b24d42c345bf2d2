"""A server that takes `_bulk` requests as Elasticsearch does, writes them down, and answers what a test tells it.

Real HTTP on a free port. By default every document is created (201), and a repeated `_id` in one index is a 409.
`answers` holds what to do with the next requests, one entry each; see `Answer`.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

ItemAnswer = tuple[int, str]
"""Status and error type ("" for none) of one document."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to do with one request. status other than 200: the whole request. item: decides each document by its
    action and source. cut: close the connection in the middle of the answer, after the documents were stored.
    headers: added to the answer. body: this instead of an answer of our own."""

    status: int = 200
    item: Callable[[dict[str, Any], dict[str, Any]], ItemAnswer] | None = None
    cut: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """One recorded request; raw: the NDJSON after decompression; documents: (action members, source) pairs."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes

    @property
    def documents(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        lines = self.raw.split(b"\n")
        assert lines.pop() == b"", "a bulk body ends with a newline"
        return [
            (orjson.loads(lines[number])["create"], orjson.loads(lines[number + 1]))
            for number in range(0, len(lines), 2)
        ]


class BulkServer:
    """Use as an async context manager. largest: bytes of the largest body taken; greater ones get a 413. gate: answers
    are held back while it is not set. cluster: what GET requests of a path answer, a status and JSON; others get a
    405."""

    def __init__(self) -> None:
        self.cluster: dict[str, tuple[int, object]] = {}
        self.requests: list[BulkRequest] = []
        self.answers: deque[Answer] = deque()
        self.stored: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.always: Answer = Answer()
        self.largest: int | None = None
        self.gate: asyncio.Event | None = None
        self._ids: set[tuple[str, str]] = set()
        self._runner: web.AppRunner | None = None
        self._arrived = asyncio.Condition()
        self.port = 0

    @property
    def url(self) -> str:
        """http://127.0.0.1:<port>"""
        return f"http://127.0.0.1:{self.port}"

    @property
    def raw_documents(self) -> list[tuple[bytes, bytes]]:
        """Action and document lines of all requests."""
        found: list[tuple[bytes, bytes]] = []
        for request in self.requests:
            lines = request.raw.split(b"\n")[:-1]
            found.extend(zip(lines[::2], lines[1::2], strict=True))
        return found

    async def wait_for(self, condition: Callable[["BulkServer"], bool], seconds: float = 10) -> None:
        """Until the condition holds. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: condition(self))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, port: int = 0) -> None:
        """Listen."""
        application = web.Application(client_max_size=1 << 30)
        application.router.add_post("/{prefix:.*}_bulk", self._bulk)
        application.router.add_get("/{path:.*}", self._get)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _get(self, request: web.Request) -> web.Response:
        status, answer = self.cluster.get(request.path, (405, {}))
        return web.Response(status=status, body=orjson.dumps(answer), content_type="application/json")

    async def _bulk(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and raw[:2] == b"\x1f\x8b":
            raw = zlib.decompress(raw, 31)
        recorded = BulkRequest(request.path, dict(request.query), dict(request.headers), raw)
        answer = self.answers.popleft() if self.answers else self.always
        if self.largest is not None and (request.content_length or 0) > self.largest:
            answer = Answer(status=413)
        body = answer.body
        if answer.status == 200 and body is None:
            body = orjson.dumps(
                {"items": [self._item(answer, action, source) for action, source in recorded.documents]}
            )
        async with self._arrived:
            self.requests.append(recorded)
            self._arrived.notify_all()
        if self.gate is not None:
            await self.gate.wait()
        headers = {"X-Elastic-Product": "Elasticsearch", "Content-Type": "application/json", **answer.headers}
        if not answer.cut:
            return web.Response(status=answer.status, body=body or b"{}", headers=headers)
        response = web.StreamResponse(status=200, headers={**headers, "Content-Length": str(len(body or b"") + 1)})
        await response.prepare(request)
        await response.write((body or b"")[: len(body or b"") // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    def _item(self, answer: Answer, action: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
        status, error = (201, "") if answer.item is None else answer.item(action, source)
        index, id = action.get("_index", ""), action.get("_id", "")
        if status == 201 and id:
            if (index, id) in self._ids:
                status, error = 409, "version_conflict_engine_exception"
            self._ids.add((index, id))
        if status == 201:
            self.stored.append((action, source))
        item: dict[str, Any] = {"_index": index, "status": status}
        if error:
            item["error"] = {"type": error, "reason": f"{error} for a test"}
        return {"create": item}
