"""Asking metadata services over HTTP, straight (no proxy, no redirects), with bounded answers.

`probe` is the first question to a service that may not exist: it waits a second, and silence or refusal means that
this process is not in that cloud (Absent). After it has been answered, `found` is true, and what fails then is a
failure. Link-local addresses outside of a cloud often swallow packets instead of refusing them, hence the second.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from heliograph import __version__
from heliograph.kubernetes.access import SERVICE_ACCOUNT
from heliograph.net.http.errors import TransportError
from heliograph.net.http.pool import Pool
from heliograph.processors.resource_detection.detected import Absent, DetectionError, TimedOut, Unavailable

PROBE_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_LONGEST = 4 * 1024 * 1024
_PLAIN = {"User-Agent": f"heliograph/{__version__}"}


@dataclass(frozen=True, slots=True)
class Answer:
    """status, headers (names in lower case) and text of an answer."""

    status: int
    headers: Mapping[str, str]
    text: str


class Asker:
    """One detector's questions. environ: where addresses and credentials are named. Use with `async with`.

    found: a service has answered, so this is the place. failure: why the last try failed.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT) -> None:
        self.environ = environ
        self.service_account = service_account
        self.found = False
        self.failure = ""
        self._pools: dict[str, Pool] = {}

    async def __aenter__(self) -> "Asker":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            await pool.close()

    async def ask(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        seconds: float = _ANSWER_SECONDS,
        socket: str = "",
    ) -> Answer:
        """The answer, whatever its status. socket: path of a Unix socket to ask through. Raises Unavailable."""
        try:
            async with (
                asyncio.timeout(seconds),
                self._pool(socket).request(method, url, {**_PLAIN, **(headers or {})}, body) as response,
            ):
                content = bytearray()
                async for piece in response.iter_any():
                    content += piece
                    if len(content) > _LONGEST:
                        raise DetectionError(f"{method} {url}: the answer is longer than {_LONGEST} bytes")
                return Answer(response.status, response.headers, content.decode("utf-8", "replace"))
        except TimeoutError:
            raise TimedOut(f"{method} {url}: no answer within {seconds:g} s") from None
        except (TransportError, OSError) as error:
            raise Unavailable(f"{method} {url}: {error or type(error).__name__}") from error
        except ValueError as error:
            raise DetectionError(f"{method} {url}: {error}") from error

    async def text(self, url: str, headers: Mapping[str, str] | None = None, **more: Any) -> str:
        """The text of an answer with status 200. Raises DetectionError, Unavailable for 429 and 5xx."""
        answer = await self.ask(url, headers, **more)
        if answer.status == 200:
            return answer.text
        kind = Unavailable if answer.status == 429 or answer.status >= 500 else DetectionError
        raise kind(f"{more.get('method', 'GET')} {url}: status {answer.status}")

    async def probe(self, url: str, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """The first question. Raises Absent when nobody answers it, or not with 200."""
        try:
            answer = await self.ask(url, headers, seconds=PROBE_SECONDS, **more)
        except DetectionError as error:
            raise Absent(str(error)) from None
        if answer.status != 200:
            raise Absent(f"GET {url}: status {answer.status}")
        self.found = True
        return answer

    def _pool(self, socket: str) -> Pool:
        if socket not in self._pools:
            self._pools[socket] = Pool(unix=socket)
        return self._pools[socket]


async def pause(seconds: float) -> None:
    """Wait before a service is asked again."""
    await asyncio.sleep(seconds)


def fields(text: str, who: str) -> dict[str, Any]:
    """The object that an answer holds as JSON. Raises DetectionError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DetectionError(f"{who}: the answer is no JSON object")
    return found


def word(found: Mapping[str, Any], name: str) -> str:
    """A text of an object; "" when it is missing or is no text."""
    value = found.get(name)
    return value if isinstance(value, str) else ""
