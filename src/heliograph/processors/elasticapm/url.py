"""URLs as Go's net/url reads and writes them, since `destination.*` and `url.original` come from there.

It differs from Python's: a port that is no number and a bad escape make the URL unreadable, an unescaped character in
the path is escaped when it is written again, the host keeps its case and its port its text.
Source: the documentation of Go's net/url, and RFC 3986.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+\-.]*")
_PORT = re.compile(r"(:[0-9]*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_HOST = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"%\x80-\U0010ffff]*")
_PATH_IS_ENCODED = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:@\[\]/%]*")
_FRAGMENT_IS_ENCODED = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:@\[\]/?%]*")
_USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORTS = {"http": 80, "https": 443}


@dataclass(slots=True)
class Url:
    """A parsed URL; `text` writes it again. opaque: what follows the scheme of a URL such as mailto:a@b."""

    scheme: str = ""
    opaque: str = ""
    user: str | None = None
    host: str = ""
    path: str = ""
    query: str | None = None
    fragment: str = ""

    def hostname(self) -> str:
        """The host without port and brackets."""
        return self._split_host()[0]

    def port(self) -> str:
        """The digits of the port, or ""."""
        return self._split_host()[1]

    def default_port(self) -> int:
        """The port of the scheme, 0 for schemes other than http and https."""
        return _PORTS.get(self.scheme, 0)

    def text(self) -> str:
        """The URL written out."""
        out = f"{self.scheme}:" if self.scheme else ""
        if self.opaque:
            out += self.opaque
        else:
            path = _encoded(self.path, _PATH_IS_ENCODED, "/:@&=+$,;")
            if self.host or self.user is not None or (self.scheme and path.startswith("//")):
                user = "" if self.user is None else f"{self.user}@"
                out += f"//{user}{_written_host(self.host)}"
                if path and not path.startswith("/") and self.host:
                    out += "/"
            elif not out and ":" in path.partition("/")[0]:
                out += "./"
            out += path
        if self.query is not None:
            out += f"?{self.query}"
        if self.fragment:
            out += "#" + _encoded(self.fragment, _FRAGMENT_IS_ENCODED, "/:@&=+$,;?")
        return out

    def origin(self) -> str:
        """Scheme and host alone."""
        return Url(scheme=self.scheme, host=self.host).text()

    def _split_host(self) -> tuple[str, str]:
        host, port = self.host, ""
        colon = host.rfind(":")
        if colon >= 0 and _PORT.fullmatch(host, colon):
            host, port = host[:colon], host[colon + 1 :]
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        return host, port


def join_host_port(host: str, port: int) -> str:
    """host:port, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(text: str) -> Url | None:
    """Read a URL or a reference; None when it cannot be read. Its path stays as it was written."""
    rest, _, fragment = text.partition("#")
    if any(ord(character) < 0x20 or character == "\x7f" for character in rest) or _BAD_ESCAPE.search(fragment):
        return None
    url = Url(fragment=fragment)
    if rest == "*":
        url.path = "*"
        return url
    found = _SCHEME.match(rest)
    if rest.startswith(":"):
        return None
    if found and rest[found.end() : found.end() + 1] == ":":
        url.scheme, rest = found[0].lower(), rest[found.end() + 1 :]
    if "?" in rest:
        rest, _, url.query = rest.partition("?")
    if not rest.startswith("/"):
        if url.scheme:
            url.opaque = rest
            return url
        if ":" in rest.partition("/")[0]:
            return None
    if rest.startswith("//") and (url.scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        if not _read_authority(authority, url):
            return None
    if _BAD_ESCAPE.search(rest):
        return None
    url.path = rest
    return url


def _read_authority(authority: str, url: Url) -> bool:
    user, at, host = authority.rpartition("@")
    if at:
        if not _USER.fullmatch(user) or _BAD_ESCAPE.search(user):
            return False
        url.user = user
    if host.startswith("["):
        bracket = host.rfind("]")
        if bracket < 0 or not _PORT.fullmatch(host, bracket + 1):
            return False
    elif ":" in host and not _PORT.fullmatch(host, host.rfind(":")):
        return False
    if not _HOST.fullmatch(host) or _BAD_ESCAPE.search(host):
        return False
    if "%" in host:
        raw = unquote_to_bytes(host)
        host = raw.decode("utf-8", "replace")
    url.host = host
    return True


def _written_host(host: str) -> str:
    return quote_from_bytes(host.encode("utf-8", "replace"), safe="!$&'()*+,;=:[]<>\"-_.~")


def _encoded(text: str, as_it_is: "re.Pattern[str]", safe: str) -> str:
    if as_it_is.fullmatch(text):
        return text
    return quote_from_bytes(unquote_to_bytes(text), safe=safe)
