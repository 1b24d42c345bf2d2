"""Bulk requests over HTTP: nodes in turn, credentials, compression. Foreign errors end here, as Unreachable.

A node that does not answer is left out for a while (1 s, doubled each time up to 60 s), and the request goes to the
next one; when none answers, the caller waits. Redirects are not followed: a POST would become a GET.
"""

import asyncio
import logging
import platform
import ssl
import sys
import zlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from isal import igzip

from heliograph import __version__
from heliograph.component.auth import ClientAuth, with_credentials
from heliograph.component.batch import NO_CONTEXT, Context
from heliograph.component.clock import Clock
from heliograph.component.lifecycle import Host
from heliograph.exporters.elasticsearch.config import DEFAULT_FILTER_PATH, ElasticsearchConfig
from heliograph.exporters.elasticsearch.discover import addresses
from heliograph.net.http.client import jar, retry_after
from heliograph.net.http.errors import CertificateRefused, ConnectFailed, Disconnected, TransportError
from heliograph.net.http.exchange import Answering
from heliograph.net.http.pool import Pool, environment_proxy
from heliograph.net.tls import keep_fresh, secure_client_context

Log = logging.LoggerAdapter[logging.Logger]

_IN_A_THREAD = 64 * 1024
_MOST_ANSWER = 64 * 1024 * 1024
_LONGEST_REST = 60.0
_FOR_EVER = 3600.0


class Unreachable(Exception):
    """No usable answer. The message names the address and the cause. sent: the request may have been carried out."""

    def __init__(self, message: str, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. after: seconds that the server asks to wait, or None. wire: bytes of the body that was sent."""

    url: str
    status: int
    body: bytes
    after: float | None
    wire: int


@dataclass(slots=True)
class _Node:
    """One address. label: for messages, without credentials."""

    label: str
    base: str
    authorization: str
    failures: int = 0
    rests_until: float = 0.0


class Client:
    """The connection of one exporter. `open` before use, `close` at the end."""

    def __init__(self, config: ElasticsearchConfig) -> None:
        self._config = config
        self._nodes = [_node(url, config) for url in config.urls()]
        self._query = urlencode(_query(config), quote_via=quote)
        self._next = 0
        self._pool: Pool | None = None
        self._auth: ClientAuth | None = None
        self._clock: Clock | None = None

    @property
    def label(self) -> str:
        """All addresses, for messages."""
        return ", ".join(node.label for node in self._nodes)

    async def open(self, host: Host, log: Log) -> None:
        """Make contexts and look up the extension; no request is sent. Raises StartError."""
        config = self._config
        self._clock = host.clock
        if config.auth is not None:
            self._auth = host.extension(config.auth.authenticator, ClientAuth)  # type: ignore[type-abstract]
        context: ssl.SSLContext | None = None
        if any(node.base.startswith("https:") for node in self._nodes):
            context = secure_client_context(config.tls)
            if config.tls.reload_interval > 0:
                host.spawn(keep_fresh(context, config.tls, host.clock, log), "TLS certificate")
        self._pool = Pool(
            tls=context,
            per_host=config.max_conns_per_host,
            idle_seconds=0.0 if config.disable_keep_alives else float(config.idle_conn_timeout) or _FOR_EVER,
            cookies=jar(config.cookies),
        )
        if config.discover.on_start or config.discover.interval > 0:
            host.spawn(self._discover(host.clock, log), "node discovery")

    async def _discover(self, clock: Clock, log: Log) -> None:
        """Renew the list of nodes; what does not work changes nothing."""
        interval = self._config.discover.interval
        if self._config.discover.on_start:
            await self._ask_for_nodes(log)
        while interval > 0:
            await clock.sleep(interval)
            await self._ask_for_nodes(log)

    async def _ask_for_nodes(self, log: Log) -> None:
        node = self._in_turn()[0]
        try:
            reply = await self._send(node, "GET", "/_nodes/http", None, {}, NO_CONTEXT)
        except Unreachable as error:
            log.warning("the cluster's nodes cannot be asked for: %s", error)
            return
        known = {known.base: known for known in self._nodes}
        found = addresses(reply.body, urlsplit(node.base).scheme) if reply.status == 200 else []
        if not found:
            log.warning("%s names no nodes (HTTP %d): the known ones stay in use", node.label, reply.status)
            return
        self._nodes = [known.get(base) or _Node(base, base, node.authorization) for base in found]
        self._next %= len(self._nodes)

    async def close(self) -> None:
        """Close all connections. Safe twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def bulk(self, body: bytes, documents: int, context: Context) -> Reply:
        """Send NDJSON. Raises Unreachable."""
        headers = {
            "Content-Type": "application/json",
            "X-Elastic-Event-Count": str(documents),
            "X-Elastic-Uncompressed-Request-Length": str(len(body)),
        }
        if self._config.compression == "gzip":
            headers["Content-Encoding"] = "gzip"
            if len(body) > _IN_A_THREAD:
                body = await asyncio.to_thread(_gzip, body, self._config.compression_params.level)
            else:
                body = _gzip(body, self._config.compression_params.level)
        return await self._try_nodes("POST", f"/_bulk?{self._query}", body, headers, context)

    async def get(self, path: str, context: Context) -> Reply:
        """Ask a node. Raises Unreachable."""
        return await self._try_nodes("GET", path, None, {}, context)

    async def _try_nodes(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], context: Context
    ) -> Reply:
        assert self._clock is not None
        problems: list[str] = []
        for node in self._in_turn():
            try:
                reply = await self._send(node, method, path, body, headers, context)
            except Unreachable as error:
                node.failures += 1
                node.rests_until = self._clock.monotonic() + min(2.0 ** (node.failures - 1), _LONGEST_REST)
                problems.append(str(error))
                if error.sent:
                    raise
                continue
            node.failures = 0
            node.rests_until = 0.0
            return reply
        raise Unreachable("; ".join(problems), False)

    def _in_turn(self) -> list[_Node]:
        """All nodes, the next one first, those that rest last."""
        assert self._clock is not None
        now = self._clock.monotonic()
        order = self._nodes[self._next :] + self._nodes[: self._next]
        self._next = (self._next + 1) % len(self._nodes)
        return sorted(order, key=lambda node: node.rests_until > now)

    async def _send(
        self, node: _Node, method: str, path: str, body: bytes | None, headers: Mapping[str, str], context: Context
    ) -> Reply:
        pool = self._pool
        if pool is None or self._clock is None:
            raise Unreachable(f"{node.label}: the exporter is closed", False)
        answered = False
        try:
            async with (
                asyncio.timeout(self._config.timeout or None),
                pool.request(
                    method,
                    f"{node.base}{path}",
                    await self._headers(node, headers, context),
                    body,
                    proxy=self._config.proxy_url or environment_proxy(node.base),
                    server_name=self._config.tls.server_name_override,
                ) as answer,
            ):
                answered = True
                content = await _bounded(answer)
                after = retry_after(answer.headers.get("retry-after"), self._clock.now_ns() / 1e9)
                return Reply(node.label, answer.status, content, after, len(body or b""))
        except TimeoutError:
            raise Unreachable(f"{node.label}: no answer within {self._config.timeout:g} s", True) from None
        except CertificateRefused as error:
            problem = f"{node.label}: its certificate is not accepted: {error}; check tls::ca_file"
            raise Unreachable(problem, False) from None
        except ConnectFailed as error:
            raise Unreachable(f"{node.label}: cannot connect: {error}", False) from None
        except (TransportError, OSError, ValueError) as error:
            what = "the answer was cut off" if answered else "the connection failed"
            why = "closed by the server without an answer" if isinstance(error, Disconnected) else error
            raise Unreachable(f"{node.label}: {what}: {why or type(error).__name__}", answered) from None

    async def _headers(self, node: _Node, headers: Mapping[str, str], context: Context) -> dict[str, str]:
        all_headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", **headers}
        if node.authorization:
            all_headers["Authorization"] = node.authorization
        for name, value in self._config.headers.items():
            all_headers[name] = f"{value:s}"
        return all_headers if self._auth is None else await with_credentials(self._auth, all_headers, context)


