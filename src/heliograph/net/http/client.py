"""An HTTP/1.1 client for exporters: one pool of connections, bounded answers, errors as DeliveryErrors.

The keys are confighttp's. A connection that the server closed while it was idle is replaced once without ado; every
other network error is Retryable and names the URL. The time limit of a request is the caller's (delivery/ cancels).
"""

import io
import os
import platform
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from heliograph import __version__
from heliograph.component.auth import ClientAuth, with_credentials
from heliograph.component.batch import Context
from heliograph.component.errors import Permanent, Retryable, StartError
from heliograph.component.lifecycle import Host
from heliograph.net.compression import compress
from heliograph.net.config import HTTPClientConfig
from heliograph.net.tls import secure_client_context

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; the rest is thrown away."""
_WHOLE = 1 << 20  # bytes; aiohttp wants what is larger as a file, and writes it piece by piece
USER_AGENT = f"Heliograph/{__version__} ({platform.system().lower()}/{platform.machine()})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. content_type: in lower case, without parameters."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds from now that Retry-After names, as a number or as a date; None without it."""
        return retry_after(self.headers.get("Retry-After"), time.time())


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header; now: seconds since the epoch. None when it is absent or cannot be read.
    Source: RFC 9110, 10.2.3."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 10 else None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


class HttpClient:
    """Posts bodies. `open` before use."""

    def __init__(self, config: HTTPClientConfig) -> None:
        self._config = config
        self._level = config.compression_params.level
        self._encoding = "" if config.compression == "none" else config.compression
        self._auth: ClientAuth | None = None
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._fixed: dict[str, str] = {}

    async def open(self, host: Host, name: str) -> None:
        """Find the authenticator, load certificates. name: of the component, for messages. Raises StartError."""
        config = self._config
        if config.auth is not None:
            self._auth = host.extension(config.auth.authenticator, ClientAuth)  # type: ignore[type-abstract]
        try:
            self._tls = secure_client_context(config.tls, ("http/1.1",))
        except StartError as error:
            raise StartError(f"{name}: {error}") from None
        proxy = config.proxy_url
        if proxy and urlsplit(proxy).scheme not in ("http", "https"):
            raise StartError(f"{name}: proxy_url {proxy!r} must be an http:// or https:// URL")
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=config.max_conns_per_host,
            ssl=self._tls,
            force_close=config.disable_keep_alives,
            keepalive_timeout=None if config.disable_keep_alives else float(config.idle_conn_timeout) or 3600.0,
        )
        headers = {"User-Agent": USER_AGENT, **{name: f"{value:s}" for name, value in config.headers.items()}}
        self._fixed = {name.lower(): value for name, value in headers.items()}
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.CookieJar() if config.cookies is not None else aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=30.0),
            skip_auto_headers=("Accept-Encoding",) if "accept-encoding" in self._fixed else (),
        )

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS context, once open."""
        return self._tls

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(
        self, url: str, body: bytes, content_type: str, context: Context, more: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a body, compressed as configured. more: headers of this request, which win over the configured ones.
        Raises Retryable for whatever the network does, Permanent for a URL that cannot be."""
        headers = {"content-type": content_type}
        if self._encoding:
            body = compress(self._encoding, body, self._level)
            headers["content-encoding"] = self._encoding
        return await self._request("POST", url, body, headers, context, more)

    async def get(self, url: str, context: Context, more: Mapping[str, str] | None = None) -> Answer:
        """Ask. Arguments and errors as those of `post`."""
        return await self._request("GET", url, None, {}, context, more)

    async def _request(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: dict[str, str],
        context: Context,
        more: Mapping[str, str] | None,
    ) -> Answer:
        session = self._session
        if session is None:
            raise Retryable(f"{url}: not started")
        fixed = {name: value for name, value in self._fixed.items() if name not in headers}
        headers = await with_credentials(self._auth, {**headers, **fixed}, context)
        headers |= {name.lower(): value for name, value in (more or {}).items()}
        try:
            try:
                return await self._exchange(session, method, url, body, headers)
            except aiohttp.ServerDisconnectedError:
                return await self._exchange(session, method, url, body, headers)
        except aiohttp.InvalidURL:
            raise Permanent(f"{url} is not a valid URL", code=3) from None
        except (aiohttp.ClientError, OSError, EOFError) as error:
            raise Retryable(f"{url}: {_reason(error)}") from error

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        async with session.request(
            method,
            url,
            data=body if body is None or len(body) < _WHOLE else io.BytesIO(body),
            headers=headers,
            proxy=self._config.proxy_url or _environment_proxy(url),
            server_hostname=self._config.tls.server_name_override or None,
        ) as response:
            pieces = bytearray()
            while len(pieces) < MAX_ANSWER and (piece := await response.content.read(MAX_ANSWER - len(pieces))):
                pieces += piece
            return Answer(response.status, response.headers, response.content_type, bytes(pieces))


@cache
def _environment_proxy(url: str) -> str | None:
    """The proxy that the environment names for a URL. Looked up once: aiohttp would do it for every request."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.netloc):
        return None
    return getproxies().get(parts.scheme)


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the server's certificate is not accepted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ssl.SSLError):
        # Its errno is OpenSSL's, not the system's.
        return f"TLS: {(error.os_error.reason or str(error.os_error)).replace('_', ' ').lower()}; is TLS spoken there?"
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        number = error.os_error.errno
        return f"cannot connect: {os.strerror(number) if number > 0 else error.os_error.strerror}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer; does it want TLS, or a client certificate?"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
