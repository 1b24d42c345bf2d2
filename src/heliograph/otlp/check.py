"""The door: an Export*ServiceRequest is checked whole, counted and cut into its Resource* parts.

What the official parser refuses is refused: fields cut off, numbers and lengths too long, field number 0, text that is
no UTF-8, messages nested more than 100 deep, a packed field that does not come out even. Unknown fields are fine, and
stay where they are inside a part.

Compiled, the walk of otlp/walk.py does it. It refuses groups and a known field with another wire type as well, as the
upstream Collector does (the official parser takes both for unknown fields). As plain Python that walk is slower than
the official parser, which is C: then the parser is asked, and the walk only where a byte is unknown to it. See
docs/adr/0001.
"""

from heliograph.otlp import walk as _walk
from heliograph.otlp.count import count
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.messages import request_class
from heliograph.otlp.wire import LENGTH, read_varint, skip

COMPILED: bool = not _walk.__file__.endswith(".py")
"""Whether the walk was loaded from an extension module."""


def check(signal: str, body: bytes) -> tuple[list[bytes], int]:
    """(serialized Resource* messages, number of items) of a request body.

    signal: "traces", "metrics" or "logs". Raises MalformedPayload, with the offset in `body` where it is known.
    """
    return _walk.walk(signal, body) if COMPILED else check_by_parser(signal, body)


def check_by_parser(signal: str, body: bytes) -> tuple[list[bytes], int]:
    """The same by the official parser."""
    from google.protobuf.message import DecodeError

    try:
        message = request_class(signal).FromString(body)
    except DecodeError as error:
        raise MalformedPayload(str(error)) from None
    message.DiscardUnknownFields()
    if message.ByteSize() != len(body):
        # Something is unknown to the parser, or written in an unusual way: the walk says whether it may be there.
        return _walk.walk(signal, body)
    parts = cut(body)
    if signal == "traces":
        return parts, sum(len(scope.spans) for part in message.resource_spans for scope in part.scope_spans)
    if signal == "logs":
        return parts, sum(len(scope.log_records) for part in message.resource_logs for scope in part.scope_logs)
    return parts, sum(count(signal, part) for part in parts)


def cut(body: bytes) -> list[bytes]:
    """The Resource* messages of a request, unchecked. Raises MalformedPayload."""
    parts = []
    pos, size = 0, len(body)
    while pos < size:
        tag, pos = read_varint(body, pos)
        end = skip(body, pos, tag & 7)
        if tag == 1 << 3 | LENGTH:
            _, begin = read_varint(body, pos)
            parts.append(body[begin:end])
        pos = end
    return parts