USER_AGENT = f"Heliograph/{__version__} ({sys.platform}/{platform.machine()})"


def _gzip(body: bytes, level: int) -> bytes:
    if level == 1:
        fast: bytes = igzip.compress(body, 1)
        return fast
    compressor = zlib.compressobj(level or -1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()


async def _bounded(answer: Answering) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in answer.iter_any():
        size += len(piece)
        if size > _MOST_ANSWER:
            raise ValueError(f"the answer has more than {_MOST_ANSWER} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _node(url: str, config: ElasticsearchConfig) -> _Node:
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    base = urlunsplit((split.scheme, host, split.path.rstrip("/"), "", ""))
    user: str = config.user
    password: str = f"{config.password:s}"
    if split.username:
        user, password = split.username, split.password or ""
    authorization = ""
    if config.api_key:
        authorization = f"ApiKey {config.api_key:s}"
    elif user and password:
        authorization = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    return _Node(base, base, authorization)


def _query(config: ElasticsearchConfig) -> dict[str, Any]:
    """Parameters of each request; those written in the first address stay."""
    query = dict(parse_qsl(urlsplit(config.urls()[0]).query, keep_blank_values=True))
    if config.pipeline:
        query["pipeline"] = config.pipeline
    query["filter_path"] = config.bulk_response_filter_path or DEFAULT_FILTER_PATH
    if config.include_source_on_error is not None:
        query["include_source_on_error"] = str(config.include_source_on_error).lower()
    return dict(sorted(query.items()))
