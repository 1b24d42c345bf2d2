"""Bulk requests by bytes: which documents go together, and what the answer says of each. No I/O.

The answer of a bulk request has one entry for each document, in order; HTTP 200 says nothing about them.
Source: Elasticsearch's bulk API; status handling: docs/adr/0004-elasticsearch-exporter.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import orjson


class Verdict(Enum):
    """What a status means for a document or a whole request."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    AGAIN = "again"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class ItemAnswer:
    """What the server says of one document. type, reason: of the error, "" when there is none. failure_store: what
    it says of that ("used": stored there), or ""."""

    status: int
    type: str = ""
    reason: str = ""
    failure_store: str = ""


_CREATED = ItemAnswer(201)


class BadAnswer(ValueError):
    """An answer with a good status that is no answer to a bulk request."""


class Bulk:
    """Documents of one request: `lines` and `items` as in Documents."""

    __slots__ = ("items", "lines")

    def __init__(self, lines: Sequence[bytes], items: Sequence[int]) -> None:
        self.lines = lines
        self.items = items

    @property
    def body(self) -> bytes:
        """The NDJSON."""
        return b"".join(self.lines)

    def halves(self) -> "tuple[Bulk, Bulk]":
        """Two requests instead of this one, which holds at least two documents."""
        middle = len(self.lines) // 2
        return Bulk(self.lines[:middle], self.items[:middle]), Bulk(self.lines[middle:], self.items[middle:])

    def only(self, positions: Iterable[int]) -> "Bulk":
        """Some of its documents."""
        chosen = list(positions)
        return Bulk([self.lines[number] for number in chosen], [self.items[number] for number in chosen])


def cut(lines: Sequence[bytes], items: Sequence[int], max_bytes: int) -> list[Bulk]:
    """Requests of at most `max_bytes` each, in order; a greater document goes alone."""
    bulks: list[Bulk] = []
    start = size = 0
    for number, line in enumerate(lines):
        if size + len(line) > max_bytes and number > start:
            bulks.append(Bulk(lines[start:number], items[start:number]))
            start, size = number, 0
        size += len(line)
    if start < len(lines):
        bulks.append(Bulk(lines[start:], items[start:]))
    return bulks


def read_answer(body: bytes, documents: int) -> list[ItemAnswer]:
    """One entry for each document. Raises BadAnswer.

    The usual answer, everything created, is recognised without being parsed: names in it cannot hold a bare quote.
    """
    if body.count(b'"status":') == body.count(b'"status":201') == documents and not (
        b'"error"' in body or b'"failure_store"' in body
    ):
        return [_CREATED] * documents
    try:
        answer = orjson.loads(body)
        items = answer["items"] if answer else []
    except (orjson.JSONDecodeError, TypeError, KeyError):
        raise BadAnswer(f"the answer is not that of a bulk request: {body[:200]!r}") from None
    if not isinstance(items, list) or len(items) != documents:
        count = len(items) if isinstance(items, list) else "no"
        raise BadAnswer(f"the answer has {count} entries for {documents} documents")
    return [_item(item) for item in items]


def _item(item: object) -> ItemAnswer:
    try:
        (content,) = item.values()  # type: ignore[attr-defined]
        status = int(content["status"])
        if status == 201 and "failure_store" not in content:
            return _CREATED
        error = content.get("error") or {}
        if isinstance(error, str):
            error = {"reason": error}
        type_, reason = str(error.get("type", "")), str(error.get("reason", ""))
        return ItemAnswer(status, type_, reason, str(content.get("failure_store", "")))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BadAnswer(f"the answer has an entry without a status: {str(item)[:200]}") from None


def item_verdict(status: int, more: frozenset[int]) -> Verdict:
    """What the status of a document means. more: further statuses worth another attempt."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status == 409:
        return Verdict.DUPLICATE
    if status == 429 or status >= 500 or status in more:
        return Verdict.AGAIN
    return Verdict.REJECTED


_UNTIL_CORRECTED = frozenset((401, 402, 403, 404, 405, 407, 408, 421, 425, 426))


def request_verdict(status: int, more: frozenset[int]) -> Verdict:
    """What the status of a whole request means (413 is dealt with before). Those of a wrong address or missing rights
    are worth another attempt: somebody will correct it, and the data waits."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status == 429 or status >= 500 or status < 400 or status in _UNTIL_CORRECTED or status in more:
        return Verdict.AGAIN
    return Verdict.REJECTED


_BY_TYPE = {
    "index_closed_exception": "the index is closed: open it",
    "unavailable_shards_exception": "its primary shard is not available: look at the health of the cluster (red)",
    "no_shard_available_action_exception": "its shards are not available: look at the health of the cluster (red)",
}


def advice(status: int, type_: str = "") -> str:
    """What one can do about a failing request, or about an index that takes no documents. type_: of the error."""
    if type_ == "cluster_block_exception":
        return _block_advice(status)
    if type_ in _BY_TYPE:
        return _BY_TYPE[type_]
    if status == 401:
        return "the credentials are not accepted: check api_key, or user and password, or the auth extension"
    if status == 403:
        return "the credentials lack a right: they need create_doc and auto_configure on logs-*, metrics-*, traces-*"
    if status in (404, 405):
        return "there is no bulk API at this address: check endpoint"
    if status == 429:
        return "the server is overloaded"
    if 300 <= status < 400:
        return "the server sends requests elsewhere: write the address it names in endpoint"
    return "the server cannot take data now"


def _block_advice(status: int) -> str:
    if status == 429:
        return (
            "a disk of the cluster is full (flood-stage watermark): free space or add some, Elasticsearch then takes "
            "the block away by itself"
        )
    if status == 403:
        return "it is blocked for writing: look at index.blocks.* of the index and cluster.blocks.* of the cluster"
    return "the cluster has no master or is not recovered yet: look at its health"
