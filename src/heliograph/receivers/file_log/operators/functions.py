"""What the expression language computes: comparison, arithmetic, access, and its functions.

Types do not mix as they do in Python: true is not 1, text and numbers do not compare, nil has no members. `/` always
gives a float, `%` takes the sign of the dividend, as Go does.
"""

import math
import os
from collections.abc import Callable
from typing import Any

from heliograph.receivers.file_log.operators.entry import kind
from heliograph.receivers.file_log.operators.lexer import ExpressionError


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_of(value: Any, what: str) -> str:
    """A text operand. Raises ExpressionError for anything else."""
    if not isinstance(value, str):
        raise ExpressionError(f"{what} needs a string, found {kind(value)}")
    return value


def equal(left: Any, right: Any) -> bool:
    """Equality; a bool never equals a number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def compare(operator: str, left: Any, right: Any) -> bool:
    """`< <= > >=` between two numbers or two strings. Raises ExpressionError for other types."""
    if not ((_number(left) and _number(right)) or (isinstance(left, str) and isinstance(right, str))):
        raise ExpressionError(f"cannot compare {kind(left)} {operator} {kind(right)}")
    if operator == "<":
        return bool(left < right)
    if operator == "<=":
        return bool(left <= right)
    return bool(left > right) if operator == ">" else bool(left >= right)


def contained(item: Any, place: Any) -> bool:
    """`in`: an item of a list, a key of a map. Raises ExpressionError for other types."""
    if isinstance(place, dict):
        return isinstance(item, str) and item in place
    if isinstance(place, list):
        return any(equal(item, other) for other in place)
    if place is None:
        return False
    raise ExpressionError(f"cannot use in with {kind(place)}")


def member(place: Any, key: Any) -> Any:
    """`place.key` or `place[key]`; a map without the key gives nil. Raises ExpressionError."""
    if isinstance(place, dict):
        return place.get(key) if isinstance(key, str) else None
    if isinstance(place, list | str) and isinstance(key, int) and not isinstance(key, bool):
        if -len(place) <= key < len(place):
            return place[key]
        raise ExpressionError(f"index {key} is out of range ({len(place)} items)")
    raise ExpressionError(f"cannot fetch {key} from {kind(place)}")


def arithmetic(operator: str, left: Any, right: Any) -> Any:
    """`+ - * / % ** ^`. Raises ExpressionError for types that do not go together, and division by zero."""
    if operator == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    if not (_number(left) and _number(right)):
        raise ExpressionError(f"cannot compute {kind(left)} {operator} {kind(right)}")
    try:
        if operator == "+":
            return left + right
        if operator == "-":
            return left - right
        if operator == "*":
            return left * right
        if operator == "/":
            return float(left) / right
        if operator == "%":
            if isinstance(left, float) or isinstance(right, float):
                raise ExpressionError("% needs integers")
            return int(math.fmod(left, right))
        return float(left) ** right
    except (ZeroDivisionError, OverflowError, ValueError) as error:
        raise ExpressionError(str(error)) from None


def _length(value: Any) -> int:
    if isinstance(value, str | list | dict):
        return len(value)
    raise ExpressionError(f"len() of {kind(value)}")


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return str(value)


def _int(value: Any) -> int:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise ExpressionError(f"int() of {value!r}")


def _float(value: Any) -> float:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise ExpressionError(f"float() of {value!r}")


def _split(value: Any, separator: Any) -> list[str]:
    text, by = text_of(value, "split()"), text_of(separator, "split()")
    return text.split(by) if by else list(text)


def _replace(value: Any, old: Any, new: Any) -> str:
    return text_of(value, "replace()").replace(text_of(old, "replace()"), text_of(new, "replace()"))


def _join(value: Any, separator: Any = "") -> str:
    if not isinstance(value, list):
        raise ExpressionError(f"join() of {kind(value)}")
    return text_of(separator, "join()").join(text_of(item, "join()") for item in value)


def _trim(value: Any, characters: Any = None) -> str:
    return text_of(value, "trim()").strip(characters)


def _index_of(value: Any, wanted: Any) -> int:
    return text_of(value, "indexOf()").find(text_of(wanted, "indexOf()"))


def _map_of(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ExpressionError(f"{what} of {kind(value)}")
    return value


FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "abs": (1, 1, lambda value: abs(arithmetic("+", value, 0))),
    "env": (1, 1, lambda name: os.environ.get(text_of(name, "env()"), "")),
    "float": (1, 1, _float),
    "hasPrefix": (2, 2, lambda value, part: text_of(value, "hasPrefix()").startswith(text_of(part, "hasPrefix()"))),
    "hasSuffix": (2, 2, lambda value, part: text_of(value, "hasSuffix()").endswith(text_of(part, "hasSuffix()"))),
    "indexOf": (2, 2, _index_of),
    "int": (1, 1, _int),
    "join": (1, 2, _join),
    "keys": (1, 1, lambda value: list(_map_of(value, "keys()"))),
    "len": (1, 1, _length),
    "lower": (1, 1, lambda value: text_of(value, "lower()").lower()),
    "replace": (3, 3, _replace),
    "split": (2, 2, _split),
    "string": (1, 1, _string),
    "trim": (1, 2, _trim),
    "trimPrefix": (
        2,
        2,
        lambda value, part: text_of(value, "trimPrefix()").removeprefix(text_of(part, "trimPrefix()")),
    ),
    "trimSuffix": (
        2,
        2,
        lambda value, part: text_of(value, "trimSuffix()").removesuffix(text_of(part, "trimSuffix()")),
    ),
    "type": (1, 1, kind),
    "upper": (1, 1, lambda value: text_of(value, "upper()").upper()),
    "values": (1, 1, lambda value: list(_map_of(value, "values()").values())),
}
"""name -> least and most arguments, function."""
