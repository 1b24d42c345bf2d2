"""include/exclude filters by name, as upstream's filterset: `match_type: strict` or `regexp` and a list."""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

Matcher = Callable[[str], bool]


class MatchType(StrEnum):
    """How names are compared."""

    STRICT = "strict"
    REGEXP = "regexp"


def check_filter(name: str, names: Sequence[str], match_type: MatchType | None) -> Iterator[tuple[str, str]]:
    """Problems of a filter, as (key, problem)."""
    if names and match_type is None:
        yield "match_type", "must be strict or regexp when names are given"
    for pattern in names:
        if match_type is MatchType.REGEXP:
            try:
                re.compile(pattern)
            except re.error as error:
                yield name, f"invalid regular expression {pattern!r}: {error}"


def matcher(names: Sequence[str], match_type: MatchType | None) -> Matcher | None:
    """A test of a name; None when no names are given. A regular expression may match anywhere, as in Go."""
    if not names:
        return None
    if match_type is MatchType.REGEXP:
        search = re.compile("|".join(f"(?:{pattern})" for pattern in names)).search
        return lambda name: search(name) is not None
    return frozenset(names).__contains__


def chosen(name: str, include: Matcher | None, exclude: Matcher | None) -> bool:
    """Included and not excluded."""
    return (include is None or include(name)) and (exclude is None or not exclude(name))
