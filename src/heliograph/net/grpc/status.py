"""gRPC status: codes, the error that carries one, and its form in trailers.

Sources: gRPC over HTTP/2 (grpc-status, grpc-message, the mapping of HTTP and RST_STREAM codes), google.rpc.Status and
google.rpc.RetryInfo (grpc-status-details-bin). The two protobuf messages are small enough to be written by hand.
"""

import base64
import binascii
from typing import Final
from urllib.parse import unquote

from heliograph.component.errors import DeliveryError, Overloaded, Permanent, Retryable
from heliograph.otlp.wire import field, read_varint, varint

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INVALID_ARGUMENT: Final = 3
DEADLINE_EXCEEDED: Final = 4
NOT_FOUND: Final = 5
ALREADY_EXISTS: Final = 6
PERMISSION_DENIED: Final = 7
RESOURCE_EXHAUSTED: Final = 8
FAILED_PRECONDITION: Final = 9
ABORTED: Final = 10
OUT_OF_RANGE: Final = 11
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
DATA_LOSS: Final = 15
UNAUTHENTICATED: Final = 16

NAMES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_RETRY_INFO: Final = b"type.googleapis.com/google.rpc.RetryInfo"
_MAX_MESSAGE: Final = 4096
_HTTP: Final = {
    400: INTERNAL,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    429: UNAVAILABLE,
    502: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}


class GrpcError(Exception):
    """A call that ended with another status than OK. status: the code. message: for a person, never empty.
    retry_after: seconds after which the other side asks to try again (RetryInfo), or None."""

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(status, message, retry_after)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{status_name(self.status)}: {self.message}"


def undecided(error: DeliveryError) -> GrpcError:
    """The end of a call whose sender's rights cannot be told."""
    if isinstance(error, Permanent):
        return GrpcError(error.code, str(error))
    after = error.after if isinstance(error, Retryable) else None
    return GrpcError(RESOURCE_EXHAUSTED if isinstance(error, Overloaded) else UNAVAILABLE, str(error), after)


def status_name(status: int) -> str:
    """The name of a status code, or its number."""
    return NAMES[status] if 0 <= status < len(NAMES) else f"status {status}"


def status_of_http(code: int) -> int:
    """The gRPC status for an answer that is not gRPC's, by its HTTP status."""
    return _HTTP.get(code, UNKNOWN)


def encode_message(message: str) -> bytes:
    """grpc-message: percent-encoded UTF-8, cut to a length that fits in a header."""
    raw = message.encode("utf-8", "replace")[:_MAX_MESSAGE]
    return b"".join([b"%%%02X" % byte if byte < 0x20 or byte > 0x7E or byte == 0x25 else b"%c" % byte for byte in raw])


def decode_message(text: str) -> str:
    """The text of a grpc-message header; what is badly encoded stays as it is."""
    return unquote(text, errors="replace") if "%" in text else text


def encode_details(error: GrpcError) -> bytes:
    """grpc-status-details-bin of an error with retry_after: base64 of a google.rpc.Status with a RetryInfo."""
    nanoseconds = max(0, int((error.retry_after or 0.0) * 1e9))
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    duration = (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")
    detail = field(1, _RETRY_INFO) + field(2, field(1, duration))
    status = (
        b"\x08" + varint(error.status) + field(2, error.message.encode("utf-8", "replace")[:512]) + field(3, detail)
    )
    return base64.b64encode(status).rstrip(b"=")


def decode_retry_after(text: str) -> float | None:
    """Seconds of the RetryInfo in a grpc-status-details-bin header; None when there is none or it cannot be read."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        for number, payload in _fields(raw):
            if number != 3 or not isinstance(payload, bytes):
                continue
            detail = dict(_fields(payload))
            if detail.get(1) == _RETRY_INFO and isinstance(value := detail.get(2, b""), bytes):
                delay = dict(_fields(value)).get(1)
                if not isinstance(delay, bytes):
                    return 0.0
                duration = dict(_fields(delay))
                seconds, nanos = duration.get(1, 0), duration.get(2, 0)
                if isinstance(seconds, int) and isinstance(nanos, int) and seconds < 1 << 40 and nanos < 1 << 30:
                    return seconds + nanos / 1e9
        return None
    except (ValueError, IndexError, binascii.Error):
        return None


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a protobuf message. Raises ValueError or IndexError when it is none."""
    found: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(data):
        tag, position = read_varint(data, position)
        kind = tag & 7
        if kind == 0:
            value, position = read_varint(data, position)
            found.append((tag >> 3, value))
        elif kind == 2:
            length, position = read_varint(data, position)
            if position + length > len(data):
                raise ValueError("a field is longer than its message")
            found.append((tag >> 3, data[position : position + length]))
            position += length
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
    return found
