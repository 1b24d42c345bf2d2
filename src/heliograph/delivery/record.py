"""How one queued request is written in a spool's segment, and how a segment is read back.

    record  = header body                      integers are little-endian
    header  = magic u32 | body length u32 | items u32 | CRC-32 of body u32 | CRC-32 of these 16 bytes u32
    body    = metadata length u32 | number of parts u32 | length of each part u32 ... | metadata | parts
    metadata = JSON object of header name -> list of values, or nothing

The header has a sum of its own, so that a damaged body is passed over without losing what follows it, while a damaged
header ends the segment. No I/O here: functions take and return bytes.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from isal.isal_zlib import crc32

_MAGIC = 0x31504C48
_HEADER = struct.Struct("<IIIII")
_BODY = struct.Struct("<II")
_SUMMED = 16

HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class Found:
    """A record found in a segment. offset: of its header; size: of header and body. size_sent: bytes of the request
    that would hold its parts. intact: whether the body's sum is right."""

    offset: int
    size: int
    items: int
    size_sent: int
    intact: bool


def encode(parts: Sequence[bytes], items: int, metadata: Mapping[str, Sequence[str]]) -> bytes:
    """The bytes of one record."""
    text = json.dumps({name: list(values) for name, values in metadata.items()}).encode() if metadata else b""
    count = len(parts)
    body = b"".join((struct.pack(f"<{count + 2}I", len(text), count, *map(len, parts)), text, *parts))
    head = _HEADER.pack(_MAGIC, len(body), items, crc32(body), 0)[:_SUMMED]
    return b"".join((head, crc32(head).to_bytes(4, "little"), body))


def decode(record: bytes) -> tuple[tuple[bytes, ...], dict[str, tuple[str, ...]]] | None:
    """Parts and metadata of a record; None when it is damaged."""
    head = header(record)
    if head is None or len(record) != HEADER_BYTES + head[0] or crc32(memoryview(record)[HEADER_BYTES:]) != head[2]:
        return None
    text_length, count = _BODY.unpack_from(record, HEADER_BYTES)
    lengths = struct.unpack_from(f"<{count}I", record, HEADER_BYTES + _BODY.size)
    pos = HEADER_BYTES + _BODY.size + 4 * count
    metadata = json.loads(record[pos : pos + text_length]) if text_length else {}
    pos += text_length
    parts = []
    for length in lengths:
        parts.append(record[pos : pos + length])
        pos += length
    return tuple(parts), {name: tuple(values) for name, values in metadata.items()}


def header(data: bytes) -> tuple[int, int, int] | None:
    """(body length, items, sum of the body) of the header at the start of `data`; None when it is none."""
    if len(data) < HEADER_BYTES:
        return None
    magic, length, items, body_sum, head_sum = _HEADER.unpack_from(data)
    if magic != _MAGIC or crc32(data[:_SUMMED]) != head_sum:
        return None
    return length, items, body_sum


def scan(read: Callable[[int, int], bytes], end: int, wanted: Callable[[int], bool]) -> Iterator[Found]:
    """The records of a segment of `end` bytes in order, until its end or the first damaged header.

    read(offset, size) gives bytes of it; wanted(index) says whether the body is worth checking.
    """
    offset = index = 0
    while True:
        head = header(read(offset, HEADER_BYTES))
        if head is None:
            return
        length, items, body_sum = head
        size = HEADER_BYTES + length
        if offset + size > end or length < _BODY.size:
            return
        intact, size_sent = True, 0
        if wanted(index):
            body = read(offset + HEADER_BYTES, length)
            intact = len(body) == length and crc32(body) == body_sum
            if intact:
                text_length, count = _BODY.unpack_from(body)
                size_sent = length - _BODY.size - 4 * count - text_length
                for part in struct.unpack_from(f"<{count}I", body, _BODY.size):
                    size_sent += 1 + max(1, (part.bit_length() + 6) // 7)
        yield Found(offset, size, items, size_sent, intact)
        offset += size
        index += 1
