"""google.rpc.Status, the body of an error in OTLP/HTTP, and the codes of HTTP and gRPC side by side.

    message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }

Sources: the OTLP specification, "Failures"; upstream's receiver/otlpreceiver/internal/errors for the mapping.
"""

import json

from heliograph.net.grpc.status import (
    ABORTED,
    CANCELLED,
    DATA_LOSS,
    DEADLINE_EXCEEDED,
    INVALID_ARGUMENT,
    OUT_OF_RANGE,
    PERMISSION_DENIED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
)
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.response import number_and_text
from heliograph.otlp.wire import field, varint

_HTTP = {
    INVALID_ARGUMENT: 400,
    UNAUTHENTICATED: 401,
    PERMISSION_DENIED: 403,
    UNIMPLEMENTED: 404,
    RESOURCE_EXHAUSTED: 429,
    **dict.fromkeys((CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS), 503),
}
_GRPC = {
    400: INVALID_ARGUMENT,
    401: UNAUTHENTICATED,
    403: PERMISSION_DENIED,
    404: UNIMPLEMENTED,
    408: DEADLINE_EXCEEDED,
    413: RESOURCE_EXHAUSTED,
    429: RESOURCE_EXHAUSTED,
    **dict.fromkeys((502, 503, 504), UNAVAILABLE),
}


def http_status(code: int) -> int:
    """The HTTP status for a gRPC code; 500 for those that have none of their own."""
    return _HTTP.get(code, 500)


def grpc_code(status: int) -> int:
    """The gRPC code for an HTTP status of an error; UNKNOWN for those that have none of their own."""
    return _GRPC.get(status, UNKNOWN)


def encode_status(code: int, message: str) -> bytes:
    """A google.rpc.Status in protobuf form."""
    text = message.encode("utf-8", "replace")
    return b"\x08" + varint(code) + (field(2, text) if text else b"")


def encode_status_json(code: int, message: str) -> bytes:
    """A google.rpc.Status in JSON form."""
    return json.dumps({"code": code, "message": message}, ensure_ascii=False).encode("utf-8", "replace")


def decode_message(content_type: str, body: bytes) -> str:
    """What a server said in the body of an error: the message of a google.rpc.Status in either form, else the first
    line of text. "" when there is nothing to read."""
    if not body:
        return ""
    if content_type.startswith("application/json"):
        try:
            status = json.loads(body)
        except ValueError:
            return _text(body)
        message = status.get("message") if isinstance(status, dict) else None
        return message if isinstance(message, str) else _text(body)
    if content_type.startswith("text/"):
        return _text(body)
    try:
        return number_and_text(body)[1]
    except MalformedPayload:
        return _text(body)


def _text(body: bytes) -> str:
    return body[:500].decode("utf-8", "replace").strip().partition("\n")[0]
