"""What makes a file itself: the fingerprint by which it is known again, and the identity in a record's uid.

Fingerprint: a hash of its first bytes, with their number; it grows with a file that is shorter than
`fingerprint_size`. Identity: 96 bits from device, inode, birth time, first line, and a generation that counts
truncations. It stays the same over restarts, renames and growth; a reused inode differs by birth time or first line,
a truncated file by its generation. It is fixed when the file's first record is made, and kept in the checkpoint from
then on. See docs/adr/0003-file-log.md.
"""

import base64
import ctypes
from hashlib import blake2b
from typing import Any

FINGERPRINT_BYTES = 16
_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800


def fingerprint(head: bytes) -> bytes:
    """Hash of the first bytes of a file."""
    return blake2b(head, digest_size=FINGERPRINT_BYTES).digest()


def identity(device: int, inode: int, born: int, head: bytes, generation: int) -> str:
    """16 characters. born: birth time in nanoseconds, 0 when unknown. head: the first bytes of the file; what follows
    the first line does not count."""
    line = head[: head.find(b"\n") + 1] or head
    name = b"%d %d %d %d " % (device, inode, born, generation)
    return base64.urlsafe_b64encode(blake2b(name + line, digest_size=12).digest()).decode()


def _statx() -> Any:
    try:
        function = ctypes.CDLL(None, use_errno=True).statx
        function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
        function.restype = ctypes.c_int
    except (OSError, AttributeError):
        return None
    return function


_STATX = _statx()


def birth_time(fd: int) -> int:
    """When the file was made, in nanoseconds since the epoch; 0 where the file system does not say."""
    if _STATX is None:
        return 0
    buffer = ctypes.create_string_buffer(256)
    if _STATX(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer) != 0:
        return 0
    raw = buffer.raw
    if not int.from_bytes(raw[0:4], "little") & _STATX_BTIME:
        return 0
    # struct statx: stx_btime at 80: seconds (8 bytes), nanoseconds (4)
    return int.from_bytes(raw[80:88], "little") * 10**9 + int.from_bytes(raw[88:92], "little")
