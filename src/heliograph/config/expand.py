"""Expansion: `${env:X}`, `${X}`, `${env:X:-default}`, `${file:path}`, `${yaml:...}`, `$$` in every value of a tree.

Rules, observed on the Collector 0.156 (confmap/expand.go):

- a value that is one reference takes the YAML meaning of what was found (`true`, `0123` = 83, `[a, b]`), and keeps the
  original text for text fields; found text stays as it was written, quotes included;
- inside other text the original is inserted and the result stays text;
- what was found is expanded again; the first `}` closes the last `${` before it, so references nest;
- an odd number of `$` before `${` escapes it; at the end each `$$` becomes `$`;
- a variable that is not set is null, or nothing inside other text, with a warning.

Different from upstream on purpose: a reference behind an escaped one is expanded too. Keys are never expanded.
"""

from collections.abc import Mapping
from dataclasses import replace

from heliograph.component.config import Node
from heliograph.config.problem import InvalidConfig, Problem
from heliograph.config.sources import SCHEMES, SourceError, retrieve, split_uri
from heliograph.config.tree import moved, parse

MAX_ROUNDS = 1000
MAX_TEXT = 1024 * 1024
MAX_LOOKUPS = 20_000
MAX_DEPTH = 100


class _Stop(Exception):
    """A mistake in one value; the others are still expanded."""

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.fix = fix


class Expansion:
    """Expands a tree. problems and warnings: what was found on the way."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lookups = 0
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def expand(self, node: Node, depth: int = 0) -> Node:
        """The tree with all references replaced. A value with a mistake in it becomes null."""
        value = node.value
        if isinstance(value, dict):
            return replace(node, value={name: self.expand(child, depth + 1) for name, child in value.items()})
        if isinstance(value, list):
            return replace(node, value=[self.expand(child, depth + 1) for child in value])
        if not isinstance(value, str) or "$" not in value:
            return node
        try:
            return self._scalar(node, value, depth)
        except _Stop as stop:
            self.problems.append(Problem(node.origin, node.path, str(stop), stop.fix))
        except InvalidConfig as error:
            self.problems += error.problems
        return Node(None, node.origin, node.path, "")

    def _scalar(self, node: Node, text: str, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _Stop("expands to more and more levels", "does a value refer to itself?")
        origin = node.origin
        for _ in range(MAX_ROUNDS):
            place = _find(text)
            if place is None:
                return replace(node, value=_unescaped(text), origin=origin, text=None)
            start, end = place
            uri = text[start + 2 : end - 1]
            name, raw = self._lookup(uri, node)
            origin = replace(origin, via=name)
            if (start, end) != (0, len(text)):
                text = text[:start] + (raw or "") + text[end:]
                if len(text) > MAX_TEXT:
                    raise _Stop(f"expands to more than {MAX_TEXT} characters", "does a value refer to itself?")
                continue
            if raw is None:
                return replace(node, value=None, origin=origin, text="")
            found = self._meaning(raw, replace(node, origin=origin))
            if isinstance(found.value, str) and found.text is None:
                text = raw
                continue
            if isinstance(found.value, dict | list):
                return replace(self.expand(found, depth + 1), text=self._original(raw, node))
            return replace(found, text=raw)
        raise _Stop("expands without end", "does a value refer to itself?")

    def _meaning(self, raw: str, node: Node) -> Node:
        """What was found, read as YAML; itself when it is no YAML or plain text there."""
        try:
            found = parse(raw, node.origin)
        except InvalidConfig:
            return replace(node, value=raw, text=None)
        if isinstance(found.value, str) and found.text is None:
            return replace(node, value=raw, text=None)
        return replace(moved(found, node.path), origin=node.origin)

    def _original(self, raw: str, node: Node) -> str | None:
        """The text form of a list or map that was found, for text fields; None when it cannot be expanded."""
        text = raw
        for _ in range(MAX_ROUNDS):
            place = _find(text)
            if place is None:
                return _unescaped(text)
            start, end = place
            try:
                _, found = self._lookup(text[start + 2 : end - 1], node)
            except _Stop:
                return None
            text = text[:start] + (found or "") + text[end:]
            if len(text) > MAX_TEXT:
                return None
        return None

    def _lookup(self, uri: str, node: Node) -> tuple[str, str | None]:
        """What a reference means: a name of the place for people, and the text (None: not set)."""
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise _Stop(f"more than {MAX_LOOKUPS} references were expanded", "does a value refer to itself?")
        if "$" in uri:
            raise _Stop(f'"${{{uri}}}" has a $ in it that means nothing there', "write ${env:NAME}")
        parts = split_uri(uri) if ":" in uri else ("env", uri)
        if parts is None or parts[0] not in SCHEMES:
            name, dash, default = uri.partition(":-")
            fix = (
                f"write ${{env:{name}:-{default}}}"
                if dash
                else f"schemes are {', '.join(SCHEMES)}; $${{ is a plain ${{"
            )
            scheme = uri.partition(":")[0]
            raise _Stop(f'scheme "{scheme}" is not supported', fix)
        scheme, value = parts
        try:
            text = retrieve(scheme, value, self._environ)
        except SourceError as error:
            raise _Stop(f'"${{{uri}}}": {error}', error.fix) from None
        if scheme == "env":
            name, dash, _ = value.partition(":-")
            if text is None:
                where = Problem(node.origin, node.path, f"environment variable {name} is not set")
                self.warnings.append(str(where))
            unset = dash and name not in self._environ
            return (f"default, environment {name} is not set" if unset else f"environment {name}"), text
        return (scheme if scheme == "yaml" else f"{scheme}:{value}"), text


def _find(text: str) -> tuple[int, int] | None:
    """Where the first reference to expand begins and ends."""
    position = 0
    while True:
        close = text.find("}", position)
        if close < 0:
            return None
        start = text.rfind("${", position, close)
        if start >= 0:
            dollars = len(text[:start]) - len(text[:start].rstrip("$"))
            if dollars % 2 == 0:
                return start, close + 1
        position = close + 1


def _unescaped(text: str) -> str:
    return text.replace("$$", "$")
