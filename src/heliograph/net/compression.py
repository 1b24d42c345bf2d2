"""Compression and bounded decompression of whole messages.

Names are those of HTTP's Content-Encoding and the Collector's `compression`: gzip, zstd, zlib, deflate (which is zlib
here, as RFC 9110 says; raw deflate is refused, as upstream refuses it), snappy (block format; the framed one is
recognised by its first bytes, as upstream does), x-snappy-framed, lz4 (frame format).

Decompression never holds more than `limit` bytes of output and raises TooLarge instead; every error is
MalformedPayload. The libraries are imported when first used. Sources: RFC 1950, 1952, 8878; snappy's format and framing
descriptions; the LZ4 frame format.
"""

import importlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from heliograph.otlp.errors import MalformedPayload

ENCODINGS: Final = ("gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4")
_SNAPPY_STREAM: Final = b"\xff\x06\x00\x00sNaPpY"

_Decoder = Callable[[bytes, int], bytes]
_Encoder = Callable[[bytes, int | None], bytes]


class TooLarge(Exception):
    """More than the limit came out. `limit`: bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the message has more than {limit} bytes after decompression")
        self.limit = limit


def known(encoding: str) -> bool:
    """Whether `decompress` and `compress` know the encoding; "" and "none" are known."""
    return encoding in ("", "none") or encoding in ENCODINGS


def decompress(encoding: str, data: bytes, limit: int) -> bytes:
    """The message that was compressed. Raises TooLarge before more than `limit` bytes are held, MalformedPayload when
    the data is damaged or cut off, ValueError when the encoding is unknown."""
    if encoding in ("", "none"):
        if len(data) > limit:
            raise TooLarge(limit)
        return data
    decoder = _DECODERS.get(encoding)
    if decoder is None:
        raise ValueError(f"unknown compression {encoding!r}")
    return decoder(data, limit)


def compress(encoding: str, data: bytes, level: int | None = None) -> bytes:
    """Compress a message. level: as in `compression_params`; None or 0: the default. Raises ValueError when the
    encoding is unknown."""
    if encoding in ("", "none"):
        return data
    encoder = _ENCODERS.get(encoding)
    if encoder is None:
        raise ValueError(f"unknown compression {encoding!r}")
    return encoder(data, level or None)


def _gzip_or_zlib(name: str, window_bits: int) -> _Decoder:
    """gzip (window bits 31) may hold several members; what follows a zlib stream is ignored, as Go's reader does."""

    def decode(data: bytes, limit: int) -> bytes:
        isal_zlib = importlib.import_module("isal.isal_zlib")
        pieces: list[bytes] = []
        size, position, end = 0, 0, len(data)
        view = memoryview(data)
        for member in range(_MAX_MEMBERS):
            stream = isal_zlib.decompressobj(window_bits)
            # What a member leaves over is copied each time: the first is given everything, the others a little at
            # first, so that very many small members do not take quadratic time.
            window = end if member == 0 else _MEMBER_WINDOW
            while not stream.eof:
                part = view[position : position + window]
                if not part:
                    raise MalformedPayload(f"{name}: the data ends early")
                try:
                    piece: bytes = stream.decompress(part, limit - size + 1)
                except (isal_zlib.error, zlib.error) as error:
                    raise MalformedPayload(f"{name}: {error}") from None
                size += len(piece)
                if size > limit:
                    raise TooLarge(limit)
                pieces.append(piece)
                position += len(part) - len(stream.unused_data)
                window *= 4
            if position == end or window_bits == _ZLIB:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        raise MalformedPayload(f"{name}: more than {_MAX_MEMBERS} members")

    return decode


def _zstd(data: bytes, limit: int) -> bytes:
    """A single frame that states its size goes the short way; anything else into a buffer of limited size."""
    zstandard = importlib.import_module("zstandard")
    try:
        size = zstandard.get_frame_parameters(data).content_size
    except zstandard.ZstdError as error:
        raise MalformedPayload(f"zstd: {error}") from None
    if size not in (zstandard.CONTENTSIZE_UNKNOWN, 0):
        if size > limit:
            raise TooLarge(limit)
        try:
            whole: bytes = _zstd_decompressor().decompress(data, allow_extra_data=False)
            return whole
        except zstandard.ZstdError:
            pass  # several frames, or damaged: the way below tells which
    return _into_buffer("zstd", data, limit)


