"""What is added to span events: the time in microseconds, and to exceptions what makes them errors.

Source: internal/enrichments/span.go (spanEventEnrichmentContext).
"""

import secrets
from hashlib import md5

from heliograph.otlp.attributes import Value, decode_key_value, encode_attributes
from heliograph.otlp.wire import FIXED64, LENGTH, read_varint, skip
from heliograph.processors.elasticapm.config import SpanEventSwitches
from heliograph.processors.elasticapm.plan import Plan

_TIME = 1 << 3 | FIXED64
_NAME = 2 << 3 | LENGTH
_ATTRIBUTE = 3 << 3 | LENGTH


def enrich_event(event: bytes, plan: Plan, switches: SpanEventSwitches) -> bytes:
    """A serialized Span.Event with what is missing appended. plan: that of its span."""
    time_ns, name = 0, b""
    present: dict[str, Value] = {}
    pos, size = 0, len(event)
    while pos < size:
        tag, pos = read_varint(event, pos)
        end = skip(event, pos, tag & 7)
        if tag == _TIME:
            time_ns = int.from_bytes(event[pos:end], "little")
        elif tag in (_NAME, _ATTRIBUTE):
            _, begin = read_varint(event, pos)
            if tag == _NAME:
                name = event[begin:end]
            else:
                key, value = decode_key_value(event[begin:end])
                present[key] = value
        pos = end
    out: dict[str, Value] = {}
    if "timestamp_us" in switches:
        out["timestamp.us"] = time_ns // 1000
    if name == b"exception":
        _add_error(out, present, plan, switches)
    return event + encode_attributes({key: value for key, value in out.items() if key not in present}, 3)


def _add_error(out: dict[str, Value], present: dict[str, Value], plan: Plan, switches: SpanEventSwitches) -> None:
    if "processor_event" in switches:
        out["processor.event"] = "error"
    type_, message = present.get("exception.type"), present.get("exception.message")
    type_ = type_ if isinstance(type_, str) else ""
    message = message if isinstance(message, str) else ""
    if not type_ and not message:
        return
    if "error_id" in switches and "error.id" not in present:
        out["error.id"] = secrets.token_hex(16)
    if "error_exception_handled" in switches:
        out["error.exception.handled"] = present.get("exception.escaped") is not True
    if "error_grouping_key" in switches:
        out["error.grouping_key"] = md5((type_ or message).encode(), usedforsecurity=False).hexdigest()
    if "error_grouping_name" in switches and message:
        out["error.grouping_name"] = message
    if plan.is_transaction:
        if "transaction_sampled" in switches:
            out["transaction.sampled"] = True
        if "transaction_type" in switches:
            out["transaction.type"] = plan.transaction_type
