"""From objects of the API to log records: whole, as maps of whatever is in them.

Source: unstructured_to_logdata.go of upstream.
"""

from collections.abc import Iterable

import msgspec

from heliograph import __version__
from heliograph.kubernetes.changes import Change
from heliograph.otlp.attributes import encode_any_value, encode_attributes, encode_key_value
from heliograph.otlp.wire import field

_SCOPE = field(
    1,
    field(1, b"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/k8sobjectsreceiver")
    + field(2, __version__.encode()),
)
_decode = msgspec.json.Decoder().decode


def record(change: Change, plural: str, observed_ns: int, watched: bool) -> bytes:
    """A log record as a field of ScopeLogs. watched: it is a change, not only an object. Raises MsgspecError and
    RecursionError for what cannot be read."""
    body = _decode(change.object)
    attributes = encode_key_value(6, "k8s.resource.name", plural)
    if watched:
        body = {"type": change.type, "object": body}
        if change.name:
            attributes += encode_key_value(6, "event.domain", "k8s") + encode_key_value(6, "event.name", change.name)
    payload = field(5, encode_any_value(body)) + attributes + b"\x59" + observed_ns.to_bytes(8, "little")
    return field(2, payload)


def resource_logs(namespace: str, records: Iterable[bytes]) -> bytes:
    """The serialized ResourceLogs of a namespace, or of "" for objects of none."""
    resource = encode_attributes({"k8s.namespace.name": namespace}) if namespace else b""
    return field(1, resource) + field(2, _SCOPE + b"".join(records))
