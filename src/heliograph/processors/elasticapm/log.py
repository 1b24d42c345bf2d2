"""What is added to log records: events, exceptions and crashes of devices; plain records stay as they are.

An exception or a crash moves the record to the data stream `apm.error`, in the namespace of the record, else of its
scope, else `default` (the resource's is not looked at in mapping mode otel).
Source: internal/enrichments/log.go, mobile/event.go and internal/routing/data_stream.go.
"""

import secrets
from hashlib import md5
from typing import Final

from heliograph.otlp.attributes import Value, decode_attributes, decode_key_value, encode_attributes
from heliograph.otlp.wire import FIXED64, LENGTH, read_varint, skip
from heliograph.processors.elasticapm.config import ElasticApmConfig
from heliograph.processors.elasticapm.grouping import crash_key

_TIME: Final = 1 << 3 | FIXED64
_OBSERVED: Final = 11 << 3 | FIXED64
_ATTRIBUTES: Final = 6
_ATTRIBUTE: Final = _ATTRIBUTES << 3 | LENGTH
_EVENT_NAME: Final = 12 << 3 | LENGTH
_EMPTY_MESSAGE: Final = "[EMPTY]"
_TELLING: Final = (b"\n\x0fprocessor.event", b"\n\x0eexception.type", b"\n\x11exception.message", b"\n\nevent.name")


class LogEnricher:
    """Enriches serialized log records by one configuration."""

    def __init__(self, config: ElasticApmConfig) -> None:
        self._switches = config.elastic_log

    def enrich(self, record: bytes, language: str, namespace: str) -> bytes:
        """The record with what is missing. language: telemetry.sdk.language of its resource. namespace: of its scope.

        Raises MalformedPayload for bytes that are no record.
        """
        times = {_TIME: 0, _OBSERVED: 0}
        event_name = b""
        raw: list[bytes] = []
        telling = False
        pos, size = 0, len(record)
        while pos < size:
            tag, pos = read_varint(record, pos)
            end = skip(record, pos, tag & 7)
            if tag == _ATTRIBUTE:
                _, begin = read_varint(record, pos)
                attribute = record[begin:end]
                raw.append(attribute)
                telling = telling or attribute.startswith(_TELLING) or not attribute.startswith(b"\n")
            elif tag in times:
                times[tag] = int.from_bytes(record[pos:end], "little")
            elif tag == _EVENT_NAME:
                _, begin = read_varint(record, pos)
                event_name = record[begin:end]
            pos = end
        if not telling and not event_name:
            return record
        present: dict[str, Value] = {}
        for attribute in raw:
            key, value = decode_key_value(attribute)
            present.setdefault(key, value)
        time_us = (times[_TIME] or times[_OBSERVED]) // 1000
        return self._enriched(record, present, event_name.decode("utf-8", "replace"), time_us, language, namespace)

    def _enriched(
        self, record: bytes, present: dict[str, Value], event_name: str, time_us: int, language: str, namespace: str
    ) -> bytes:
        out: dict[str, Value] = {}
        name = event_name or _as_text(present.get("event.name"))
        action = name.removeprefix("device.")
        if name:
            self._add_event(out, present, name, action, time_us, language)
        if "processor.event" in present:
            error = present["processor.event"] == "error"
        else:
            error = "exception.type" in present or "exception.message" in present
        if error:
            self._add_error(out, present, time_us)
        added = {key: value for key, value in out.items() if key not in present}
        if error or action == "crash":
            stream: dict[str, Value] = {"data_stream.type": "logs", "data_stream.dataset": "apm.error"}
            if present.get("data_stream.namespace", "") == "":
                stream["data_stream.namespace"] = namespace or "default"
            changed = {key: value for key, value in stream.items() if present.get(key) != value}
            if changed.keys() & present.keys():
                record = _without(record, changed.keys() & present.keys())
            added.update(changed)
        return record + encode_attributes(added, _ATTRIBUTES)

    def _add_event(
        self, out: dict[str, Value], present: dict[str, Value], name: str, action: str, time_us: int, language: str
    ) -> None:
        switches = self._switches
        if "event_kind" in switches:
            out["event.kind"] = "event"
        if not name.startswith("device.") and _as_text(present.get("event.domain")) != "device":
            return
        if "event_category" in switches:
            out["event.category"] = "device"
        if action != "crash":
            if action and "event_action" in switches:
                out["event.action"] = action
            return
        out["timestamp.us"] = time_us
        out["error.id"] = secrets.token_hex(16)
        if "exception.stacktrace" in present and "error_grouping_key" in switches:
            key = crash_key(language, _as_text(present["exception.stacktrace"]))
            if key:
                out["error.grouping_key"] = key
        if "error_type" in switches:
            out["error.type"] = "crash"
        if "event_type" in switches:
            out["event.type"] = "error"

    def _add_error(self, out: dict[str, Value], present: dict[str, Value], time_us: int) -> None:
        """What is in `out` already, from a crash, stays."""
        type_ = _text(present.get("exception.type"))
        message = _text(present.get("exception.message"))
        trace = _text(present.get("exception.stacktrace"))
        if not type_ and not message:
            return
        message = message or _EMPTY_MESSAGE
        switches = self._switches
        if "error_id" in switches:
            out.setdefault("error.id", secrets.token_hex(16))
        if "error_exception_handled" in switches:
            out["error.exception.handled"] = present.get("exception.escaped") is not True
        if "error_exception_message" in switches:
            out["error.exception.message"] = message
        if "error_exception_type" in switches and type_:
            out["error.exception.type"] = type_
        if "error_stack_trace" in switches and trace:
            out["error.stack_trace"] = trace
        if "error_grouping_key" in switches:
            digest = md5((type_ + message + trace).encode(), usedforsecurity=False).hexdigest()
            out.setdefault("error.grouping_key", digest)
        if "timestamp_us" in switches:
            out["timestamp.us"] = time_us
        if "event_kind" in switches:
            out["event.kind"] = "event"
        if "event_type" in switches:
            out["event.type"] = "error"


def language_of(resource: bytes) -> str:
    """telemetry.sdk.language of a serialized Resource, or ""."""
    for key, value in decode_attributes(resource):
        if key == "telemetry.sdk.language":
            return _text(value)
    return ""


def namespace_of(scope: bytes) -> str:
    """data_stream.namespace of a serialized InstrumentationScope, or ""."""
    pos, size = 0, len(scope)
    while pos < size:
        tag, pos = read_varint(scope, pos)
        end = skip(scope, pos, tag & 7)
        if tag == 3 << 3 | LENGTH:
            _, begin = read_varint(scope, pos)
            key, value = decode_key_value(scope[begin:end])
            if key == "data_stream.namespace":
                return _text(value)
        pos = end
    return ""


def _without(record: bytes, keys: "set[str]") -> bytes:
    pieces = []
    pos, size = 0, len(record)
    while pos < size:
        start = pos
        tag, pos = read_varint(record, pos)
        pos_value = pos
        pos = skip(record, pos, tag & 7)
        if tag == _ATTRIBUTE:
            _, begin = read_varint(record, pos_value)
            if decode_key_value(record[begin:pos])[0] in keys:
                continue
        pieces.append(record[start:pos])
    return b"".join(pieces)


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""


def _as_text(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else ""
