"""What a server said about a request that it took: the partial_success of an Export*ServiceResponse.

    message Export*ServiceResponse { Export*PartialSuccess partial_success = 1; }
    message Export*PartialSuccess { int64 rejected_* = 1; string error_message = 2; }

The three signals have the same field numbers, so one reader is enough.
Source: the OTLP specification, "Partial Success".
"""

import json

from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.wire import LENGTH, VARINT, read_varint, skip

_REJECTED = ("rejectedSpans", "rejectedDataPoints", "rejectedLogRecords")


def partial_success(body: bytes) -> tuple[int, str]:
    """(rejected items, message) of a response in protobuf form; (0, "") when all was taken. Raises MalformedPayload."""
    if not body or body == b"\x0a\x00":
        return 0, ""
    partial = b""
    pos, size = 0, len(body)
    try:
        while pos < size:
            tag, pos = read_varint(body, pos)
            end = skip(body, pos, tag & 7)
            if tag == 1 << 3 | LENGTH:
                partial += body[read_varint(body, pos)[1] : end]  # said twice, messages merge
            pos = end
        rejected, message = number_and_text(partial)
    except MalformedPayload as error:
        raise MalformedPayload(f"the response is no Export*ServiceResponse: {error}") from None
    return max(0, rejected), message


def number_and_text(message: bytes) -> tuple[int, str]:
    """The fields 1, an integer, and 2, a string, of a message: what Export*PartialSuccess and google.rpc.Status are.
    Raises MalformedPayload."""
    number, text = 0, b""
    pos, size = 0, len(message)
    while pos < size:
        tag, pos = read_varint(message, pos)
        end = skip(message, pos, tag & 7)
        if tag >> 3 == 0:
            raise MalformedPayload("field number 0", pos)
        if tag == 1 << 3 | VARINT:
            number, _ = read_varint(message, pos)
        elif tag == 2 << 3 | LENGTH:
            text = message[read_varint(message, pos)[1] : end]
        pos = end
    try:
        return (number - (1 << 64) if number >> 63 else number), text.decode()
    except UnicodeDecodeError:
        raise MalformedPayload("text that is no UTF-8") from None


def partial_success_json(body: bytes) -> tuple[int, str]:
    """The same for a response in JSON form, where 64 bit numbers may be text."""
    if not body:
        return 0, ""
    try:
        response = json.loads(body)
        partial = (response.get("partialSuccess") or {}) if isinstance(response, dict) else {}
        rejected = max((int(partial.get(name) or 0) for name in _REJECTED), default=0)
        return max(0, rejected), str(partial.get("errorMessage") or "")
    except (ValueError, TypeError, AttributeError) as error:
        raise MalformedPayload(f"the response is no Export*ServiceResponse: {error}") from None
