"""Passwords as Apache's htpasswd stores them. No I/O.

    user:$2y$10$...      bcrypt (needs the package bcrypt)
    user:$apr1$salt$...  MD5, Apache's variant with 1000 rounds
    user:{SHA}...        SHA-1, base64
    user:{SSHA}...       SHA-1 with salt, base64 of digest and salt
    user:secret          plain text

Source: Apache HTTP Server, "Password Formats"; the same set that upstream's library reads by default, less crypt(3).
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from importlib.util import find_spec

_BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
Check = Callable[[str], bool]
_ITOA64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class UnusableHash(ValueError):
    """A line that cannot be used; the message names the user and the line, not the hash."""


def parse(text: str) -> dict[str, Check]:
    """User -> a function that says whether a password is right; later lines win. Empty lines and lines that begin
    with # are skipped. Raises UnusableHash."""
    users: dict[str, Check] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        user, colon, stored = line.partition(":")
        if not colon or not user:
            raise UnusableHash(f"line {number} is not user:password")
        users[user] = _check(stored, f"user {user!r} in line {number}")
    return users


def slow(text: str) -> bool:
    """Whether checking a stored password takes long by design."""
    return text.startswith(("$2a$", "$2b$", "$2y$"))


def _check(stored: str, who: str) -> Check:
    if slow(stored):
        if find_spec("bcrypt") is None:
            raise UnusableHash(f"{who} has a bcrypt hash: install the package bcrypt, or use another format")
        if not _BCRYPT.fullmatch(stored):
            raise UnusableHash(f"{who} has a broken bcrypt hash")
        import bcrypt

        expected = stored.encode()
        return lambda password: bcrypt.checkpw(password.encode()[:72], expected)
    if stored.startswith("$apr1$"):
        salt = stored.split("$")[2][:8]
        return lambda password: _same(apr1(password, salt), stored)
    if stored.startswith("{SHA}"):
        return lambda password: _same("{SHA}" + _base64(hashlib.sha1(password.encode()).digest()), stored)
    if stored.startswith("{SSHA}"):
        try:
            decoded = base64.b64decode(stored[6:], validate=True)
        except ValueError:  # binascii.Error is one, and so is a character that is not ASCII
            raise UnusableHash(f"{who} has a broken {{SSHA}} hash") from None
        digest, salt_bytes = decoded[:20], decoded[20:]
        return lambda password: hmac.compare_digest(hashlib.sha1(password.encode() + salt_bytes).digest(), digest)
    if stored.startswith(("$1$", "$5$", "$6$", "$y$")):
        raise UnusableHash(f"{who} has a crypt(3) hash, which is not supported: use bcrypt (htpasswd -B)")
    return lambda password: _same(password, stored)


def apr1(password: str, salt: str) -> str:
    """Apache's MD5 scheme: "$apr1$salt$hash"."""
    secret, grain = password.encode(), salt.encode()
    inner = hashlib.md5(secret + grain + secret).digest()
    message = secret + b"$apr1$" + grain
    message += (inner * (len(secret) // 16 + 1))[: len(secret)]
    length = len(secret)
    while length:
        message += b"\x00" if length & 1 else secret[:1]
        length >>= 1
    digest = hashlib.md5(message).digest()
    for turn in range(1000):
        step = secret if turn & 1 else digest
        if turn % 3:
            step += grain
        if turn % 7:
            step += secret
        step += digest if turn & 1 else secret
        digest = hashlib.md5(step).digest()
    groups = [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)]
    text = "".join(_sixes(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in groups)
    return f"$apr1${salt}${text}{_sixes(digest[11], 2)}"


def _sixes(number: int, count: int) -> str:
    return "".join(_ITOA64[number >> 6 * index & 63] for index in range(count))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())
