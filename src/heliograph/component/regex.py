r"""Regular expressions written for Go (RE2), compiled by Python's `re`.

The two languages agree on nearly everything users write. What differs is translated: `(?<name>...)`, `\z`, `\Q...\E`,
`[[:alpha:]]`, `\pL`-style classes that have a Python equal, flags in the middle (`a(?i)b`), `(?U)` is refused. Perl
classes are ASCII in Go, hence re.ASCII. Python's engine backtracks: a pattern such as `(a+)+$` can take exponential
time on a hostile line, which RE2 cannot; patterns come from the configuration, so this is documented, not guarded.
"""

import re

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?(:|\))")


class RegexError(ValueError):
    """A pattern that cannot be compiled; the message has the position where it is known."""


def compile_text(pattern: str) -> "re.Pattern[str]":
    """Compile a Go pattern for text. Raises RegexError."""
    try:
        return re.compile(translate(pattern), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise RegexError(f"invalid regular expression {pattern!r}: {error}") from None


def compile_bytes(pattern: str, flags: str = "") -> "re.Pattern[bytes]":
    """Compile a Go pattern for UTF-8 bytes; `flags` (such as "m") are put before it. Raises RegexError."""
    try:
        prefix = f"(?{flags})" if flags else ""
        return re.compile((prefix + translate(pattern, "m" in flags)).encode())
    except (re.error, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise RegexError(f"invalid regular expression {pattern!r}: {error}") from None


def translate(pattern: str, multiline: bool = False) -> str:
    """A Go pattern in Python's spelling; `multiline`: the flag m holds from the start. Raises RegexError for what has
    no equal."""
    multiline = multiline or any("m" in found[1] for found in _FLAGS.finditer(pattern))
    out: list[str] = []
    position = 0
    length = len(pattern)
    open_scopes: list[int] = [0]  # extra groups opened inside each group by a flag in the middle of it
    while position < length:
        character = pattern[position]
        if character == "\\":
            position = _escape(pattern, position, out, in_class=False)
        elif character == "[":
            position = _class(pattern, position, out)
        elif character == "(":
            if pattern.startswith("(?<", position) and pattern[position + 3 : position + 4] not in ("=", "!"):
                out.append("(?P<")
                position += 3
                open_scopes.append(0)
                continue
            if pattern[position + 1 : position + 3] in ("?=", "?!") or pattern[position + 1 : position + 4] in (
                "?<=",
                "?<!",
            ):
                raise RegexError(f"invalid regular expression {pattern!r}: lookaround at {position} is not RE2 syntax")
            flags = _FLAGS.match(pattern, position)
            if flags and (flags[1] or flags[2]):
                if "U" in flags[1] or "U" in (flags[2] or ""):
                    raise RegexError(f"invalid regular expression {pattern!r}: flag U at {position} is not supported")
                opened = "(?" + flags[1] + (f"-{flags[2]}" if flags[2] else "") + ":"
                out.append(opened)
                position = flags.end()
                if flags[3] == ")":
                    open_scopes[-1] += 1
                else:
                    open_scopes.append(0)
                continue
            out.append("(")
            open_scopes.append(0)
            position += 1
        elif character == ")":
            if len(open_scopes) == 1:
                raise RegexError(f"invalid regular expression {pattern!r}: unexpected ) at {position}")
            out.append(")" * (open_scopes.pop() + 1))
            position += 1
        elif character == "|" and open_scopes[-1]:
            # a flag set before | also holds after it: close and open it again would change the grouping
            out.append("|")
            position += 1
        elif character == "$":
            out.append("$" if multiline else r"\Z")
            position += 1
        else:
            out.append(character)
            position += 1
    out.append(")" * open_scopes[0])
    return "".join(out)


def _escape(pattern: str, position: int, out: list[str], *, in_class: bool) -> int:
    following = pattern[position + 1 : position + 2]
    if following == "z":
        out.append(r"\Z")
        return position + 2
    if following == "Q" and not in_class:
        end = pattern.find("\\E", position + 2)
        end = len(pattern) if end < 0 else end
        out.append(re.escape(pattern[position + 2 : end]))
        return min(end + 2, len(pattern))
    if following in ("p", "P"):
        name = re.compile(r"\{\^?\w+\}|\w").match(pattern, position + 2)
        letters = {"L": r"[^\W\d_]", "N": r"\d", "Lu": "[A-Z]", "Ll": "[a-z]", "Nd": r"\d"}
        wanted = letters.get(name[0].strip("{}")) if name else None
        if wanted is None or following == "P" or in_class:
            raise RegexError(f"invalid regular expression {pattern!r}: the class at {position} is not supported")
        out.append(f"(?u:{wanted})" if wanted.startswith(("[^", "\\")) else wanted)
        assert name is not None
        return name.end()
    if following == "x" and pattern[position + 2 : position + 3] == "{":
        end = pattern.find("}", position)
        try:
            out.append(re.escape(chr(int(pattern[position + 3 : end], 16))))
        except (ValueError, OverflowError):
            raise RegexError(f"invalid regular expression {pattern!r}: bad escape at {position}") from None
        return end + 1
    if following in ("C", "Z", "1", "2", "3", "4", "5", "6", "7", "8", "9"):
        raise RegexError(f"invalid regular expression {pattern!r}: escape at {position} is not RE2 syntax")
    out.append(pattern[position : position + 2])
    return position + 2


def _class(pattern: str, position: int, out: list[str]) -> int:
    start = position
    out.append("[")
    position += 1
    if pattern[position : position + 1] == "^":
        out.append("^")
        position += 1
    if pattern[position : position + 1] == "]":
        out.append(r"\]")
        position += 1
    while position < len(pattern):
        character = pattern[position]
        if character == "]":
            out.append("]")
            return position + 1
        if pattern.startswith("[:", position):
            end = pattern.find(":]", position)
            name = pattern[position + 2 : end] if end > 0 else ""
            if name not in _POSIX:
                raise RegexError(f"invalid regular expression {pattern!r}: unknown class at {position}")
            out.append(_POSIX[name])
            position = end + 2
        elif character == "\\":
            position = _escape(pattern, position, out, in_class=True)
        else:
            out.append("\\[" if character == "[" else character)
            position += 1
    raise RegexError(f"invalid regular expression {pattern!r}: the class at {start} is not closed")


def expand(template: str, match: "re.Match[str]") -> str:
    """A Go replacement template: $1, ${1}, $name, ${name}, $$; unknown groups are empty."""
    return _TEMPLATE.sub(lambda found: _group(found, match), template)


_TEMPLATE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))", re.ASCII)


def _group(found: "re.Match[str]", match: "re.Match[str]") -> str:
    if found[1]:
        return "$"
    name = found[2] or found[3]
    try:
        value = match[int(name)] if name.isdigit() else match[name]
    except (IndexError, KeyError):
        return ""
    return value or ""
