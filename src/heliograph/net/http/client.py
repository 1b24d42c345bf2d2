"""An HTTP/1.1 client for exporters: one pool of connections, bounded answers, errors as DeliveryErrors.

The keys are confighttp's. A connection that the server closed while it was idle is replaced once without ado; every
other network error is Retryable and names the URL. The time limit of a request is the caller's (delivery/ cancels).
"""

import platform
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from heliograph import __version__
from heliograph.component.auth import ClientAuth, with_credentials
from heliograph.component.batch import Context
from heliograph.component.errors import Permanent, Retryable, StartError
from heliograph.component.lifecycle import Host
from heliograph.net.compression import compress
from heliograph.net.config import CookiesConfig, HTTPClientConfig
from heliograph.net.http.errors import (
    BrokenAnswer,
    CertificateRefused,
    ConnectFailed,
    Disconnected,
    TransportError,
    Unsendable,
)
from heliograph.net.http.pool import MOST_REDIRECTS, Pool, environment_proxy
from heliograph.net.tls import secure_client_context

if TYPE_CHECKING:
    from heliograph.net.http.cookies import Cookies

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; the rest is thrown away."""
_FOR_EVER = 3600.0
USER_AGENT = f"Heliograph/{__version__} ({platform.system().lower()}/{platform.machine()})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. headers: names in lower case. content_type: in lower case, without parameters."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds from now that Retry-After names, as a number or as a date; None without it."""
        return retry_after(self.headers.get("retry-after"), time.time())


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds of a Retry-After header; now: seconds since the epoch. None when it is absent or cannot be read.
    Source: RFC 9110, 10.2.3."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value) if len(value) < 10 else None
    from email.utils import parsedate_to_datetime  # not small, and seldom needed

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
        self._pool: Pool | None = None
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
        headers = {"User-Agent": USER_AGENT, **{name: f"{value:s}" for name, value in config.headers.items()}}
        self._fixed = {name.lower(): value for name, value in headers.items()}
        self._pool = Pool(
            tls=self._tls,
            per_host=config.max_conns_per_host,
            idle_seconds=0.0 if config.disable_keep_alives else float(config.idle_conn_timeout) or _FOR_EVER,
            cookies=jar(config.cookies),
        )

    @property
    def tls(self) -> ssl.SSLContext | None:
        """The TLS context, once open."""
        return self._tls

    async def close(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

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
        pool = self._pool
        if pool is None:
            raise Retryable(f"{url}: not started")
        fixed = {name: value for name, value in self._fixed.items() if name not in headers}
        headers = await with_credentials(self._auth, {**headers, **fixed}, context)
        headers |= {name.lower(): value for name, value in (more or {}).items()}
        try:
            async with pool.request(
                method,
                url,
                headers,
                body,
                proxy=self._config.proxy_url or environment_proxy(url),
                server_name=self._config.tls.server_name_override,
                redirects=MOST_REDIRECTS,
            ) as answer:
                content = await answer.read(MAX_ANSWER)
                return Answer(answer.status, answer.headers, answer.content_type, content)
        except Unsendable as error:
            raise Permanent(str(error), code=3) from None
        except (TransportError, OSError, EOFError) as error:
            raise Retryable(f"{url}: {_reason(error)}") from error


def jar(config: CookiesConfig | None) -> "Cookies | None":
    """Where cookies are kept, when they are."""
    if config is None:
        return None
    from heliograph.net.http.cookies import Cookies  # the standard library's are not small

    return Cookies()


def _reason(error: Exception) -> str:
    if isinstance(error, CertificateRefused):
        return f"the server's certificate is not accepted: {error}"
    if isinstance(error, ConnectFailed):
        return str(error) if isinstance(error.cause, ssl.SSLError) else f"cannot connect: {error}"
    if isinstance(error, Disconnected):
        return "the server closed the connection without an answer; does it want TLS, or a client certificate?"
    if isinstance(error, BrokenAnswer):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
