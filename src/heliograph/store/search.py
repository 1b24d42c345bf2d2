"""A `_search` or `_count` over the documents: filter, sort, page, aggregate."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from heliograph.store.aggregate import aggregate
from heliograph.store.documents import Documents, Row
from heliograph.store.errors import StoreError, parsing_error
from heliograph.store.fields import ALIASES, Document, values
from heliograph.store.query import FOREVER, Query, all_of, compile_query, query_string

MAX_WINDOW = 10_000
_KEYS = frozenset(
    (
        *("query", "size", "from", "sort", "search_after", "aggs", "aggregations"),
        *("_source", "track_total_hits", "timeout", "version", "stored_fields"),
    )
)


@dataclass(frozen=True, slots=True)
class Sort:
    """One key of the order. field "_seq" is the order of arrival."""

    field: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Request:
    """A search, read and checked. total: up to where hits are counted exactly (None: all)."""

    query: Query
    size: int
    start: int
    sort: tuple[Sort, ...]
    after: tuple[Any, ...] | None
    aggregations: Any
    source: Any
    total: int | None


def read_request(body: Any, parameters: dict[str, str], now_ns: int) -> Request:
    """The JSON body and the URL's parameters of a search. Raises StoreError."""
    if not isinstance(body, dict):
        raise parsing_error("the request body must be an object")
    for name in body:
        if name not in _KEYS:
            raise parsing_error(f"unknown key [{name}]")
    query = compile_query(body.get("query"), now_ns)
    if "q" in parameters:
        query = all_of([query, query_string(parameters["q"], now_ns, parameters.get("default_operator", "or"))])
    size, start = _integer("size", body, parameters, 10), _integer("from", body, parameters, 0)
    if size + start > MAX_WINDOW:
        raise StoreError(
            400,
            "illegal_argument_exception",
            f"Result window is too large, from + size must be less than or equal to: [{MAX_WINDOW}] but was"
            f" [{size + start}]; use search_after",
        )
    track = body.get("track_total_hits", parameters.get("track_total_hits", MAX_WINDOW))
    total = {"true": None, "false": 0}.get(str(track).lower(), MAX_WINDOW if isinstance(track, bool) else track)
    sort = tuple(_sorts(body.get("sort", parameters.get("sort"))))
    after = body.get("search_after")
    if after is not None and (not isinstance(after, list) or len(after) != len(sort)):
        raise parsing_error("search_after has as many values as sort has fields")
    return Request(
        query,
        size,
        start,
        sort or (Sort("@timestamp", True),),
        None if after is None else tuple(after),
        body.get("aggs", body.get("aggregations")),
        body.get("_source", parameters.get("_source", True)),
        None if total is None else int(total),
    )


def _integer(name: str, body: dict[str, Any], parameters: dict[str, str], default: int) -> int:
    value = body.get(name, parameters.get(name, default))
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise parsing_error(f"[{name}] must be a number, got [{value}]") from None
    if number < 0:
        raise StoreError(400, "illegal_argument_exception", f"[{name}] parameter cannot be negative, found [{number}]")
    return number


def _sorts(sort: Any) -> Iterator[Sort]:
    if sort is None:
        return
    for one in sort.split(",") if isinstance(sort, str) else sort if isinstance(sort, list) else [sort]:
        if isinstance(one, str):
            field, _, order = one.partition(":")
        elif isinstance(one, dict) and len(one) == 1:
            ((field, option),) = one.items()
            order = option.get("order", "asc") if isinstance(option, dict) else option
        else:
            raise parsing_error(f"malformed sort [{one}]")
        if field == "_score":
            continue
        yield Sort("_seq" if field in ("_doc", "_seq_no", "_shard_doc") else field, order == "desc")


