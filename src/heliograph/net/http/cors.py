"""Cross-origin requests: which headers an answer gets. No I/O.

Follows the rules of the library that upstream uses (github.com/rs/cors, credentials allowed): a preflight is always
answered with 204, and says nothing about what it does not allow; an origin may hold one `*` for any characters.
Source: the Fetch standard, "CORS protocol".
"""

from collections.abc import Mapping

from heliograph.net.config import CORSConfig

_METHODS = ("GET", "POST", "HEAD")
_ALWAYS = frozenset({"accept", "content-type", "origin", "accept-language", "content-language"})


class Cors:
    """Decided once from the configuration, asked for each request."""

    def __init__(self, config: CORSConfig) -> None:
        origins = [origin.lower() for origin in config.allowed_origins]
        self._any_origin = "*" in origins
        self._origins = frozenset(origin for origin in origins if "*" not in origin)
        self._patterns = [origin.split("*", 1) for origin in origins if "*" in origin]
        self._any_header = "*" in config.allowed_headers
        named = [header.lower() for header in config.allowed_headers] or ["x-requested-with"]
        self._headers = _ALWAYS.union(named)
        self._exposed = ", ".join(config.exposed_headers)
        self._max_age = config.max_age
        self.enabled = bool(origins)

    def preflight(self, method: str, headers: Mapping[str, tuple[str, ...]]) -> dict[str, str] | None:
        """Headers of the 204 for a preflight, or None when the request is none. headers: names in lower case."""
        if method != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        answer = {"Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}
        wanted = headers["access-control-request-method"][0].upper()
        asked = ", ".join(headers.get("access-control-request-headers", ()))
        names = [name.strip().lower() for name in asked.split(",") if name.strip()]
        origin = headers.get("origin", ("",))[0]
        if wanted not in _METHODS or not self._allows(origin):
            return answer
        if not self._any_header and not self._headers.issuperset(names):
            return answer
        answer |= self._allow(origin) | {"Access-Control-Allow-Methods": wanted}
        if names:
            answer["Access-Control-Allow-Headers"] = asked
        if self._max_age > 0:
            answer["Access-Control-Max-Age"] = str(self._max_age)
        return answer

    def actual(self, headers: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
        """Headers to add to the answer of any other request."""
        answer = {"Vary": "Origin"}
        origin = headers.get("origin", ("",))[0]
        if self._allows(origin):
            answer |= self._allow(origin)
            if self._exposed:
                answer["Access-Control-Expose-Headers"] = self._exposed
        return answer

    def _allow(self, origin: str) -> dict[str, str]:
        return {
            "Access-Control-Allow-Origin": "*" if self._any_origin else origin,
            "Access-Control-Allow-Credentials": "true",
        }

    def _allows(self, origin: str) -> bool:
        if not origin:
            return False
        if self._any_origin or origin.lower() in self._origins:
            return True
        low = origin.lower()
        return any(
            len(low) >= len(start) + len(end) and low.startswith(start) and low.endswith(end)
            for start, end in self._patterns
        )
