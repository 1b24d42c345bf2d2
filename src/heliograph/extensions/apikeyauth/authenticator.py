"""Lets a request in when Elasticsearch says that its API key may do what is asked for.

A key is asked about once, however many requests show it at the same time, and again after `cache::ttl`. While
Elasticsearch cannot be asked, senders are told to keep their data: UNAVAILABLE / 503, never "unauthenticated"; health
and log say so. What is remembered stays good meanwhile, until its time is over.
"""

import asyncio
import base64
import binascii
import random
from collections.abc import Mapping

from heliograph.component.auth import Unauthenticated
from heliograph.component.batch import NO_CONTEXT
from heliograph.component.errors import DeliveryError, Permanent, Retryable
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host, Status
from heliograph.extensions.apikeyauth.config import APIKeyAuthConfig
from heliograph.extensions.apikeyauth.privileges import (
    AUTHENTICATE,
    HAS_PRIVILEGES,
    TRANSIENT,
    question,
    read_answer,
)
from heliograph.extensions.apikeyauth.verdicts import Verdict, Verdicts
from heliograph.net.http.client import Answer, HttpClient

_AT_ONCE = 64
_LONGEST_HEADER = 4096
_INVALID_ARGUMENT = 3
Headers = Mapping[str, tuple[str, ...]]


class APIKeyAuth:
    """A ServerAuth. What it finds out: username, api_key (the key's id)."""

    def __init__(self, settings: Settings, config: APIKeyAuthConfig) -> None:
        self._name = f"extension {settings.id}"
        self._log = settings.telemetry.log
        self._config = config
        self._url = config.endpoint.rstrip("/")
        self._client = HttpClient(config)
        self._verdicts = Verdicts(config.cache.capacity, config.cache.ttl)
        self._parting = [name.lower() for name in (*config.cache.key_headers, *config.cache.key_metadata)]
        self._running: dict[bytes, asyncio.Task[Verdict | DeliveryError]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._host: Host | None = None
        self._well = True

    async def start(self, host: Host) -> None:
        """Load certificates; nothing is asked yet. Raises StartError."""
        await self._client.open(host, self._name)
        self._host = host
        host.report(Status.OK)

    async def shutdown(self, deadline: float) -> None:
        """End checks that run, forget all keys, close connections."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._verdicts.clear()
        await self._client.close()

    async def authenticate(self, headers: Headers, path: str) -> Mapping[str, str]:
        """Accept a request whose key has the privileges. Raises Unauthenticated, PermissionDenied, Retryable when
        Elasticsearch cannot be asked, Permanent when a header is missing that the configuration asks for."""
        if self._host is None:
            raise Retryable(f"{self._name}: not started")
        given, key_id = _credentials(headers)
        digest = self._verdicts.digest((given, *self._parts(headers)))
        verdict = self._verdicts.find(digest, self._host.clock.monotonic())
        if verdict is None:
            task = self._running.get(digest)
            if task is None:
                task = asyncio.get_running_loop().create_task(self._check(digest, headers, given, key_id))
                self._running[digest] = task
                task.add_done_callback(lambda _: self._running.pop(digest, None))
            found = await asyncio.shield(task)
            if isinstance(found, Verdict):
                verdict = found
            elif isinstance(found, Permanent):
                raise Permanent(str(found), found.code)
            else:
                wait = self._config.client_retry
                after = float(wait.retry_delay) if wait.enabled else None
                raise Retryable("the API key cannot be checked now: send it again later", after)
        return verdict.told()

    def _parts(self, headers: Headers) -> list[str]:
        """Values that part the memory: those of dynamic resources all count. Raises Permanent."""
        parts = []
        for name in self._parting:
            values = headers.get(name, ())
            if not values:
                raise Permanent(f"missing header {name!r}, which belongs to the API key", _INVALID_ARGUMENT)
            parts.append("\0".join(values))
        return parts

    async def _check(self, digest: bytes, headers: Headers, given: str, key_id: str) -> Verdict | DeliveryError:
        assert self._host is not None
        try:
            async with asyncio.timeout(float(self._config.timeout) or None), self._room:
                verdict = await self._ask(headers, given, key_id)
        except TimeoutError:
            error: DeliveryError = Retryable(f"{self._url}: no answer within {self._config.timeout:g} s")
        except DeliveryError as problem:
            error = problem
        except Exception as problem:  # noqa: BLE001 - whoever waits for this task is told, whatever happened
            self._log.exception("the check of an API key failed")
            error = Retryable(f"{type(problem).__name__}: {problem}")
        else:
            self._verdicts.keep(digest, verdict, self._host.clock.monotonic())
            self._report(None)
            return verdict
        if isinstance(error, Retryable):
            self._report(error)
        return error

    async def _ask(self, headers: Headers, given: str, key_id: str) -> Verdict:
        assert self._host is not None
        wanted = self._config.application_privileges
        body = question(wanted, headers) if wanted else None
        retry = self._config.attempts
        pause = float(retry.initial_interval)
        left = retry.max_retries if retry.enabled else 0
        while True:
            try:
                answer = await self._send(given, body)
            except Retryable:
                if left <= 0:
                    raise
            else:
                if answer.status not in TRANSIENT or left <= 0:
                    return read_answer(answer.status, answer.body, key_id)
            left -= 1
            await self._host.clock.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, float(retry.max_interval))

    async def _send(self, given: str, body: bytes | None) -> Answer:
        own = {"Authorization": given}
        if body is None:
            return await self._client.get(self._url + AUTHENTICATE, NO_CONTEXT, own)
        return await self._client.post(self._url + HAS_PRIVILEGES, body, "application/json", NO_CONTEXT, own)

    def _report(self, error: Retryable | None) -> None:
        assert self._host is not None
        if error is None:
            if not self._well:
                self._log.info("API keys can be checked again")
            self._well = True
            self._host.report(Status.OK)
            return
        if self._well:
            self._log.error("API keys cannot be checked, senders are told to keep their data: %s", error)
        self._well = False
        self._host.report(Status.RECOVERABLE_ERROR, f"{self._name}: API keys cannot be checked: {error}")


def _credentials(headers: Headers) -> tuple[str, str]:
    """The header as it goes to Elasticsearch, and the key's id. Raises Unauthenticated."""
    given = headers.get("authorization", ("",))[0]
    if not given:
        raise Unauthenticated('missing header "Authorization", expected "ApiKey <value>"')
    scheme, _, encoded = given.partition(" ")
    if scheme.lower() != "apikey":
        raise Unauthenticated("ApiKey prefix not found, expected ApiKey <value>")
    if len(encoded) > _LONGEST_HEADER:
        raise Unauthenticated("invalid API Key")
    try:
        id, colon, _ = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        raise Unauthenticated("invalid API Key") from None
    if not colon:
        raise Unauthenticated("invalid API Key")
    return f"ApiKey {encoded}", id
