"""How attribute values, numbers and times are written, as Go and upstream's pdata write them."""

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any

_KINDS = {
    "string_value": "Str",
    "bool_value": "Bool",
    "int_value": "Int",
    "double_value": "Double",
    "array_value": "Slice",
    "kvlist_value": "Map",
    "bytes_value": "Bytes",
}


def general(number: float) -> str:
    """The shortest form that reads back the same; with an exponent below 1e-4 and from 1e6 (Go's %v)."""
    return _not_finite(number) or _shortest(number, -4, 6, pad=True)


def fixed(number: float) -> str:
    """Six decimals (Go's %f)."""
    return _not_finite(number) or f"{number:.6f}"


def decimal(number: float) -> str:
    """As upstream's pdata writes it in text: the shortest form, with an exponent below 1e-6 and from 1e21."""
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return _not_finite(number) or _shortest(number, -6, 21, pad=False)


def timestamp(nanoseconds: int) -> str:
    """`2023-11-14 22:13:20.123456789 +0000 UTC`, without zeros at the end of the fraction."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        text = f"{seconds}s after 1970-01-01"
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{text}{fraction} +0000 UTC"


def as_text(value: Any) -> str:
    """An AnyValue as bare text: strings as they are, lists and maps as JSON with sorted keys, bytes as base64."""
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "string_value":
        return str(value.string_value)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return _json(value)


def typed(value: Any) -> str:
    """An AnyValue with its type: `Str(text)`."""
    kind = value.WhichOneof("value")
    return f"{_KINDS[kind]}({as_text(value)})" if kind in _KINDS else "Empty()"


def _json(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return _quoted(value.string_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "int_value":
        return str(value.int_value)
    if kind == "double_value":
        return decimal(value.double_value)
    if kind == "bytes_value":
        return _quoted(base64.b64encode(value.bytes_value).decode())
    if kind == "array_value":
        return "[" + ",".join(map(_json, value.array_value.values)) + "]"
    if kind == "kvlist_value":
        members = {pair.key: pair.value for pair in value.kvlist_value.values}
        return "{" + ",".join(f"{_quoted(key)}:{_json(members[key])}" for key in sorted(members)) + "}"
    return "null"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _not_finite(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return ""


def _shortest(number: float, low: int, high: int, *, pad: bool) -> str:
    """repr's digits, placed as wanted. pad: at least two digits of exponent."""
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent_text = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    exponent = int(exponent_text or 0) + len(whole) - 1
    digits = whole + fraction
    stripped = digits.lstrip("0")
    exponent -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    if low <= exponent < high:
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
        if len(digits) <= exponent + 1:
            return f"{sign}{digits}{'0' * (exponent + 1 - len(digits))}"
        return f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :]}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    size = f"{abs(exponent):02d}" if pad else str(abs(exponent))
    return f"{sign}{digits[0]}{rest}e{'-' if exponent < 0 else '+'}{size}"
