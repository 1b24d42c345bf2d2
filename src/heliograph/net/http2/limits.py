"""What a connection allows its peer, and the check of padding, which is a limit too."""

from heliograph.net.http2 import frames
from heliograph.net.http2.errors import ConnectionFault


class Limits:
    """What a connection allows its peer.

    max_frame: payload bytes of a frame. max_header_list: bytes, as SETTINGS_MAX_HEADER_LIST_SIZE counts.
    max_streams: at a time, opened by the peer. connection_window, stream_window: bytes.
    penalties: see `connection`; penalties_per_second: how fast they are forgiven.
    """

    __slots__ = (
        "connection_window",
        "max_frame",
        "max_header_list",
        "max_streams",
        "penalties",
        "penalties_per_second",
        "stream_window",
    )

    def __init__(
        self,
        *,
        max_frame: int = 65536,
        max_header_list: int = 16384,
        max_streams: int = 1000,
        connection_window: int = 16 << 20,
        stream_window: int = 4 << 20,
        penalties: int = 2000,
        penalties_per_second: float = 200.0,
    ) -> None:
        self.max_frame = max_frame
        self.max_header_list = max_header_list
        self.max_streams = max_streams
        self.connection_window = min(max(connection_window, frames.DEFAULT_WINDOW), frames.MAX_WINDOW)
        self.stream_window = min(stream_window, frames.MAX_WINDOW)
        self.penalties = penalties
        self.penalties_per_second = penalties_per_second


def unpadded(data: bytes, start: int, stop: int) -> tuple[int, int]:
    """Where the payload is inside a padded one. Raises ConnectionFault."""
    if start == stop:
        raise ConnectionFault(frames.FRAME_SIZE_ERROR, "padded frame without a pad length")
    end = stop - data[start]
    start += 1
    if end < start:
        raise ConnectionFault(frames.PROTOCOL_ERROR, "padding longer than the frame")
    return start, end
