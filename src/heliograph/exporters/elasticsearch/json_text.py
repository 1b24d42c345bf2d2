"""JSON text as the upstream exporter writes it, byte for byte.

- Strings: UTF-8 stays as it is; `"`, `\\`, control characters, `<`, `>`, `&`, U+2028 and U+2029 are escaped; each byte
  that is no UTF-8 becomes `\\ufffd`.
- Doubles: the shortest digits that read back the same, with an exponent when it is below -4 or at least 6, and always
  with a radix point, so that Elasticsearch maps the field as a double; NaN and the infinities are `null`.
- `plain_*`: the other spelling, which upstream uses where a whole value becomes one text (maps on metric documents,
  data stream names made of numbers): doubles as JavaScript writes them, no HTML escapes.

Source: internal/serializer/otelserializer/jsonwriter.go (0.156) and pdata's Value.AsString, observed.
"""

from typing import Final

# translate() gives the very same object back when the table changes nothing, so `is` tells that nothing needs escaping.
_MARKED: Final = bytes([code if 0x20 <= code < 0x80 and code not in b'"\\<>&' else 0x80 ^ code for code in range(256)])
_SAFE: Final = bytes([code for code in range(256) if code >= 0x20 and code not in b'"\\<>&'])
_COMMON: Final = b'"\\\n\t<>&'
_PLAIN_SAFE: Final = bytes([code for code in range(256) if code >= 0x20 and code not in b'"\\'])


def _escapes(characters: str) -> dict[int, str]:
    table: dict[int, str] = {code: f"\\u{code:04x}" for code in range(0x20)}
    table.update({ord(character): f"\\u{ord(character):04x}" for character in characters})
    table.update({0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"})
    table.update(dict.fromkeys(range(0xDC80, 0xDD00), "\\ufffd"))
    return table


_ESCAPES: Final[dict[int, str]] = _escapes("<>&\u2028\u2029")
_PLAIN_ESCAPES: Final[dict[int, str]] = _escapes("\u2028\u2029")


def json_string(raw: bytes) -> bytes:
    """UTF-8 text as a JSON string with its quotes."""
    if raw.translate(_MARKED) is raw:
        return b'"' + raw + b'"'
    unsafe: bytes = raw.translate(None, _SAFE)
    if not raw.isascii() and (b"\xe2\x80" in raw or not _is_utf8(raw)):
        return b'"' + raw.decode("utf-8", "surrogateescape").translate(_ESCAPES).encode("utf-8") + b'"'
    if unsafe:
        if unsafe.translate(None, _COMMON):
            return b'"' + raw.decode("utf-8").translate(_ESCAPES).encode("utf-8") + b'"'
        if b"\\" in unsafe:
            raw = raw.replace(b"\\", b"\\\\")
        if b'"' in unsafe:
            raw = raw.replace(b'"', b'\\"')
        if b"\n" in unsafe:
            raw = raw.replace(b"\n", b"\\n")
        if b"\t" in unsafe:
            raw = raw.replace(b"\t", b"\\t")
        if b"<" in unsafe:
            raw = raw.replace(b"<", b"\\u003c")
        if b">" in unsafe:
            raw = raw.replace(b">", b"\\u003e")
        if b"&" in unsafe:
            raw = raw.replace(b"&", b"\\u0026")
    return b'"' + raw + b'"'


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def plain_string(raw: bytes) -> bytes:
    """UTF-8 text as a JSON string with its quotes, without HTML escapes."""
    if raw.isascii() and not raw.translate(None, _PLAIN_SAFE):
        return b'"' + raw + b'"'
    return b'"' + raw.decode("utf-8", "surrogateescape").translate(_PLAIN_ESCAPES).encode("utf-8") + b'"'


def float_text(value: float) -> bytes:
    """A double as a JSON number that is recognisably one, or `null`."""
    size: float = -value if value < 0.0 else value
    if (size < 1e6 and size >= 1e-4) or size == 0.0:
        return repr(value).encode("ascii")
    if value != value or size == float("inf"):
        return b"null"
    text: str = repr(value)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        return (mantissa if "." in mantissa else mantissa + ".0").encode("ascii") + b"e" + exponent.encode("ascii")
    sign: str = "-" if value < 0.0 else ""
    whole, _, fraction = repr(size).partition(".")
    digits: str = (whole + fraction).rstrip("0")
    return f"{sign}{digits[0]}.{digits[1:] or '0'}e+{len(whole) - 1:02d}".encode("ascii")


def plain_float(value: float) -> bytes:
    """A finite double as JavaScript writes it: positional from 1e-6 up to 1e21, no needless radix point."""
    size: float = -value if value < 0.0 else value
    text: str = repr(value)
    mantissa, _, exponent = text.partition("e")
    if mantissa.endswith(".0"):
        mantissa = mantissa[:-2]
    if not exponent:
        return mantissa.encode("ascii")
    power: int = int(exponent)
    if size < 1e-6 or size >= 1e21:
        return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power)}".encode("ascii")
    sign: str = "-" if value < 0.0 else ""
    digits: str = mantissa.lstrip("-").replace(".", "")
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}".encode("ascii")
    return f"{sign}{digits}{'0' * (power + 1 - len(digits))}".encode("ascii")


def timestamp_text(nanoseconds: int) -> bytes:
    """`"<milliseconds>.<nanoseconds below one>"` in quotes; the rest is not padded, as upstream writes it."""
    milliseconds: int = nanoseconds // 1000000
    rest: int = nanoseconds - milliseconds * 1000000
    return b'"%d.%d"' % (milliseconds, rest)
