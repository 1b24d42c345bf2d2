"""A mistake in the configuration: where, what, and what to write instead.

One line each, and all of them at once:

    agent.yaml:12:5: exporters::otlp_grpc::endpont: unknown key; did you mean "endpoint"?

Rules: the value is shown only when it is no secret and of moderate length; an unknown key's value is never shown (it
may be a misspelt password).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from heliograph.component.config import Node, Origin
from heliograph.component.errors import ConfigError

_SHOWN = 80
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. path: keys from the root; problem: what is wrong; fix: what to write instead, or ""."""

    origin: Origin
    path: tuple[str, ...]
    problem: str
    fix: str = ""

    def __str__(self) -> str:
        where = f"{'::'.join(self.path)}: " if self.path else ""
        return f"{self.origin}: {where}{self.problem}{'; ' if self.fix else ''}{self.fix}"


class InvalidConfig(ConfigError):
    """Mistakes in the configuration, sorted by place; `str()` has one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        unique = dict.fromkeys(problems)
        self.problems = tuple(sorted(unique, key=lambda p: (p.origin.source, p.origin.line, p.origin.column, p.path)))
        super().__init__("\n".join(map(str, self.problems)))


def shown(value: object) -> str:
    """A scalar as it may be shown in a message: quoted, cut, without the credentials of a URL."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return str(value)
    text = without_credentials(value)
    if len(text) > _SHOWN:
        text = text[:_SHOWN] + "..."
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def without_credentials(text: str) -> str:
    """The text with `user:password@` of URLs redacted."""
    return _CREDENTIALS.sub("[REDACTED]@", text)


def described(node: Node) -> str:
    """What a node holds, in words, for "expected ..., found ..."."""
    value = node.value
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return shown(value)
    return f"the text {shown(value)}" if isinstance(value, str) else f"the number {value}"


def nearest(name: str, known: Sequence[str]) -> str:
    """`did you mean "x"?` with the most similar of the known names, or ""."""
    lower = {candidate.lower(): candidate for candidate in reversed(known)}
    from difflib import get_close_matches

    match = get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f'did you mean "{lower[match[0]]}"?' if match else ""
