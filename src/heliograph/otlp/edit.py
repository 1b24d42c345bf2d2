"""Actions on a list of attributes (the repeated KeyValue field of an official message), in upstream's sense.

An action is made once from configuration and applied to many lists. Keys said twice are kept; the first one is meant.
Source: internal/coreinternal/attraction of opentelemetry-collector-contrib.
"""

import base64
import hashlib
import json
import math
import re
import struct
from collections.abc import Callable
from typing import Any, Protocol

from heliograph.otlp.attributes import Value, encode_any_value, from_any_value

Attributes = Any  # repeated KeyValue of opentelemetry.proto
Lookup = Callable[[str], str | None]
"""What the context of a request says under a name, or None."""


class Action(Protocol):
    """Changes a list of attributes in place."""

    def apply(self, attributes: Attributes, lookup: Lookup) -> None:
        """lookup: the context of the request that brought the data."""


def find(attributes: Attributes, key: str) -> Any:
    """The first KeyValue with this key, or None."""
    for pair in attributes:
        if pair.key == key:
            return pair
    return None


class Put:
    """insert (only when absent), update (only when present) or upsert, from one source."""

    def __init__(
        self,
        key: str,
        *,
        insert: bool,
        update: bool,
        value: Any = None,
        from_attribute: str = "",
        from_context: str = "",
        default: Any = None,
    ) -> None:
        self._key = key
        self._insert = insert
        self._update = update
        self._value = None if value is None else encode_any_value(value)
        self._from_attribute = from_attribute
        self._from_context = from_context
        self._default = None if default is None else encode_any_value(default)

    def apply(self, attributes: Attributes, lookup: Lookup) -> None:
        present = find(attributes, self._key)
        if not (self._insert if present is None else self._update):
            return
        source = self._source(attributes, lookup)
        if source is None:
            return
        if present is None:
            present = attributes.add(key=self._key)
        present.value.Clear()
        present.value.MergeFromString(source)
        present.value.SetInParent()

    def _source(self, attributes: Attributes, lookup: Lookup) -> bytes | None:
        if self._value is not None:
            return self._value
        if self._from_context:
            text = lookup(self._from_context)
            return self._default if text is None else encode_any_value(text)
        if self._from_attribute:
            pair = find(attributes, self._from_attribute)
            if pair is not None:
                serialized: bytes = pair.value.SerializeToString()
                return serialized
        return self._default


class Delete:
    """Removes by key (the first one), and all keys that match a pattern."""

    def __init__(self, key: str, pattern: "re.Pattern[str] | None") -> None:
        self._key = key
        self._pattern = pattern

    def apply(self, attributes: Attributes, lookup: Lookup) -> None:
        pattern, key = self._pattern, self._key
        if pattern is not None:
            for index in range(len(attributes) - 1, -1, -1):
                if pattern.search(attributes[index].key):
                    del attributes[index]
        for index, pair in enumerate(attributes):
            if pair.key == key:
                del attributes[index]
                return


class Hash:
    """Replaces values by their SHA-256 in hexadecimal, by key and by pattern."""

    def __init__(self, key: str, pattern: "re.Pattern[str] | None") -> None:
        self._key = key
        self._pattern = pattern

    def apply(self, attributes: Attributes, lookup: Lookup) -> None:
        if self._key:
            pair = find(attributes, self._key)
            if pair is not None:
                pair.value.string_value = digest(from_any_value(pair.value))
        if self._pattern is not None:
            for pair in attributes:
                if self._pattern.search(pair.key):
                    pair.value.string_value = digest(from_any_value(pair.value))


class Extract:
    """Puts the named groups of a pattern, found in a text attribute, under their names."""

    def __init__(self, key: str, pattern: "re.Pattern[str]") -> None:
        self._key = key
        self._pattern = pattern

    def apply(self, attributes: Attributes, lookup: Lookup) -> None:
        source = find(attributes, self._key)
        if source is None or source.value.WhichOneof("value") != "string_value":
            return
        match = self._pattern.search(source.value.string_value)
        if match is None:
            return
        for name, text in match.groupdict("").items():
            pair = find(attributes, name)
            if pair is None:
                pair = attributes.add(key=name)
            pair.value.string_value = text


