"""Words of the expression language: numbers, strings, names and operators, each with its column.

Part of the subset of expr-lang that users of file_log write; see expression.py.
"""

import re
from typing import NamedTuple


class ExpressionError(ValueError):
    """An expression that cannot be compiled; the message has the column. Also raised at run time, without one."""


class Token(NamedTuple):
    """kind: number, string, name, operator or end. column counts from 1."""

    kind: str
    text: str
    column: int


_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
  | (?P<name>[A-Za-z_$][A-Za-z0-9_$]*)
  | (?P<operator>\?\?|\?\.|==|!=|<=|>=|&&|\|\||\*\*|[-+*/%^<>!?:.,()\[\]{}|])
  )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}


def tokens(text: str) -> list[Token]:
    """Split an expression into tokens, the last of kind "end". Raises ExpressionError."""
    found: list[Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            column = position + len(text[position:]) - len(text[position:].lstrip()) + 1
            raise ExpressionError(f"unexpected character {text[column - 1]!r} at column {column} of {text!r}")
        kind = match.lastgroup
        assert kind is not None
        found.append(Token(kind, match[kind], match.start(kind) + 1))
        position = match.end()
    found.append(Token("end", "", end + 1))
    return found


def unquote(token: Token) -> str:
    """The value of a string token. Raises ExpressionError."""
    text = token.text
    if text[0] == "`":
        return text[1:-1]

    return re.sub(
        r"\\(?:[xu]([0-9a-fA-F]{4}|[0-9a-fA-F]{2})|(.))", lambda match: _escape(match, token), text[1:-1], flags=re.S
    )


def _escape(match: "re.Match[str]", token: Token) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    letter: str = match[2]
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter in "\\'\"`":
        return letter
    raise ExpressionError(f"unknown escape \\{letter} in the string at column {token.column}")
