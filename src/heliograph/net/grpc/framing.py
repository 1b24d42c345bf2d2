"""gRPC's framing of messages, its compression names and its timeouts (source: "gRPC over HTTP/2").

A message is a byte that says whether it is compressed, four bytes of length, and the message.
"""

import struct
from typing import Final

from heliograph.net import compression
from heliograph.net.grpc.status import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED, GrpcError
from heliograph.otlp.errors import MalformedPayload

PREFIX_LENGTH: Final = 5
PREFIX: Final = struct.Struct(">BL")

# grpc-encoding -> name in net.compression. gRPC's snappy is the framed one, as the upstream Collector sends it.
ENCODINGS: Final = {
    "gzip": "gzip",
    "deflate": "zlib",
    "zstd": "zstd",
    "snappy": "x-snappy-framed",
}
ACCEPT_ENCODING: Final = b"identity,gzip,deflate,zstd,snappy"

_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def too_large(size: int, limit: int) -> GrpcError:
    """The error for a message whose length is over the limit."""
    return GrpcError(RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})")


def encode(message: bytes, encoding: str) -> bytes:
    """A message with its prefix, compressed when `encoding` is a key of ENCODINGS ("" for none). Raises GrpcError when
    it is another."""
    if not encoding:
        return PREFIX.pack(0, len(message)) + message
    name = ENCODINGS.get(encoding)
    if name is None:
        raise GrpcError(INTERNAL, f"compression {encoding!r} is unknown; known: {', '.join(ENCODINGS)}")
    packed = compression.compress(name, message)
    return PREFIX.pack(1, len(packed)) + packed


def inflate(data: bytes, encoding: str, limit: int) -> bytes:
    """The message of a compressed one. encoding: the grpc-encoding header. Raises GrpcError."""
    name = ENCODINGS.get(encoding)
    if name is None:
        if not encoding or encoding == "identity":
            raise GrpcError(INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        raise GrpcError(UNIMPLEMENTED, f"grpc: Decompressor is not installed for grpc-encoding {encoding!r}")
    try:
        return compression.decompress(name, data, limit)
    except compression.TooLarge:
        raise GrpcError(
            RESOURCE_EXHAUSTED, f"grpc: received message after decompression larger than max {limit}"
        ) from None
    except MalformedPayload as error:
        raise GrpcError(INTERNAL, f"grpc: failed to decompress the received message: {error}") from None


def parse_timeout(text: str) -> float | None:
    """Seconds of a grpc-timeout header; None when it is malformed."""
    digits, unit = text[:-1], text[-1:]
    scale = _UNITS.get(unit)
    if scale is None or not 1 <= len(digits) <= 8 or not digits.isascii() or not digits.isdigit():
        return None
    return int(digits) * scale


def format_timeout(seconds: float) -> bytes:
    """A grpc-timeout header of at most eight digits, rounded up."""
    if seconds <= 0:
        return b"1n"
    if seconds < 99.0:
        return b"%du" % max(1, int(seconds * 1e6))
    if seconds < 99999.0:
        return b"%dm" % int(seconds * 1e3)
    return b"%dS" % min(int(seconds), 99999999)


class Assembler:
    """Puts the one message of a body together from its pieces.

    limit: bytes that the message, as sent, may have. size: bytes held.
    """

    __slots__ = ("_limit", "_pieces", "_total", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._total = -1  # prefix and message, once the prefix is read
        self.size = 0

    def add(self, data: bytes) -> None:
        """Take a piece. Raises GrpcError as soon as the declared length is over the limit, or there is more than one
        message."""
        self._pieces.append(data)
        self.size += len(data)
        if self._total < 0:
            if self.size < PREFIX_LENGTH:
                return
            head = data if len(self._pieces) == 1 else b"".join(self._pieces)
            length = PREFIX.unpack_from(head)[1]
            if length > self._limit:
                raise too_large(length, self._limit)
            self._total = length + PREFIX_LENGTH
        if self.size > self._total:
            raise GrpcError(INTERNAL, "grpc: more than one message in a unary call")

    def message(self) -> tuple[bool, bytes]:
        """(compressed, message) when the body has ended. Raises GrpcError when it is not whole."""
        if self._total != self.size:
            what = "has no message" if not self.size else "ends inside a message"
            raise GrpcError(INTERNAL, f"grpc: the body {what}")
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        flag = body[0]
        if flag > 1:
            raise GrpcError(INTERNAL, f"grpc: compressed flag {flag}")
        return flag == 1, body[PREFIX_LENGTH:]
