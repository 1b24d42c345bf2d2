"""All objects of a kind every interval, page by page."""

import asyncio
from collections.abc import Callable

from heliograph.component.clock import Clock
from heliograph.kubernetes.changes import Pages
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError
from heliograph.kubernetes.follow import Encode, Outlet
from heliograph.kubernetes.wire import PAGE_OBJECTS

_JSON = "application/json"


class Pulling:
    """One kind and scope. selectors: of the query. version: the exact resource version that is asked for; "" for the
    newest."""

    def __init__(
        self,
        client: ApiClient,
        path: str,
        what: str,
        clock: Clock,
        encode: Encode,
        outlet: Outlet,
        troubled: Callable[[ApiError | None], None],
        *,
        selectors: dict[str, str],
        version: str,
        interval: float,
        delay: float,
    ) -> None:
        self._client = client
        self._path, self._what = path, what
        self._clock = clock
        self._encode = encode
        self._outlet = outlet
        self._troubled = troubled
        self._selectors, self._version = selectors, version
        self._interval, self._delay = interval, delay

    async def run(self) -> None:
        """A round after the delay, and then every interval, for ever. One that failed is made again when the next is
        due."""
        clock = self._clock
        if self._delay > 0:
            await clock.sleep(self._delay)
        due = clock.monotonic()
        while True:
            try:
                await self._round()
                self._troubled(None)
            except ApiError as error:
                self._troubled(error)
            due += self._interval
            if clock.monotonic() > due:
                due = clock.monotonic()
            await clock.sleep(max(0.0, due - clock.monotonic()))

    async def _round(self) -> None:
        pages = Pages()
        while True:
            query = {**self._selectors, "limit": str(PAGE_OBJECTS)}
            if pages.more:
                query["continue"] = pages.more
            elif self._version:
                query |= {"resourceVersion": self._version, "resourceVersionMatch": "Exact"}
            found = pages.read(await self._client.body(self._path, query, _JSON), self._what)
            if found:
                parts, items = self._encode(found)
                if items:
                    await self._outlet.send(parts, items)
            if not pages.more:
                return
            await asyncio.sleep(0)
