"""URLs of requests, taken apart once each.

Source: RFC 3986; RFC 9110, 4.2; RFC 9112, 3.2.
"""

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote, urljoin, urlsplit

from heliograph.net.http.errors import Unsendable

_PORTS = {"http": 80, "https": 443}
_SAFE = "%/:=&?~#+!$,;'@()*[]|"


@dataclass(frozen=True, slots=True)
class Url:
    """Where a request goes. host: without brackets. authority: the value of Host. target: path and query. basic: the
    Authorization that a user and a password in the URL mean, or ""."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str
    basic: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """What a connection and credentials are for."""
        return self.scheme, self.host, self.port


@lru_cache(maxsize=256)
def parse(text: str) -> Url:
    """Raises Unsendable."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        if parts.scheme not in _PORTS or not host:
            raise ValueError
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:
        raise Unsendable(f"{text} is not a valid URL") from None
    if any(character <= " " or character == "\x7f" for character in host):
        raise Unsendable(f"{text} is not a valid URL")
    named = f"[{host}]" if ":" in host else host
    default = _PORTS[parts.scheme]
    target = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    authority = named if port in (None, default) else f"{named}:{port}"
    basic = ""
    if parts.username is not None:
        basic = basic_credentials(unquote(parts.username), unquote(parts.password or ""))
    return Url(parts.scheme, host, port or default, authority, target, basic)


def basic_credentials(user: str, password: str) -> str:
    """The value of Authorization for a user and a password. Source: RFC 7617."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def redirected(url: str, location: str) -> str:
    """Where Location leads from a URL."""
    return urljoin(url, location)
