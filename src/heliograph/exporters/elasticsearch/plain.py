"""Mapping modes `none`, `raw` and `bodymap` for logs and spans, chosen by a request or a scope.

    none     one flat object: fields of the record, Attributes.*, Resource.*, Scope.*, of spans Events.* and Link
    raw      the same with the attributes' and events' own names
    bodymap  of a log whose body is a map: that map

Names are flattened and sorted; of equal ones the last stays; one that is the beginning of another gets `.value`. There
is no `.otel` in the data stream's name, no `require_data_stream`, and no document of a span event. The official message
classes are used: these modes are seldom, and nothing of the way of mode otel is in here.
Source: internal/encoder, internal/objmodel and the router of exporter/elasticsearchexporter 0.156, observed.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from heliograph.component.ids import Signal
from heliograph.exporters.elasticsearch.documents import Documents
from heliograph.exporters.elasticsearch.json_text import float_text, json_string
from heliograph.exporters.elasticsearch.record import LONGEST_ID, Options
from heliograph.exporters.elasticsearch.route import (
    OWN_DATASET,
    dataset_of_scope,
    sanitised_dataset,
    sanitised_namespace,
)
from heliograph.exporters.elasticsearch.value import read_value, value_text

_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_DEEPEST = 64
_NULL = b"null"
_HINTS = "elasticsearch.mapping.hints"
_NO_INDEX = "_noindex"
_ID = "elasticsearch.document_id"
_PIPELINE = "elasticsearch.ingest_pipeline"
_UID = "log.record.uid"
Field = tuple[bytes, bytes | None]
"""Flat name and JSON; None for what is not written (it hides an equal name before it all the same)."""


class PlainEncoder:
    """Encodes records of one signal, logs or traces."""

    def __init__(self, signal: Signal, options: Options) -> None:
        self._logs = signal is Signal.LOGS
        self._type = b"logs" if self._logs else b"traces"
        self._fixed = options.logs_index if self._logs else options.traces_index
        self._dynamic_id = options.logs_dynamic_id if self._logs else options.traces_dynamic_id
        self._dynamic_pipeline = self._logs and options.logs_dynamic_pipeline

    def encode(
        self, mode: bytes, resource: Any, scope: Any, records: Iterable[Any], date: bytes, documents: Documents
    ) -> None:
        """Some records of a scope. mode: none, raw, or (logs only) bodymap. resource, scope, records: messages. date:
        what logstash_format appends to the index."""
        for record in records:
            if _no_index(record.attributes):
                documents.leave_out("noindex", 1, "")
                continue
            index, stream = self._route(mode, record.attributes, scope, resource.attributes, documents)
            if mode == b"bodymap":
                if record.body.WhichOneof("value") != "kvlist_value":
                    documents.leave_out("no_map_body", 1, "mapping mode bodymap takes logs whose body is a map only")
                    continue
                source = _whole(record.body, 0)
            else:
                source = _flat(_deduplicated(self._fields(mode, resource, scope, record, () if date else stream)))
            documents.lines.append(b"%b\n%b\n" % (self._action(record.attributes, index + date), source))
            documents.items.append(1)

    def _fields(
        self, mode: bytes, resource: Any, scope: Any, record: Any, stream: Sequence[tuple[bytes, bytes]]
    ) -> list[Field]:
        prefix = b"Attributes" if mode == b"none" else b""
        fields = _log_fields(record) if self._logs else _span_fields(record)
        # The data stream's attributes stand where the record's first ones of these names stood.
        fields.extend((_joined(prefix, name), _string(value)) for name, value in stream)
        replaced = {name.decode() for name, _ in stream}
        kept = []
        for pair in record.attributes:
            if pair.key in replaced:
                replaced.discard(pair.key)
            else:
                kept.append(pair)
        _attributes(prefix, kept, fields, 0)
        _attributes(b"Resource", resource.attributes, fields, 0)
        if not self._logs:
            _events(b"Events" if mode == b"none" else b"", record.events, fields)
        _attributes(b"Scope", scope.attributes, fields, 0)
        fields.append((b"Scope.name", _string(scope.name.encode())))
        fields.append((b"Scope.version", _string(scope.version.encode())))
        return fields

    def _action(self, attributes: Any, index: bytes) -> bytes:
        id = _first(_ID, (attributes,)) or b"" if self._dynamic_id else b""
        if self._logs and not id:
            texts = (pair.value for pair in attributes if pair.key == _UID)
            uid = next(texts, None)
            id = b"" if uid is None else uid.string_value.encode()
        pipeline = _first(_PIPELINE, (attributes,)) if self._dynamic_pipeline else b""
        line = b'{"create":{'
        if 0 < len(id) <= LONGEST_ID:
            line += b'"_id":' + json_string(id) + b","
        line += b'"_index":' + json_string(index)
        if pipeline:
            line += b',"pipeline":' + json_string(pipeline)
        return line + b"}}"

    def _route(
        self, mode: bytes, record: Any, scope: Any, resource: Any, documents: Documents
    ) -> tuple[bytes, Sequence[tuple[bytes, bytes]]]:
        """The index, and the data stream's attributes."""
        levels = (record, scope.attributes, resource)
        index = self._fixed or _first("elasticsearch.index", levels)
        if index:
            return index, ()
        type_ = self._type
        if mode == b"bodymap":
            wanted = _first("data_stream.type", levels) or b""
            if wanted in (b"logs", b"metrics"):
                type_ = wanted
            elif wanted:
                documents.note("mapping mode bodymap: data_stream.type is neither logs nor metrics; logs is taken")
        dataset = _first("data_stream.dataset", levels)
        if dataset is None:
            dataset = dataset_of_scope([], scope.name.encode())
            if dataset != OWN_DATASET:
                formats = (pair.value.string_value for pair in scope.attributes if pair.key == "encoding.format")
                dataset = next(formats, "").encode() or dataset
        dataset = sanitised_dataset(dataset)
        given = _first("data_stream.namespace", levels)
        namespace = sanitised_namespace(b"default" if given is None else given)
        name = type_ + b"-" + dataset + b"-" + namespace
        return name, (
            (b"data_stream.type", type_),
            (b"data_stream.dataset", dataset),
            (b"data_stream.namespace", namespace),
        )


