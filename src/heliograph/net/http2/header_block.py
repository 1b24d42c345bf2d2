"""Header blocks of HPACK (RFC 7541), with the static table and the Huffman code of the `hpack` library.

Why not its Decoder: it costs 5 to 10 microseconds a header in plain Python, and a request has nine. Here
the dynamic table holds finished text, so that an indexed header, the usual case, is one look-up.

Reading rules:
- Text is one character a byte (latin-1), so that sizes count as the peer counts them.
- A block is always read to its end, even when its list is too large or breaks a rule of HTTP/2: the dynamic table
  must stay that of the peer. Only a block that cannot be read is a fault of the connection (COMPRESSION_ERROR).
- A block that changed nothing in the table is remembered by its bytes until the table next changes: exactly as
  long as the same bytes mean the same headers.

Writing uses no dynamic table: a block means the same on every connection, so drivers write constant ones once.
"""

from typing import Final

from hpack.exceptions import HPACKError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from heliograph.net.http2.errors import ConnectionFault
from heliograph.net.http2.events import Header
from heliograph.net.http2.frames import COMPRESSION_ERROR

_STATIC: Final[list[Header]] = [(name.decode(), value.decode()) for name, value in HeaderTable.STATIC_TABLE]
_STATIC_LENGTH: Final = len(_STATIC)
_STATIC_NAMES: Final[dict[bytes, int]] = {
    name: index for index, (name, _) in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))
}
_STATIC_PAIRS: Final[dict[tuple[bytes, bytes], int]] = {
    pair: index for index, pair in enumerate(HeaderTable.STATIC_TABLE, 1)
}
_ENTRY_OVERHEAD: Final = 32
_MAX_REMEMBERED: Final = 64
_CONNECTION_SPECIFIC: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)


class HeaderBlock:
    """A block that was read. problem: "" or the rule of HTTP/2 it breaks; oversized: its list passes the limit, and
    the headers after that are not in `headers`."""

    __slots__ = ("headers", "oversized", "problem")

    def __init__(self, headers: list[Header], problem: str, oversized: bool) -> None:
        self.headers = headers
        self.problem = problem
        self.oversized = oversized


class BlockDecoder:
    """Reads the header blocks of one peer, in their order.

    max_list: limit of a header list in bytes, counted as in SETTINGS_MAX_HEADER_LIST_SIZE (names, values, 32 for each).
    table_size: what was announced as SETTINGS_HEADER_TABLE_SIZE.
    """

    def __init__(self, max_list: int, table_size: int = 4096) -> None:
        self._max_list = max_list
        self._allowed = table_size
        self._capacity = table_size
        self._used = 0
        self._entries: list[Header] = []  # oldest first
        self._sizes: list[int] = []
        self._remembered: dict[bytes, HeaderBlock] = {}

    def decode(self, block: bytes) -> HeaderBlock:
        """Read one block. Raises ConnectionFault(COMPRESSION_ERROR)."""
        found = self._remembered.get(block)
        if found is not None:
            return found
        try:
            return self._decode(block)
        except (IndexError, HPACKError) as error:
            raise ConnectionFault(COMPRESSION_ERROR, f"unreadable header block: {error}") from error

    def _decode(self, block: bytes) -> HeaderBlock:
        headers: list[Header] = []
        problem = ""
        changed = False
        total = 0
        seen_field = False
        seen_regular = False
        position = 0
        end = len(block)
        while position < end:
            first = block[position]
            if first & 0x80:
                index = first & 0x7F
                position += 1
                if index == 0x7F:
                    index, position = _continued(block, position, index)
                if index <= _STATIC_LENGTH:
                    if index == 0:
                        raise ConnectionFault(COMPRESSION_ERROR, "header index 0")
                    header = _STATIC[index - 1]
                else:
                    header = self._dynamic(index)
            elif first & 0xE0 == 0x20:
                if seen_field:
                    raise ConnectionFault(COMPRESSION_ERROR, "table size update after a header")
                size = first & 0x1F
                position += 1
                if size == 0x1F:
                    size, position = _continued(block, position, size)
                if size > self._allowed:
                    raise ConnectionFault(COMPRESSION_ERROR, f"table size update to {size}, allowed {self._allowed}")
                self._resize(size)
                changed = True
                continue
            else:
                keep = first & 0x40 != 0
                mask = 0x3F if keep else 0x0F
                index = first & mask
                position += 1
                if index == mask:
                    index, position = _continued(block, position, index)
                if index == 0:
                    name, position = _text(block, position, end)
                    wrong = _name_problem(name)
                    if wrong and not problem:
                        problem = wrong
                elif index <= _STATIC_LENGTH:
                    name = _STATIC[index - 1][0]
                else:
                    name = self._dynamic(index)[0]
                value, position = _text(block, position, end)
                header = (name, value)
                if keep:
                    self._add(header)
                    changed = True
            seen_field = True
            name = header[0]
            if name.startswith(":"):
                if seen_regular and not problem:
                    problem = f"pseudo-header {name} after a regular header"
            else:
                seen_regular = True
                if name in _CONNECTION_SPECIFIC and not problem:
                    problem = f"connection-specific header {name}"
            total += len(name) + len(header[1]) + _ENTRY_OVERHEAD
            if total <= self._max_list:
                headers.append(header)
        result = HeaderBlock(headers, problem, total > self._max_list)
        if changed:
            if self._remembered:
                self._remembered = {}
        elif len(self._remembered) < _MAX_REMEMBERED:
            self._remembered[block] = result
        return result

    def _dynamic(self, index: int) -> Header:
        entries = self._entries
        back = index - _STATIC_LENGTH
        if back > len(entries):
            raise ConnectionFault(COMPRESSION_ERROR, f"header index {index} of {_STATIC_LENGTH + len(entries)}")
        return entries[len(entries) - back]

    def _add(self, header: Header) -> None:
        size = len(header[0]) + len(header[1]) + _ENTRY_OVERHEAD
        self._entries.append(header)
        self._sizes.append(size)
        self._used += size
        if self._used > self._capacity:
            self._evict()

    def _resize(self, capacity: int) -> None:
        self._capacity = capacity
        if self._used > capacity:
            self._evict()

    def _evict(self) -> None:
        gone = 0
        while self._used > self._capacity:
            self._used -= self._sizes[gone]
            gone += 1
        del self._entries[:gone]
        del self._sizes[:gone]


