"""Names and versions of user agents, by the rules of the ua-parser project (the same list Elastic's uses).

The rules are loaded when the first user agent is seen, and answers are remembered: a client sends the same one always.
"""

from functools import cache, lru_cache
from typing import Any


@lru_cache(maxsize=2048)
def name_and_version(user_agent: str) -> tuple[str, str]:
    """("Chrome", "51.0.2704"); ("Other", "") for an unknown one."""
    found = _parser().parse_user_agent(user_agent)
    if found is None:
        return "Other", ""
    parts = []
    for part in (found.major, found.minor, found.patch):
        if not part:
            break
        parts.append(part)
    return found.family, ".".join(parts)


@cache
def _parser() -> Any:
    import ua_parser

    return ua_parser.parser
