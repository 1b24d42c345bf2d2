"""Lucene's query-string syntax -> a tree.

    ("all",)  ("and", [..])  ("or", [..])  ("not", tree)
    ("word" | "phrase" | "wildcard" | "regex", field or None, text)
    ("range", field, {"gte": .., "lt": ..})

Supported: field:value, field:"a phrase", field:(a OR b), AND OR NOT && || ! + -, grouping, * and ?, /regex/, [a TO b],
{a TO b}, field:>=5, _exists_:field, *:*, backslash escapes. Fuzziness (~) and boosts (^) are refused.
"""

import re
from typing import Any

from heliograph.store.errors import StoreError

Tree = tuple[Any, ...]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<open>\() | (?P<close>\))
    | (?P<and>AND\b|&&) | (?P<or>OR\b|\|\|) | (?P<not>NOT\b|!)
    | (?P<sign>[+-](?=\S))
    | (?P<phrase>"(?:[^"\\]|\\.)*")
    | (?P<regex>/(?:[^/\\]|\\.)+/)
    | (?P<range>[\[{]\s*\S+\s+TO\s+[^\]}\s]+\s*[\]}])
    | (?P<compare>>=|<=|>|<)
    | (?P<colon>:)
    | (?P<word>(?:[^\s():"\[\]{}/\\<>=!+-]|\\.)(?:[^\s():"\[\]{}\\]|\\.)*)
    )""",
    re.VERBOSE,
)
_RANGE = re.compile(r"([\[{])\s*(\S+)\s+TO\s+([^\]}\s]+)\s*([\]}])")
_BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def parse_query_string(text: str, operator: str = "or") -> Tree:
    """Parse. Raises StoreError with the place where it went wrong."""
    if not text.strip() or text.strip() in ("*", "*:*"):
        return ("all",)
    return _Parser(text, operator.lower()).parse()


class _Parser:
    def __init__(self, text: str, operator: str) -> None:
        self.text = text
        self.operator = operator
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise self.error(position)
            self.tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            position = match.end()
        self.next = 0
        self.depth = 0

    def error(self, position: int) -> StoreError:
        return StoreError(400, "query_shard_exception", f"Failed to parse query [{self.text}] at column {position + 1}")

    def peek(self) -> str:
        return self.tokens[self.next][0] if self.next < len(self.tokens) else "end"

    def take(self) -> tuple[str, str, int]:
        if self.next >= len(self.tokens):
            raise self.error(len(self.text))
        self.next += 1
        return self.tokens[self.next - 1]

    def parse(self) -> Tree:
        tree = self.either(None)
        if self.peek() != "end":
            raise self.error(self.tokens[self.next][2])
        return tree

    def either(self, field: str | None) -> Tree:
        """a OR b, and clauses that stand side by side."""
        branches = [self.both(field)]
        must: list[Tree] = []
        while self.peek() not in ("end", "close"):
            if self.peek() == "or":
                self.take()
                branches.append(self.both(field))
            elif self.operator == "and" or self.peek() == "not" or self.tokens[self.next][1] in "+-":
                must.append(self.both(field))
            else:
                branches.append(self.both(field))
        required = [tree for tree in branches if tree[0] in ("must", "not")]
        optional = [tree for tree in branches if tree[0] not in ("must", "not")]
        needed = [tree[1] if tree[0] == "must" else tree for tree in (*required, *must)]
        if optional and (not required or self.operator == "and"):
            needed.insert(0, optional[0] if len(optional) == 1 else ("or", optional))
        return needed[0] if len(needed) == 1 else ("and", needed)

    def both(self, field: str | None) -> Tree:
        """a AND b"""
        parts = [self.one(field)]
        while self.peek() == "and":
            self.take()
            parts.append(self.one(field))
        if len(parts) == 1:
            return parts[0]
        return ("and", [part[1] if part[0] == "must" else part for part in parts])

    def one(self, field: str | None) -> Tree:
        kind, text, position = self.take()
        if kind == "not" or (kind == "sign" and text == "-"):
            inner = self.one(field)
            return ("not", inner[1] if inner[0] == "must" else inner)
        if kind == "sign":
            return ("must", self.one(field))
        if kind == "open":
            self.depth += 1
            if self.depth > 50:
                raise self.error(position)
            tree = self.either(field)
            if self.take()[0] != "close":
                raise self.error(position)
            self.depth -= 1
            return tree
        if kind == "word" and self.peek() == "colon":
            self.take()
            return self.one(_unescape(text))
        return self.value(kind, text, position, field)

    def value(self, kind: str, text: str, position: int, field: str | None) -> Tree:
        if kind == "phrase":
            return ("phrase", field, _unescape(text[1:-1]))
        if kind == "regex" and field:
            return ("regex", field, text[1:-1].replace("\\/", "/"))
        if kind == "range" and field:
            match = _RANGE.fullmatch(text)
            assert match is not None
            bounds: dict[str, str] = {}
            if match[2] != "*":
                bounds["gte" if match[1] == "[" else "gt"] = match[2].strip('"')
            if match[3] != "*":
                bounds["lte" if match[4] == "]" else "lt"] = match[3].strip('"')
            return ("range", field, bounds)
        if kind == "compare" and field:
            return ("range", field, {_BOUNDS[text]: _unescape(self.take()[1]).strip('"')})
        if kind == "sign" or kind != "word":
            raise self.error(position)
        if re.search(r"(?<!\\)[~^]", text):
            raise StoreError(400, "query_shard_exception", f"[{text}]: fuzziness and boosts are not supported here")
        if field == "_exists_":
            return ("word", field, _unescape(text))
        if re.search(r"(?<!\\)[*?]", text):
            return ("wildcard", field, text)
        return ("word", field, _unescape(text))


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
