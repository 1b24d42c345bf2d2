"""Cookies of servers, kept and sent back: for load balancers that stick clients to a server by one.

The rules are the standard library's (RFC 6265 and Netscape's), which wants to be shown requests and answers of its own
kind. Imported only where `cookies` is configured.
"""

from email.message import Message
from http.cookiejar import CookieJar
from typing import Any, cast
from urllib.request import Request

MOST = 1000
"""Cookies that are kept; one more empties the jar."""


class Cookies:
    """Those of one client."""

    def __init__(self) -> None:
        self._jar = CookieJar()

    def header(self, url: str) -> str:
        """The value of Cookie for a request, or ""."""
        request = Request(url)
        self._jar.add_cookie_header(request)
        return request.get_header("Cookie") or ""

    def take(self, url: str, set_cookie: list[str]) -> None:
        """Keep what an answer says in Set-Cookie."""
        self._jar.extract_cookies(cast("Any", _Shown(set_cookie)), Request(url))
        if len(self._jar) > MOST:
            self._jar.clear()


class _Shown:
    """An answer as the jar reads one."""

    def __init__(self, set_cookie: list[str]) -> None:
        self._message = Message()
        for value in set_cookie:
            self._message["Set-Cookie"] = value

    def info(self) -> Message:
        """Its headers."""
        return self._message