class Convert:
    """Changes the type of a value to string, int or double; what cannot be converted stays as it is."""

    def __init__(self, key: str, to: str) -> None:
        self._key = key
        self._convert = {"string": _to_string, "int": _to_int, "double": _to_double}[to]

    def apply(self, attributes: Attributes, lookup: Lookup) -> None:
        pair = find(attributes, self._key)
        if pair is not None:
            self._convert(pair.value)


def _to_string(message: Any) -> None:
    if message.WhichOneof("value") != "string_value":
        message.string_value = as_text(from_any_value(message))


def _to_int(message: Any) -> None:
    kind = message.WhichOneof("value")
    if kind == "bool_value":
        message.int_value = int(message.bool_value)
    elif kind == "double_value":
        number = message.double_value
        inside = math.isfinite(number) and -(2.0**63) <= number < 2.0**63
        message.int_value = int(number) if inside else -(1 << 63)
    elif kind == "string_value" and _INT.fullmatch(message.string_value):
        integer = int(message.string_value)
        if -(1 << 63) <= integer < 1 << 63:
            message.int_value = integer


def _to_double(message: Any) -> None:
    kind = message.WhichOneof("value")
    if kind == "bool_value":
        message.double_value = float(message.bool_value)
    elif kind == "int_value":
        message.double_value = float(message.int_value)
    elif kind == "string_value" and _FLOAT.fullmatch(message.string_value):
        text = message.string_value
        try:
            number = float.fromhex(text) if "x" in text.lower() else float(text)
        except OverflowError:
            return
        if math.isfinite(number) or not any(character.isdigit() for character in text):
            message.double_value = number


_INT = re.compile(r"[+-]?[0-9]{1,40}")
_FLOAT = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|infinity"
    r"|0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)p[+-]?[0-9]+)|nan",
    re.IGNORECASE | re.ASCII,
)


def digest(value: Value) -> str:
    """SHA-256 in hexadecimal of a text's UTF-8, of a number's 8 little-endian bytes, of a boolean's one byte; "" for
    everything else, as upstream does."""
    if isinstance(value, str):
        data = value.encode()
    elif isinstance(value, bool):
        data = b"\x01" if value else b"\x00"
    elif isinstance(value, int):
        data = value.to_bytes(8, "little", signed=True)
    elif isinstance(value, float):
        data = struct.pack("<d", value)
    else:
        return ""
    return hashlib.sha256(data).hexdigest()


def as_text(value: Value) -> str:
    """A value as text, as upstream's pdata writes it: maps and lists as JSON, bytes in base64, no value as ""."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return _json(value)


def _json(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, bytes):
        return f'"{base64.b64encode(value).decode()}"'
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ",".join([_json(item) for item in value]) + "]"
    return "{" + ",".join([f"{_quoted(key)}:{_json(value[key])}" for key in sorted(value)]) + "}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPED)


_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "\u2028\u2029"}


def _number(value: float) -> str:
    """Shortest digits; an exponent below 1e-6 and from 1e21, as JavaScript writes numbers."""
    if math.isnan(value):
        return "json: unsupported value: NaN"
    if math.isinf(value):
        return f"json: unsupported value: {'+' if value > 0 else '-'}Inf"
    size = abs(value)
    if size and (size < 1e-6 or size >= 1e21):
        digits, _, exponent = f"{value!r}".partition("e")
        if not exponent:
            digits, _, exponent = f"{value:.17e}".partition("e")
        power = int(exponent)
        digits = digits.removesuffix(".0")
        return f"{digits}e{'-' if power < 0 else '+'}{abs(power)}" if abs(power) > 9 else f"{digits}e{power:+d}"
    if value == int(value):
        return ("-" if math.copysign(1, value) < 0 else "") + str(abs(int(value)))
    text = repr(value)
    return text if "e" not in text else f"{value:.20f}".rstrip("0")
