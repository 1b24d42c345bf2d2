"""Rows of text taken apart: key=value pairs, comma separated values, quoted literals. No I/O, no state.

Quoting follows upstream: pairs take both kinds of quotes and drop them; CSV is RFC 4180 as Go's encoding/csv reads
it.
"""

import re

_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


def key_values(text: str, delimiter: str, pair_delimiter: str) -> dict[str, str]:
    """`a=1 b="x y"` -> {"a": "1", "b": "x y"}. Raises ValueError."""
    if not text:
        raise ValueError("there is nothing to parse key value pairs from")
    result: dict[str, str] = {}
    for pair in _split(text, pair_delimiter):
        name, found, value = pair.partition(delimiter)
        if not found:
            raise ValueError(f"cannot split {pair[:200]!r} at {delimiter!r}")
        result[name.strip()] = value.strip()
    return result


def _split(text: str, delimiter: str) -> list[str]:
    if '"' not in text and "'" not in text:
        return [part for part in text.split(delimiter) if part]
    result: list[str] = []
    current: list[str] = []
    quote = ""
    position, length, step = 0, len(text), len(delimiter)
    while position < length:
        character = text[position]
        if not quote and text.startswith(delimiter, position):
            if current:
                result.append("".join(current))
                current = []
            position += step
            continue
        if not quote and character in "\"'":
            quote = character
        elif character == quote:
            quote = ""
        else:
            current.append(character)
        position += 1
    if quote:
        raise ValueError("never reached the end of a quoted value")
    if current:
        result.append("".join(current))
    return result


def csv_row(text: str, delimiter: str, lazy: bool) -> list[str]:
    """The values of one row; quoted values may hold delimiters and line ends. Raises ValueError."""
    if '"' not in text:
        return text.split(delimiter)
    values: list[str] = []
    position, length = 0, len(text)
    while True:
        if position < length and text[position] == '"':
            value, position = _quoted(text, position + 1, delimiter, lazy)
        else:
            end = text.find(delimiter, position)
            end = length if end < 0 else end
            value = text[position:end]
            if '"' in value and not lazy:
                raise ValueError(f"bare quote in the value at column {position + 1}")
            position = end
        values.append(value)
        if position >= length:
            return values
        position += 1


def _quoted(text: str, position: int, delimiter: str, lazy: bool) -> tuple[str, int]:
    parts: list[str] = []
    length = len(text)
    while True:
        end = text.find('"', position)
        if end < 0:
            if lazy:
                parts.append(text[position:])
                return "".join(parts), length
            raise ValueError("a quoted value is not closed")
        parts.append(text[position:end])
        following = text[end + 1 : end + 2]
        if following == '"':
            parts.append('"')
            position = end + 2
        elif following in ("", delimiter):
            return "".join(parts), end + 1
        elif lazy:
            parts.append('"')
            position = end + 1
        else:
            raise ValueError(f"extraneous or missing quote at column {end + 1}")


def unquote(text: str) -> str:
    """The value of a Go literal: "text", `text` or 'c'. Raises ValueError."""
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "\"`'":
        raise ValueError("the text is not quoted")
    inner = text[1:-1]
    if text[0] == "`":
        if "`" in inner:
            raise ValueError("a backquote inside backquotes")
        return inner.replace("\r", "")
    bare = _ESCAPE.sub("", inner)
    if text[0] in bare or "\\" in bare or "\n" in inner:
        raise ValueError("invalid quoting")
    result = _ESCAPE.sub(_unescape, inner)
    if text[0] == "'" and len(result) != 1:
        raise ValueError("single quotes hold one character")
    return result


def _unescape(match: "re.Match[str]") -> str:
    digits = match[1] or match[2] or match[3]
    if digits:
        return chr(int(digits, 16))
    if match[4]:
        return chr(int(match[4], 8))
    letter: str = match[5]
    if letter not in _PLAIN:
        raise ValueError(f"unknown escape \\{letter}")
    return _PLAIN[letter]