def _log_fields(log: Any) -> list[Field]:
    fields: list[Field] = [
        (b"@timestamp", _time(log.time_unix_nano or log.observed_time_unix_nano)),
        (b"TraceFlags", b"%d" % log.flags),
        (b"SeverityNumber", b"%d" % log.severity_number),
    ]
    _text(b"TraceId", _id(log.trace_id), fields)
    _text(b"SpanId", _id(log.span_id), fields)
    _text(b"SeverityText", log.severity_text, fields)
    _value(b"Body", log.body, fields, 0)
    return fields


def _span_fields(span: Any) -> list[Field]:
    duration = span.end_time_unix_nano - span.start_time_unix_nano
    kind = f"SPAN_KIND_{_KINDS[span.kind]}" if 0 <= span.kind < len(_KINDS) else ""
    fields: list[Field] = [
        (b"@timestamp", _time(span.start_time_unix_nano)),
        (b"EndTimestamp", _time(span.end_time_unix_nano)),
        (b"TraceStatus", b"%d" % span.status.code),
        (b"Duration", b"%d" % (abs(duration) // 1000 * (1 if duration >= 0 else -1))),
    ]
    _text(b"TraceId", _id(span.trace_id), fields)
    _text(b"SpanId", _id(span.span_id), fields)
    _text(b"ParentSpanId", _id(span.parent_span_id), fields)
    _text(b"Name", span.name, fields)
    _text(b"Kind", kind, fields)
    if links := _links(span.links):
        fields.append((b"Link", _string(links)))
    _text(b"TraceStatusDescription", span.status.message, fields)
    return fields


def _events(prefix: bytes, events: Iterable[Any], fields: list[Field]) -> None:
    for event in events:
        name = event.name.encode()
        fields.append((_joined(prefix, name + b".time"), _time(event.time_unix_nano)))
        _attributes(_joined(prefix, name), event.attributes, fields, 0)


def _string(raw: bytes) -> bytes:
    """A JSON string; these modes spell two control characters in another way than mode otel."""
    for character, spelt in ((b"\x08", b"\\u0008"), (b"\x0c", b"\\u000c")):
        if character in raw:
            return b'"' + spelt.join(_string(piece)[1:-1] for piece in raw.split(character)) + b'"'
    return json_string(raw)


def _no_index(attributes: Any) -> bool:
    """Whether the record's mapping hints say that no document is to be made of it."""
    for pair in attributes:
        if pair.key == _HINTS:
            return any(value.string_value == _NO_INDEX for value in pair.value.array_value.values)
    return False


def _first(key: str, levels: Iterable[Any]) -> bytes | None:
    for attributes in levels:
        for pair in attributes:
            if pair.key == key:
                return _as_text(pair.value)
    return None


def _joined(prefix: bytes, name: bytes) -> bytes:
    return prefix + b"." + name if prefix else name


def _text(name: bytes, text: str, fields: list[Field]) -> None:
    if text:
        fields.append((name, _string(text.encode())))


def _id(raw: bytes) -> str:
    return raw.hex() if raw.strip(b"\0") else ""


def _time(nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f'"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"'.encode()


def _attributes(prefix: bytes, attributes: Iterable[Any], fields: list[Field], depth: int) -> None:
    for pair in attributes:
        _value(_joined(prefix, pair.key.encode()), pair.value, fields, depth)


def _value(name: bytes, value: Any, fields: list[Field], depth: int) -> None:
    kind = value.WhichOneof("value")
    if kind is None:
        return
    if kind == "kvlist_value" and depth < _DEEPEST:
        _attributes(name, value.kvlist_value.values, fields, depth + 1)
        return
    empty = kind == "bytes_value" or (kind == "array_value" and not value.array_value.values)
    fields.append((name, None if empty else _json(value, depth)))


def _json(value: Any, depth: int) -> bytes:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return _string(value.string_value.encode())
    if kind == "bool_value":
        return b"true" if value.bool_value else b"false"
    if kind == "int_value":
        return b"%d" % value.int_value
    if kind == "double_value":
        return float_text(value.double_value)
    if kind == "array_value" and depth < _DEEPEST:
        return b"[" + b",".join(_json(item, depth + 1) for item in value.array_value.values) + b"]"
    if kind == "kvlist_value" and depth < _DEEPEST:
        fields: list[Field] = []
        _attributes(b"", value.kvlist_value.values, fields, depth + 1)
        return _nested(_deduplicated(fields)) if fields else _NULL
    return _NULL


def _deduplicated(fields: list[Field]) -> list[Field]:
    ordered = sorted(fields, key=lambda field: field[0])
    renamed = False
    for number in range(len(ordered) - 1):
        name = ordered[number][0]
        if ordered[number + 1][0].startswith(name + b"."):
            ordered[number] = name + b".value", ordered[number][1]
            renamed = True
    if renamed:
        ordered.sort(key=lambda field: field[0])
    last = len(ordered) - 1
    return [
        field
        for number, field in enumerate(ordered)
        if field[1] is not None and (number == last or ordered[number + 1][0] != field[0])
    ]


def _flat(fields: Sequence[Field]) -> bytes:
    return b"{" + b",".join(_string(name) + b":" + (text or b"") for name, text in fields) + b"}"


def _nested(fields: Sequence[Field]) -> bytes:
    """Objects for the parts of the names; equal beginnings stand together since names are sorted."""
    tree: dict[bytes, Any] = {}
    for name, text in fields:
        *path, leaf = name.split(b".")
        place = tree
        for part in path:
            below = place.setdefault(part, {})
            if not isinstance(below, dict):
                below = place[part] = {b"value": below}
            place = below
        place[leaf] = text
    return _tree(tree)


def _tree(tree: dict[bytes, Any]) -> bytes:
    members = (
        _string(name) + b":" + (_tree(below) if isinstance(below, dict) else below) for name, below in tree.items()
    )
    return b"{" + b",".join(members) + b"}"


def _links(links: Iterable[Any]) -> bytes:
    """All links of a span in one text, as upstream has it (nothing when a NaN is in it)."""
    described = ArrayValue()
    for link in links:
        members = (
            ("attribute", AnyValue(kvlist_value=KeyValueList(values=link.attributes))),
            ("spanID", AnyValue(string_value=_id(link.span_id))),
            ("traceID", AnyValue(string_value=_id(link.trace_id))),
        )
        pairs = KeyValueList(values=[KeyValue(key=key, value=value) for key, value in members])
        described.values.append(AnyValue(kvlist_value=pairs))
    text = _as_text(AnyValue(array_value=described))
    for character in "<>&\u2028\u2029":
        text = text.replace(character.encode(), f"\\u{ord(character):04x}".encode())
    return text


def _as_text(value: AnyValue) -> bytes:
    raw: bytes = value.SerializeToString()
    text: bytes = value_text(read_value(raw, 0, len(raw)))
    return text


def _whole(value: Any, depth: int) -> bytes:
    """A body as it is: nothing is flattened, moved or left out."""
    kind = value.WhichOneof("value")
    if kind == "bytes_value":
        return b'"%b"' % value.bytes_value.hex().encode()
    if kind == "array_value" and depth < _DEEPEST:
        return b"[" + b",".join(_whole(item, depth + 1) for item in value.array_value.values) + b"]"
    if kind == "kvlist_value" and depth < _DEEPEST:
        pairs = value.kvlist_value.values
        return (
            b"{" + b",".join(_string(pair.key.encode()) + b":" + _whole(pair.value, depth + 1) for pair in pairs) + b"}"
        )
    return _json(value, depth)
