"""The body of a `_bulk` request -> documents to create, and the answer item by item.

What a data stream with the OTel templates refuses is refused here with the same status: anything but `create`, a
name that no template matches, no `@timestamp`, a plain string as body, an explicit id on a metric document, a second
document of the same series and time.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson
import xxhash

from heliograph.store.documents import NewDocument
from heliograph.store.errors import MISREAD, StoreError
from heliograph.store.times import to_ns

_STREAM = re.compile(r"(logs|metrics|traces)-[^\\/*?\"<>| ,#:A-Z-]{1,100}-[^\\/*?\"<>| ,#:A-Z]{1,100}\Z")
_MAX_DEPTH = 100
_ACTIONS = ("create", "index", "update", "delete")


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that is not even tried."""

    action: str
    stream: str
    id: str | None
    error: StoreError


@dataclass(frozen=True, slots=True)
class Accepted:
    """An item to write. id: the `_id` that was sent."""

    document: NewDocument
    id: str | None


Item = Refused | Accepted


def read_bulk(body: bytes, default_stream: str | None) -> list[Item]:
    """Parse NDJSON. Raises StoreError when the body as a whole is unusable."""
    if not body:
        raise StoreError(400, "parse_exception", "request body is required")
    if not body.endswith(b"\n"):
        raise StoreError(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
    lines = body.split(b"\n")
    items: list[Item] = []
    position = 0
    while position < len(lines) - 1:
        line = lines[position]
        position += 1
        if not line.strip():
            continue
        try:
            ((action, meta),) = orjson.loads(line).items()
        except MISREAD:
            action, meta = "", None
        if action not in _ACTIONS or not isinstance(meta, dict):
            raise StoreError(
                400, "illegal_argument_exception", f"Malformed action/metadata line [{position}], expected create"
            )
        stream, id_ = str(meta.get("_index") or default_stream or ""), meta.get("_id")
        source = b""
        if action != "delete":
            source, position = lines[position] if position < len(lines) else b"", position + 1
        try:
            items.append(Accepted(_document(action, stream, id_, source), id_))
        except StoreError as error:
            items.append(Refused(action, stream, id_, error))
        except MISREAD as error:
            refusal = StoreError(400, "document_parsing_exception", f"failed to parse: {error}")
            items.append(Refused(action, stream, id_, refusal))
    return items


def _document(action: str, stream: str, id_: str | None, source: bytes) -> NewDocument:
    if not _STREAM.match(stream):
        raise StoreError(
            404,
            "index_not_found_exception",
            f"no such index [{stream}] and [require_data_stream] request is [true] and [{stream}] is not a data stream",
        )
    if action != "create":
        raise StoreError(
            400, "illegal_argument_exception", "only write ops with an op_type of create are allowed in data streams"
        )
    if id_ is not None and (not isinstance(id_, str) or not 0 < len(id_.encode()) <= 512):
        raise StoreError(
            400, "illegal_argument_exception", f"id [{id_}] must be 1 to 512 bytes of text for a document in [{stream}]"
        )
    try:
        document = orjson.loads(source)
    except ValueError as error:
        raise StoreError(400, "document_parsing_exception", f"failed to parse: {error}") from None
    if source.count(b"{") + source.count(b"[") > _MAX_DEPTH and _depth(document) > _MAX_DEPTH:
        raise StoreError(400, "document_parsing_exception", f"nested deeper than {_MAX_DEPTH} levels")
    if not isinstance(document, dict) or document.get("@timestamp") is None:
        raise StoreError(400, "document_parsing_exception", "data stream timestamp field [@timestamp] is missing")
    try:
        time = to_ns(document["@timestamp"])
    except ValueError as error:
        raise StoreError(400, "document_parsing_exception", f"[@timestamp] {error}") from None
    if not -(2**63) <= time < 2**63:
        raise StoreError(400, "document_parsing_exception", "[@timestamp] is out of range")
    if "body" in document and not isinstance(document["body"], dict):
        raise StoreError(
            400, "document_parsing_exception", "object mapping for [body] tried to parse field [body] as object"
        )
    unique = None if id_ is None else id_.encode()
    if stream.startswith("metrics-"):
        if id_ is not None:
            raise StoreError(400, "illegal_argument_exception", "_id must be unset or set to that of the series")
        unique = series_key(document, time)
    return NewDocument(stream, time, unique, source)


def _depth(value: Any) -> int:
    """How deep a document is nested; what no search could give back is not stored."""
    depth, level = 0, [value]
    while level:
        depth += 1
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [child for children in inner for child in children]
    return depth


def series_key(document: dict[str, Any], time: int) -> bytes:
    """What may stand only once in a time series data stream: the dimensions and the time in milliseconds."""
    resource = document.get("resource") or {}
    scope = document.get("scope") or {}
    dimensions = (
        resource.get("attributes"),
        scope.get("attributes"),
        scope.get("name"),
        document.get("attributes"),
        document.get("unit"),
        document.get("_metric_names_hash"),
        time // 10**6,
    )
    return xxhash.xxh3_128_digest(orjson.dumps(dimensions, option=orjson.OPT_SORT_KEYS))


def answer(item: Item, created: bool, sequence: int) -> dict[str, Any]:
    """One element of the answer's `items`."""
    if isinstance(item, Refused):
        error = {"type": item.error.type, "reason": item.error.reason}
        return {item.action: {"_index": item.stream, "_id": item.id, "status": item.error.status, "error": error}}
    stream = item.document.stream
    if not created:
        reason = f"[{item.id or 'series'}]: version conflict, document already exists (current version [1])"
        error = {"type": "version_conflict_engine_exception", "reason": reason}
        return {"create": {"_index": stream, "_id": item.id, "status": 409, "error": error}}
    return {
        "create": {
            "_index": stream,
            "_id": item.id or f"auto-{sequence}",
            "_version": 1,
            "result": "created",
            "_shards": {"total": 1, "successful": 1, "failed": 0},
            "status": 201,
        }
    }