def _continued(block: bytes, position: int, number: int) -> tuple[int, int]:
    """The rest of an integer whose prefix was full (section 5.1). Raises IndexError when the block ends in it."""
    shift = 0
    while True:
        byte = block[position]
        position += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 28:
            raise ConnectionFault(COMPRESSION_ERROR, "integer longer than five bytes")


def _text(block: bytes, position: int, end: int) -> tuple[str, int]:
    """A string (section 5.2) and the position behind it."""
    first = block[position]
    length = first & 0x7F
    position += 1
    if length == 0x7F:
        length, position = _continued(block, position, length)
    stop = position + length
    if stop > end:
        raise ConnectionFault(COMPRESSION_ERROR, "header block ends inside a string")
    raw = block[position:stop]
    if first & 0x80:
        raw = bytes(decode_huffman(raw))
    return str(raw, "latin-1"), stop


def _name_problem(name: str) -> str:
    """Why a literal name is not allowed in HTTP/2 (RFC 9113 section 8.2.1), or ""."""
    if name.isascii() and name.isprintable() and name == name.lower() and name and " " not in name:
        return ""
    return f"header name {name[:64]!r}"


def encode_header(name: bytes, value: bytes, sensitive: bool = False) -> bytes:
    """One header, literal without indexing (or never indexed, when sensitive), or indexed in the static table."""
    index = _STATIC_PAIRS.get((name, value))
    if index is not None and value:
        return bytes([0x80 | index])
    kind = 0x10 if sensitive else 0x00
    named = _STATIC_NAMES.get(name, 0)
    if named:
        return _integer(named, 4, kind) + _string(value)
    return bytes([kind]) + _string(name) + _string(value)


def encode_headers(headers: list[tuple[bytes, bytes]]) -> bytes:
    """A header block. Names are in lower case; pseudo-headers come first."""
    return b"".join([encode_header(name, value) for name, value in headers])


_huffman: Final = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def _string(text: bytes) -> bytes:
    packed: bytes = _huffman.encode(text) if len(text) <= 256 else text
    if len(packed) < len(text):
        return _integer(len(packed), 7, 0x80) + packed
    return _integer(len(text), 7, 0) + text


def _integer(number: int, bits: int, high: int) -> bytes:
    full = (1 << bits) - 1
    if number < full:
        return bytes([high | number])
    encoded = bytearray([high | full])
    number -= full
    while number >= 128:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
