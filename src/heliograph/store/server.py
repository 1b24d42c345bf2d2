"""The HTTP side of the store: Elasticsearch's paths, headers and errors."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from aiohttp import web

from heliograph.store import search as searching
from heliograph.store.bulk import Accepted, answer, read_bulk
from heliograph.store.documents import Documents, select_streams
from heliograph.store.errors import StoreError, parsing_error, understood
from heliograph.store.times import iso

MAX_BODY = 100 * 1024 * 1024
VERSION = "9.2.0"
STOP_SECONDS = 5.0
"""How long running requests may take when the store stops."""
_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StoreServer:
    """Serves one `Documents`. Retention: max_age in seconds, max_bytes of the file."""

    def __init__(self, documents: Documents, *, max_age: float, max_bytes: int) -> None:
        self.documents = documents
        self.max_age = max_age
        self.max_bytes = max_bytes
        self._writer = ThreadPoolExecutor(1, "store-write")
        self._readers = ThreadPoolExecutor(2, "store-read")
        self._runner: web.AppRunner | None = None
        self._expiry: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen. Returns the port. Raises OSError."""
        app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors])
        for index in ("", "/{index}"):
            app.router.add_post(f"{index}/_bulk", self._bulk)
            app.router.add_put(f"{index}/_bulk", self._bulk)
            for method in ("GET", "POST"):
                app.router.add_route(method, f"{index}/_search", self._search)
                app.router.add_route(method, f"{index}/_count", self._count)
            app.router.add_post(f"{index}/_refresh", self._refresh)
        app.router.add_get("/", self._root)
        app.router.add_get("/_cluster/health", self._health)
        app.router.add_get("/_license", self._license)
        app.router.add_get("/_data_stream", self._data_streams)
        app.router.add_get("/_data_stream/{index}", self._data_streams)
        app.router.add_delete("/_data_stream/{index}", self._delete_streams)
        app.router.add_get("/_cat/indices", self._cat_indices)
        app.router.add_get("/_cat/indices/{index}", self._cat_indices)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self._expiry = asyncio.create_task(self._expire())
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Finish running requests and close the file."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.get_running_loop().run_in_executor(None, self._writer.shutdown)
        self._readers.shutdown(wait=False, cancel_futures=True)
        self.documents.close()

    async def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(self._writer, self._expire_once)
            except sqlite3.Error as error:
                _log.error("%s: cannot delete what is old, trying again later: %s", self.documents.path, error)
            await asyncio.sleep(60)

    def _expire_once(self) -> None:
        oldest = time.time_ns() - int(self.max_age * 10**9)
        self.documents.expire(older_than_ns=oldest, max_bytes=self.max_bytes)

    async def _bulk(self, request: web.Request) -> web.Response:
        begun = time.monotonic()
        body = await request.read()
        loop = asyncio.get_running_loop()
        items = await loop.run_in_executor(self._writer, read_bulk, body, request.match_info.get("index"))
        wanted = [item.document for item in items if isinstance(item, Accepted)]
        written = iter(await loop.run_in_executor(self._writer, self.documents.write, wanted, time.time_ns()))
        answers = [
            answer(item, next(written) if isinstance(item, Accepted) else False, number)
            for number, item in enumerate(items)
        ]
        failed = any(next(iter(one.values()))["status"] >= 300 for one in answers)
        took = int((time.monotonic() - begun) * 1000)
        return _json({"took": took, "errors": failed, "items": answers})

    async def _search(self, request: web.Request) -> web.Response:
        begun = time.monotonic()
        streams = self._streams(request)
        body, parameters = await _body(request), dict(request.query)

        def work() -> dict[str, Any]:
            return searching.search(self.documents, streams, searching.read_request(body, parameters, time.time_ns()))

        result = await asyncio.get_running_loop().run_in_executor(self._readers, understood, work)
        shards = {"total": len(streams), "successful": len(streams), "skipped": 0, "failed": 0}
        took = int((time.monotonic() - begun) * 1000)
        return understood(lambda: _json({"took": took, "timed_out": False, "_shards": shards, **result}))

    async def _count(self, request: web.Request) -> web.Response:
        streams = self._streams(request)
        body, parameters = await _body(request), dict(request.query)

        def work() -> int:
            parsed = searching.read_request(body, parameters, time.time_ns())
            return searching.count(self.documents, streams, parsed.query)

        count = await asyncio.get_running_loop().run_in_executor(self._readers, understood, work)
        shards = {"total": len(streams), "successful": len(streams), "skipped": 0, "failed": 0}
        return _json({"count": count, "_shards": shards})

    def _streams(self, request: web.Request) -> list[str]:
        names = [stream.name for stream in self.documents.streams()]
        return select_streams(request.match_info.get("index", ""), names)

    async def _refresh(self, request: web.Request) -> web.Response:
        return _json({"_shards": {"total": 1, "successful": 1, "failed": 0}})

    async def _root(self, request: web.Request) -> web.Response:
        return _json(
            {
                "name": "heliograph",
                "cluster_name": "heliograph-store",
                "cluster_uuid": "heliograph-embedded-store",
                "version": {
                    "number": VERSION,
                    "build_flavor": "default",
                    "build_type": "heliograph",
                    "lucene_version": "none",
                    "minimum_wire_compatibility_version": "8.19.0",
                    "minimum_index_compatibility_version": "8.0.0",
                },
                "tagline": "You Know, for Search",
            }
        )

    async def _health(self, request: web.Request) -> web.Response:
        return _json({"cluster_name": "heliograph-store", "status": "green", "timed_out": False, "number_of_nodes": 1})

    async def _license(self, request: web.Request) -> web.Response:
        return _json({"license": {"status": "active", "uid": "heliograph", "type": "basic"}})

    async def _data_streams(self, request: web.Request) -> web.Response:
        chosen = set(self._streams(request))
        return _json(
            {
                "data_streams": [
                    {
                        "name": stream.name,
                        "timestamp_field": {"name": "@timestamp"},
                        "indices": [{"index_name": stream.name, "index_uuid": stream.name}],
                        "generation": 1,
                        "status": "GREEN",
                        "template": f"{stream.name.partition('-')[0]}-otel@template",
                    }
                    for stream in self.documents.streams()
                    if stream.name in chosen
                ]
            }
        )

    async def _delete_streams(self, request: web.Request) -> web.Response:
        for name in self._streams(request):
            await asyncio.get_running_loop().run_in_executor(self._writer, self.documents.delete_stream, name)
        return _json({"acknowledged": True})

    async def _cat_indices(self, request: web.Request) -> web.Response:
        chosen = set(self._streams(request))
        rows = [
            {
                "health": "green",
                "status": "open",
                "index": stream.name,
                "pri": "1",
                "rep": "0",
                "docs.count": str(stream.documents),
                "store.size": f"{stream.bytes}b",
                "creation.date.string": iso(stream.created),
            }
            for stream in self.documents.streams()
            if stream.name in chosen
        ]
        if request.query.get("format") == "json" or "json" in request.headers.get("Accept", ""):
            return _json(rows)
        columns = list(rows[0]) if rows else []
        table = (
            [columns, *([row[name] for name in columns] for row in rows)]
            if "v" in request.query
            else [[row[name] for name in columns] for row in rows]
        )
        widths = [max(len(row[number]) for row in table) for number in range(len(columns))] if table else []
        text = "".join(
            " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n"
            for row in table
        )
        return web.Response(text=text)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except StoreError as error:
        response = _json(error.body(), error.status)
    except web.HTTPRequestEntityTooLarge:
        response = _json(StoreError(413, "content_too_long", f"the body is larger than {MAX_BODY} bytes").body(), 413)
    except sqlite3.Error as error:
        # As Elasticsearch does on a full disk: senders keep the data and try again.
        _log.error("%s %s: %s", request.method, request.path, error)
        response = _json(StoreError(429, "cluster_block_exception", f"the store cannot: {error}").body(), 429)
    except web.RequestPayloadError as error:
        response = _json(parsing_error(f"the request body cannot be read: {error}").body(), 400)
    except web.HTTPException as error:
        reason = f"no handler found for uri [{request.path_qs}] and method [{request.method}]"
        response = _json(StoreError(error.status, "illegal_argument_exception", reason).body(), error.status)
    response.headers["X-elastic-product"] = "Elasticsearch"
    if response.content_type == "application/json" and "vnd.elasticsearch+json" in request.headers.get("Accept", ""):
        response.headers["Content-Type"] = "application/vnd.elasticsearch+json;compatible-with=9"
    return response


async def _body(request: web.Request) -> Any:
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        return orjson.loads(raw)
    except ValueError as error:
        raise parsing_error(f"the request body is no JSON: {error}") from None


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
