"""What waits to be written on a connection: finished frames, and body data that needs windows.

Finished frames go out in order. Streams whose data does not fit their windows wait in a queue and take turns, a frame
each. Data is sliced as memoryviews and copied once, by the join in `take`.
"""

from collections import deque
from typing import Final

from heliograph.net.http2 import frames
from heliograph.net.http2.settings import PeerSettings
from heliograph.net.http2.stream import Stream

_PORTION: Final = 256 * 1024


class Outbox:
    """The output of one connection. streams: those of the connection; one whose last byte is handed out while
    the peer has ended it too is removed there."""

    __slots__ = ("_peer", "_pieces", "_queue", "_stalled", "_streams", "_window")

    def __init__(self, peer: PeerSettings, streams: dict[int, Stream]) -> None:
        self._peer = peer
        self._streams = streams
        self._window = frames.DEFAULT_WINDOW
        self._pieces: list[bytes | memoryview] = []
        self._queue: deque[Stream] = deque()
        self._stalled: list[Stream] = []  # wait for a window of their own

    @property
    def empty(self) -> bool:
        """Nothing waits."""
        return not self._pieces and not self._queue and not self._stalled

    def add(self, frame: bytes) -> None:
        """Queue finished frames."""
        self._pieces.append(frame)

    def clear(self) -> None:
        """Forget everything."""
        self._pieces = []
        self._queue.clear()
        self._stalled = []

    def send_body(self, stream: Stream, body: bytes, trailers: bytes | None) -> None:
        """Queue the rest of a stream's data and its trailers."""
        length = len(body)
        if (
            length <= stream.send_window
            and length <= self._window
            and length <= self._peer.max_frame
            and not self._queue
        ):
            stream.send_window -= length
            self._window -= length
            pieces = self._pieces
            if length or trailers is None:
                pieces.append(
                    frames.header(length, frames.DATA, frames.END_STREAM if trailers is None else 0, stream.id)
                )
                pieces.append(body)
            if trailers is not None:
                pieces.append(frames.headers(stream.id, trailers, True, self._peer.max_frame))
            return
        stream.body = body
        stream.sent = 0
        stream.trailers = trailers
        stream.queued = True
        self._queue.append(stream)

    def forget(self, stream: Stream) -> None:
        """Drop what a stream still has to send."""
        if stream.queued:
            stream.queued = False
            stream.body = b""
            if stream in self._queue:
                self._queue.remove(stream)
            elif stream in self._stalled:
                self._stalled.remove(stream)

    def widen(self, increment: int) -> bool:
        """The peer gave window for the connection. False when the window passes the limit of the RFC."""
        self._window += increment
        return self._window <= frames.MAX_WINDOW

    def windows_changed(self) -> None:
        """Windows of streams may be larger now."""
        if self._stalled:
            self._queue.extend(self._stalled)
            self._stalled = []

    def take(self) -> bytes:
        """What can be written now, up to about 256 KiB of data; b"" when there is nothing."""
        if self._queue and self._window > 0:
            self._fill()
        pieces = self._pieces
        if not pieces:
            return b""
        self._pieces = []
        return pieces[0] if len(pieces) == 1 and type(pieces[0]) is bytes else b"".join(pieces)

    def _fill(self) -> None:
        portion = _PORTION
        queue = self._queue
        max_frame = min(self._peer.max_frame, _PORTION)
        while queue and portion > 0:
            stream = queue.popleft()
            left = len(stream.body) - stream.sent
            size = min(left, max_frame, stream.send_window, self._window)
            if size <= 0 and left > 0:
                if stream.send_window <= 0:
                    self._stalled.append(stream)
                    continue
                queue.appendleft(stream)
                return
            last = size == left
            flags = frames.END_STREAM if last and stream.trailers is None else 0
            self._pieces.append(frames.header(size, frames.DATA, flags, stream.id))
            self._pieces.append(memoryview(stream.body)[stream.sent : stream.sent + size])
            stream.send_window -= size
            self._window -= size
            stream.sent += size
            portion -= size + 9
            if not last:
                queue.append(stream)
                continue
            if stream.trailers is not None:
                self._pieces.append(frames.headers(stream.id, stream.trailers, True, self._peer.max_frame))
            stream.queued = False
            stream.body = b""
            if stream.remote_ended:
                self._streams.pop(stream.id, None)