def _snappy(data: bytes, limit: int) -> bytes:
    """The block format states its size first. Older Collectors sent the framed one under this name."""
    if data.startswith(_SNAPPY_STREAM):
        return _into_buffer("snappy", data, limit)
    snappy = importlib.import_module("cramjam").snappy
    try:
        if snappy.decompress_raw_len(data) > limit:
            raise TooLarge(limit)
        return bytes(snappy.decompress_raw(data))
    except _cramjam_error() as error:
        raise MalformedPayload(f"snappy: {error}") from None


def _buffered(module: str) -> _Decoder:
    return lambda data, limit: _into_buffer(module, data, limit)


def _into_buffer(module: str, data: bytes, limit: int) -> bytes:
    """Decode into a buffer of `limit` bytes by cramjam: it checks the end of the stream, takes several streams in a
    row, and stops when the buffer is full."""
    if not data:
        raise MalformedPayload(f"{module}: no data")
    buffer = bytearray(limit)
    try:
        size: int = getattr(importlib.import_module("cramjam"), module).decompress_into(data, buffer)
    except _cramjam_error() as error:
        if "failed to write whole buffer" in str(error):
            raise TooLarge(limit) from None
        raise MalformedPayload(f"{module}: {error}") from None
    return bytes(memoryview(buffer)[:size])


def _deflating(window_bits: int) -> _Encoder:
    def encode(data: bytes, level: int | None) -> bytes:
        """ISA-L for the default and for fast levels (the default's ratio is near zlib's level 2, in a quarter of its
        time); zlib itself for the levels above, whose point is a better ratio."""
        if level is not None and level > 3:
            return zlib.compress(data, level, window_bits)
        fast = 2 if level is None or level < 0 else level
        compressed: bytes = importlib.import_module("isal.isal_zlib").compress(data, fast, window_bits)
        return compressed

    return encode


def _zstd_compress(data: bytes, level: int | None) -> bytes:
    compressed: bytes = _zstd_compressor(max(1, min(level, 22)) if level is not None else 3).compress(data)
    return compressed


def _cramjam_compress(module: str, function: str = "compress") -> _Encoder:
    def encode(data: bytes, level: int | None) -> bytes:
        packed = bytes(getattr(getattr(importlib.import_module("cramjam"), module), function)(data))
        return packed or _SNAPPY_STREAM  # an empty framed stream is its header

    return encode


@cache
def _zstd_compressor(level: int) -> Any:
    return importlib.import_module("zstandard").ZstdCompressor(level=level)


@cache
def _zstd_decompressor() -> Any:
    return importlib.import_module("zstandard").ZstdDecompressor()


def _cramjam_error() -> type[Exception]:
    error: type[Exception] = importlib.import_module("cramjam").DecompressionError
    return error


_MAX_MEMBERS: Final = 10_000
_MEMBER_WINDOW: Final = 1024
_GZIP: Final = 31
_ZLIB: Final = 15
_DECODERS: Final[dict[str, _Decoder]] = {
    "gzip": _gzip_or_zlib("gzip", _GZIP),
    "zlib": _gzip_or_zlib("zlib", _ZLIB),
    "deflate": _gzip_or_zlib("deflate", _ZLIB),
    "zstd": _zstd,
    "snappy": _snappy,
    "x-snappy-framed": _buffered("snappy"),
    "lz4": _buffered("lz4"),
}
_ENCODERS: Final[dict[str, _Encoder]] = {
    "gzip": _deflating(_GZIP),
    "zlib": _deflating(_ZLIB),
    "deflate": _deflating(_ZLIB),
    "zstd": _zstd_compress,
    "snappy": _cramjam_compress("snappy", "compress_raw"),
    "x-snappy-framed": _cramjam_compress("snappy"),
    "lz4": _cramjam_compress("lz4"),
}
