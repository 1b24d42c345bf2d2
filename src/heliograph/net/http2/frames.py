"""Frames of HTTP/2 (RFC 9113 section 4 and 6): constants, and functions that pack each kind.

Nothing here keeps state. A frame is nine bytes of header (length 24, type 8, flags 8, stream 32) and a payload. Reading
is in `connection`, which knows what is allowed when.
"""

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

# Error codes (section 7).
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
SETTINGS_TIMEOUT: Final = 4
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11
INADEQUATE_SECURITY: Final = 12
HTTP_1_1_REQUIRED: Final = 13

ERROR_NAMES: Final[tuple[str, ...]] = (
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
)

MAX_STREAM_ID: Final = 0x7FFFFFFF
MAX_WINDOW: Final = 0x7FFFFFFF
DEFAULT_WINDOW: Final = 65535
MIN_MAX_FRAME: Final = 16384
MAX_MAX_FRAME: Final = 0xFFFFFF

_HEADER: Final = struct.Struct(">HBBBL")
_SETTING: Final = struct.Struct(">HL")
_LONG: Final = struct.Struct(">L")
_TWO_LONGS: Final = struct.Struct(">LL")


def error_name(code: int) -> str:
    """The RFC's name of an error code, or its number."""
    return ERROR_NAMES[code] if 0 <= code < len(ERROR_NAMES) else f"error {code}"


def header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `length` bytes."""
    return _HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame; identifiers are those of `settings`."""
    payload = b"".join([_SETTING.pack(name, value) for name, value in values.items()])
    return header(len(payload), SETTINGS, 0, 0) + payload


def settings_ack() -> bytes:
    """The acknowledgement of a SETTINGS frame."""
    return header(0, SETTINGS, ACK, 0)


def ping(payload: bytes, ack: bool) -> bytes:
    """A PING with eight bytes of payload."""
    return header(8, PING, ACK if ack else 0, 0) + payload


def goaway(last_stream_id: int, code: int, debug: bytes) -> bytes:
    """A GOAWAY; `debug` is text for a person."""
    return header(8 + len(debug), GOAWAY, 0, 0) + _TWO_LONGS.pack(last_stream_id, code) + debug


def rst_stream(stream_id: int, code: int) -> bytes:
    """A RST_STREAM."""
    return header(4, RST_STREAM, 0, stream_id) + _LONG.pack(code)


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE; stream 0 is the connection."""
    return header(4, WINDOW_UPDATE, 0, stream_id) + _LONG.pack(increment)


def headers(stream_id: int, block: bytes, end_stream: bool, max_frame: int) -> bytes:
    """HEADERS, and CONTINUATION where the block is longer than a frame of the peer may be."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_frame:
        return header(len(block), HEADERS, flags | END_HEADERS, stream_id) + block
    pieces = [header(max_frame, HEADERS, flags, stream_id), block[:max_frame]]
    position = max_frame
    while position < len(block):
        piece = block[position : position + max_frame]
        position += len(piece)
        pieces.append(header(len(piece), CONTINUATION, END_HEADERS if position >= len(block) else 0, stream_id))
        pieces.append(piece)
    return b"".join(pieces)
