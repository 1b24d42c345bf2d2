"""SETTINGS (RFC 9113 section 6.5): what a peer told us, checked.

Unknown settings are ignored, as the RFC says. A value out of its range is a connection error.
"""

import struct
from typing import Final

from heliograph.net.http2.errors import ConnectionFault
from heliograph.net.http2.frames import (
    DEFAULT_WINDOW,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    MAX_MAX_FRAME,
    MAX_WINDOW,
    MIN_MAX_FRAME,
    PROTOCOL_ERROR,
)

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

_MAX_SETTINGS_PER_FRAME: Final = 64
_UNLIMITED: Final = 0xFFFFFFFF
_SETTING: Final = struct.Struct(">HL")


class PeerSettings:
    """The peer's settings in force; it starts with the RFC's defaults."""

    __slots__ = (
        "header_table_size",
        "initial_window",
        "max_concurrent_streams",
        "max_frame",
        "max_header_list",
    )

    def __init__(self) -> None:
        self.header_table_size = 4096
        self.initial_window = DEFAULT_WINDOW
        self.max_concurrent_streams = _UNLIMITED
        self.max_frame = MIN_MAX_FRAME
        self.max_header_list = _UNLIMITED

    def apply(self, payload: bytes) -> None:
        """Take the payload of a SETTINGS frame. Raises ConnectionFault."""
        if len(payload) % 6:
            raise ConnectionFault(FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
        if len(payload) > 6 * _MAX_SETTINGS_PER_FRAME:
            raise ConnectionFault(PROTOCOL_ERROR, f"SETTINGS with {len(payload) // 6} entries")
        for name, value in _SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise ConnectionFault(FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE {value}")
                self.initial_window = value
            elif name == MAX_FRAME_SIZE:
                if not MIN_MAX_FRAME <= value <= MAX_MAX_FRAME:
                    raise ConnectionFault(PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE {value}")
                self.max_frame = value
            elif name == MAX_CONCURRENT_STREAMS:
                self.max_concurrent_streams = value
            elif name == HEADER_TABLE_SIZE:
                self.header_table_size = value
            elif name == MAX_HEADER_LIST_SIZE:
                self.max_header_list = value
            elif name == ENABLE_PUSH and value > 1:
                raise ConnectionFault(PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH {value}")
