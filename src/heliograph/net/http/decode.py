"""Content-Encoding of an answer, undone piece by piece: never more than PIECE bytes at once come out of few.

gzip may hold several members; deflate is zlib's format, and raw deflate of servers that never learnt it. An encoding
that was not asked for is an error. Sources: RFC 9110, 8.4.1; RFC 1950, 1951, 1952.
"""

import zlib
from collections.abc import Iterator

from heliograph.net.http.errors import BrokenAnswer

ACCEPTED = "gzip, deflate"
"""What Decoder understands, as Accept-Encoding says it."""
PIECE = 64 * 1024
_GZIP, _ZLIB, _RAW = 31, 15, -15


class Decoder:
    """One answer's. encoding: gzip, x-gzip or deflate. Raises BrokenAnswer for any other."""

    def __init__(self, encoding: str) -> None:
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise BrokenAnswer(f"the answer has the unknown Content-Encoding {encoding!r}")
        self._gzip = encoding != "deflate"
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes out of some bytes, at most PIECE bytes each time. Raises BrokenAnswer."""
        if self._stream is None:
            wrapped = _ZLIB if data[0] & 0x0F == zlib.DEFLATED else _RAW
            self._stream = zlib.decompressobj(_GZIP if self._gzip else wrapped)
        while data:
            stream = self._stream
            if stream.eof:
                if not self._gzip:
                    return
                stream = self._stream = zlib.decompressobj(_GZIP)
            try:
                piece = stream.decompress(data, PIECE)
            except zlib.error as error:
                raise BrokenAnswer(f"the answer cannot be decompressed: {error}") from None
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            if piece:
                yield piece

    def end(self) -> None:
        """The body is through, perhaps without a byte. Raises BrokenAnswer when the compressed data is not."""
        if self._stream is not None and not self._stream.eof:
            raise BrokenAnswer("the compressed answer ends early")
