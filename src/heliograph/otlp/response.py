"""What a server said about a request that it took: the partial_success of an Export*ServiceResponse.

    message Export*ServiceResponse { Export*PartialSuccess partial_success = 1; }
    message Export*PartialSuccess { int64 rejected_* = 1; string error_message = 2; }

The three signals have the same field numbers, so one class reads them all.
Source: the OTLP specification, "Partial Success".
"""

import json

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from heliograph.otlp.errors import MalformedPayload

_REJECTED = ("rejectedSpans", "rejectedDataPoints", "rejectedLogRecords")


def partial_success(body: bytes) -> tuple[int, str]:
    """(rejected items, message) of a response in protobuf form; (0, "") when all was taken. Raises MalformedPayload."""
    if not body or body == b"\x0a\x00":
        return 0, ""
    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError as error:
        raise MalformedPayload(f"the response is no Export*ServiceResponse: {error}") from None
    return max(0, partial.rejected_spans), partial.error_message


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
