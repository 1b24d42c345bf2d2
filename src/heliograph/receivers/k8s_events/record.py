"""From an Event of the core API to a log record.

Source: k8s_event_to_logdata.go of upstream; Kubernetes API reference, Event v1 core.
"""

from datetime import UTC, datetime

import msgspec

from heliograph import __version__
from heliograph.otlp.attributes import encode_any_value, encode_attributes, encode_key_value
from heliograph.otlp.wire import field, varint

_SCOPE = field(
    1,
    field(1, b"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/k8seventsreceiver")
    + field(2, __version__.encode()),
)
_SEVERITIES = {"normal": 9, "warning": 13, "error": 17, "critical": 21}
_NEVER = "0001-01-01 00:00:00 +0000 UTC"


class Metadata(msgspec.Struct, rename="camel", gc=False):
    """metadata of an event."""

    name: str = ""
    uid: str = ""
    creation_timestamp: str | None = None


class Involved(msgspec.Struct, rename="camel", gc=False):
    """involvedObject."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class Source(msgspec.Struct, gc=False):
    """source."""

    host: str = ""


class Event(msgspec.Struct, rename="camel"):
    """An Event v1. Times: RFC 3339, as they came."""

    metadata: Metadata
    involved_object: Involved = msgspec.field(default_factory=Involved)
    source: Source = msgspec.field(default_factory=Source)
    reason: str = ""
    message: str = ""
    type: str = ""
    action: str = ""
    count: int | None = None
    event_time: str | None = None
    last_timestamp: str | None = None
    first_timestamp: str | None = None
    reporting_component: str = ""
    reporting_instance: str = ""


decode = msgspec.json.Decoder(Event).decode


def time_ns(event: Event) -> int:
    """When it happened, nanoseconds since the epoch: eventTime, else lastTimestamp, else firstTimestamp; 0 without
    any."""
    for text in (event.event_time, event.last_timestamp, event.first_timestamp):
        found = _moment(text)
        if found is not None:
            since = found - datetime(1970, 1, 1, tzinfo=UTC)
            return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
    return 0


def resource_logs(event: Event) -> bytes:
    """The serialized ResourceLogs with the event's record."""
    about = event.involved_object
    resource = encode_attributes(
        {
            "k8s.node.name": event.source.host,
            "k8s.object.kind": about.kind,
            "k8s.object.name": about.name,
            "k8s.object.uid": about.uid,
            "k8s.object.fieldpath": about.field_path,
            "k8s.object.api_version": about.api_version,
            "k8s.object.resource_version": about.resource_version,
        }
    )
    severity = _SEVERITIES.get(event.type.lower(), 0)
    created = _moment(event.metadata.creation_timestamp)
    attributes: dict[str, str | int] = {
        "k8s.event.reason": event.reason,
        "k8s.event.action": event.action,
        "k8s.event.start_time": f"{created.astimezone(UTC):%Y-%m-%d %H:%M:%S} +0000 UTC" if created else _NEVER,
        "k8s.event.name": event.metadata.name,
        "k8s.event.uid": event.metadata.uid,
        "k8s.namespace.name": about.namespace,
        "k8s.event.reporting_controller": event.reporting_component,
        "k8s.event.reporting_instance": event.reporting_instance,
    }
    if event.count:
        attributes["k8s.event.count"] = event.count
    record = b"".join(
        (
            b"\x09" + (time_ns(event) & (1 << 64) - 1).to_bytes(8, "little"),
            b"\x10" + varint(severity) + field(3, event.type.encode("utf-8", "replace")) if severity else b"",
            field(5, encode_any_value(event.message)),
            *(encode_key_value(6, name, value) for name, value in attributes.items()),
        )
    )
    return field(1, resource) + field(2, _SCOPE + field(2, record))


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