def search(documents: Documents, streams: list[str], request: Request) -> dict[str, Any]:
    """Run a search. Returns the answer's `hits` and, when asked for, `aggregations`."""
    by_time = request.sort[0].field == "@timestamp" and len(request.sort) == 1
    needed = request.start + request.size
    window: list[tuple[Any, Row, Document]] = []
    projected: list[Document] | None = [] if request.aggregations else None
    fields = _aggregated_fields(request.aggregations)
    total, exact = 0, True
    newest_first = request.sort[0].descending if by_time else True
    for row, document in _matches(documents, streams, request.query, newest_first):
        if projected is not None:
            projected.append({ALIASES.get(name, name): values(document, name) for name in fields})
        key = _sort_key(request.sort, row, document)
        total += 1
        if request.after is None or _after(key, request):
            window.append((key, row, document))
        if by_time:
            del window[needed:]
            if projected is None and len(window) >= needed and request.total is not None and total >= request.total:
                exact = request.total == 0
                break
        elif len(window) > 2 * needed + 1000:
            window = _best(window, needed, request)
    if not by_time:
        window = _best(window, needed, request)
    hits = [_hit(key, row, document, request) for key, row, document in window[request.start :]]
    result: dict[str, Any] = {"hits": {"max_score": None, "hits": hits}}
    if request.total != 0:
        result["hits"]["total"] = {"value": total, "relation": "eq" if exact else "gte"}
    if projected is not None:
        result["aggregations"] = aggregate(request.aggregations, projected)
    return result


def count(documents: Documents, streams: list[str], query: Query) -> int:
    """How many documents match."""
    if query.test is None and query.times[0] <= query.times[1]:
        return documents.count(streams, (max(query.times[0], FOREVER[0]), min(query.times[1], FOREVER[1])))
    return sum(1 for _ in _matches(documents, streams, query, True))


def _matches(
    documents: Documents, streams: list[str], query: Query, newest_first: bool
) -> Iterator[tuple[Row, Document]]:
    test = query.test
    times = (max(query.times[0], FOREVER[0]), min(query.times[1], FOREVER[1]))
    if times[0] > times[1]:
        return
    for row in documents.read(streams, times, query.needles, newest_first=newest_first):
        document: Document = orjson.loads(row.source)
        document["_id"], document["_index"] = _shown_id(row), row.stream
        if test is None or test(document):
            yield row, document


def _shown_id(row: Row) -> str:
    if row.id is None or row.stream.startswith("metrics-"):
        return f"auto-{row.seq}"
    return row.id.decode()


def _sort_key(sort: tuple[Sort, ...], row: Row, document: Document) -> tuple[Any, ...]:
    key: list[Any] = []
    for one in sort:
        if one.field == "_seq":
            key.append(row.seq)
        elif one.field == "@timestamp":
            key.append(row.time / 10**6 if row.time % 10**6 else row.time // 10**6)
        else:
            found = values(document, one.field)
            key.append(found[0] if found else None)
    return tuple(key)


class _Reversed:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "_Reversed") -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(self.value == other.value)


def _order(key: tuple[Any, ...], request: Request) -> tuple[Any, ...]:
    """A key that Python sorts as asked: missing values last, numbers before text."""
    parts: list[Any] = []
    for value, one in zip(key, request.sort, strict=True):
        typed = (False, value) if isinstance(value, int | float) else (True, str(value))
        parts.append((value is None, () if value is None else _Reversed(typed) if one.descending else typed))
    return tuple(parts)


def _after(key: tuple[Any, ...], request: Request) -> bool:
    assert request.after is not None
    return _order(request.after, request) < _order(key, request)


def _best(window: list[tuple[Any, Row, Document]], needed: int, request: Request) -> list[tuple[Any, Row, Document]]:
    return heapq.nsmallest(needed, window, key=lambda item: _order(item[0], request))


def _hit(key: tuple[Any, ...], row: Row, document: Document, request: Request) -> dict[str, Any]:
    del document["_id"], document["_index"]
    hit = {"_index": row.stream, "_id": _shown_id(row), "_score": None, "sort": list(key)}
    if request.source is False or request.source == "false":
        return hit
    return {**hit, "_source": document}


def _aggregated_fields(request: Any) -> frozenset[str]:
    names: set[str] = set()
    if isinstance(request, dict):
        for name, value in request.items():
            if name == "field" and isinstance(value, str):
                names.add(value)
            else:
                names |= _aggregated_fields(value)
    return frozenset(names)
