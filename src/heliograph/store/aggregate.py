"""Aggregations over matching documents: terms, date_histogram and single numbers, nested as deep as they are asked."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from heliograph.store.errors import StoreError, parsing_error
from heliograph.store.fields import Document, values
from heliograph.store.times import UNIT_NS, iso, to_ns

_CALENDAR = {"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w"}
MAX_BUCKETS = 65_536


def aggregate(request: Any, documents: Sequence[Document]) -> dict[str, Any]:
    """The `aggregations` of an answer. Raises StoreError for an unknown kind or key."""
    if not isinstance(request, dict):
        raise parsing_error("aggregations must be an object")
    result: dict[str, Any] = {}
    for name, body in request.items():
        inner = body.get("aggs", body.get("aggregations"))
        kinds = [kind for kind in body if kind not in ("aggs", "aggregations", "meta")]
        if len(kinds) != 1 or kinds[0] not in _KINDS:
            raise parsing_error(f"Unknown aggregation type {kinds} of [{name}]")
        result[name] = _KINDS[kinds[0]](body[kinds[0]], inner, documents)
    return result


def _allow(body: Any, kind: str, *names: str) -> None:
    for name in body:
        if name not in names:
            raise parsing_error(f"[{kind}] unknown field [{name}]")


def _terms(body: Any, inner: Any, documents: Sequence[Document]) -> dict[str, Any]:
    _allow(body, "terms", "field", "size", "order", "missing", "min_doc_count", "shard_size")
    groups: dict[Any, list[Document]] = defaultdict(list)
    for document in documents:
        found = values(document, body["field"]) or ([body["missing"]] if "missing" in body else [])
        for value in dict.fromkeys(tuple(one) if isinstance(one, list) else one for one in found):
            groups[value].append(document)
    order = body.get("order", {"_count": "desc"})
    by, direction = next(iter(order.items())) if isinstance(order, dict) else next(iter(order[0].items()))
    if by not in ("_count", "_key"):
        raise parsing_error(f"[terms] cannot order by [{by}]")
    least = body.get("min_doc_count", 1)
    kept = [(key, group) for key, group in groups.items() if len(group) >= least]
    kept.sort(key=lambda item: str(item[0]))
    if by == "_key":
        kept.sort(key=lambda item: _sort_key(item[0]), reverse=direction == "desc")
    else:
        kept.sort(key=lambda item: len(item[1]), reverse=direction == "desc")
    size = int(body.get("size", 10))
    buckets = []
    for key, group in kept[:size]:
        bucket: dict[str, Any] = {"key": int(key) if isinstance(key, bool) else key}
        if isinstance(key, bool):
            bucket["key_as_string"] = str(key).lower()
        buckets.append({**bucket, "doc_count": len(group), **(aggregate(inner, group) if inner else {})})
    return {
        "doc_count_error_upper_bound": 0,
        "sum_other_doc_count": sum(len(group) for _, group in kept[size:]),
        "buckets": buckets,
    }


def _sort_key(value: Any) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def interval_ns(body: Any) -> int:
    """The interval of a date_histogram in nanoseconds. Raises StoreError."""
    text = body.get("fixed_interval") or body.get("calendar_interval")
    if not isinstance(text, str):
        raise parsing_error("[date_histogram] needs fixed_interval or calendar_interval")
    if "calendar_interval" in body:
        text = "1" + _CALENDAR.get(text, text.removeprefix("1"))
    for unit in ("ms", "s", "m", "h", "d", "w"):
        number = text.removesuffix(unit)
        if number != text and number.isdigit() and int(number) > 0:
            return int(number) * UNIT_NS[unit]
    raise parsing_error(f"[date_histogram] failed to parse interval [{text}]")


def _date_histogram(body: Any, inner: Any, documents: Sequence[Document]) -> dict[str, Any]:
    _allow(body, "date_histogram", "field", "fixed_interval", "calendar_interval", "min_doc_count", "format", "order")
    interval = interval_ns(body)
    groups: dict[int, list[Document]] = defaultdict(list)
    for document in documents:
        for value in values(document, body["field"]):
            time = to_ns(value)
            groups[time - time % interval].append(document)
    keys = sorted(groups)
    if keys and int(body.get("min_doc_count", 0)) == 0:
        if (keys[-1] - keys[0]) // interval >= MAX_BUCKETS:
            raise StoreError(400, "too_many_buckets_exception", f"Trying to create more than {MAX_BUCKETS} buckets")
        keys = list(range(keys[0], keys[-1] + 1, interval))
    buckets = [
        {
            "key_as_string": iso(key),
            "key": key // 10**6,
            "doc_count": len(groups.get(key, ())),
            **(aggregate(inner, groups.get(key, [])) if inner else {}),
        }
        for key in keys
    ]
    return {"buckets": buckets}


def _numbers(body: Any, documents: Sequence[Document]) -> list[float]:
    field = body["field"]
    if field == "@timestamp":
        return [to_ns(document[field]) / 10**6 for document in documents]
    return [
        float(value)
        for document in documents
        for value in values(document, field)
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _single(kind: str, compute: Callable[[list[float]], float | None]) -> Callable[..., dict[str, Any]]:
    def run(body: Any, inner: Any, documents: Sequence[Document]) -> dict[str, Any]:
        _allow(body, kind, "field")
        return {"value": compute(_numbers(body, documents))}

    return run


def _value_count(body: Any, inner: Any, documents: Sequence[Document]) -> dict[str, Any]:
    _allow(body, "value_count", "field")
    return {"value": sum(len(values(document, body["field"])) for document in documents)}


def _cardinality(body: Any, inner: Any, documents: Sequence[Document]) -> dict[str, Any]:
    _allow(body, "cardinality", "field", "precision_threshold")
    return {"value": len({str(value) for document in documents for value in values(document, body["field"])})}


def _stats(body: Any, inner: Any, documents: Sequence[Document]) -> dict[str, Any]:
    _allow(body, "stats", "field")
    numbers = _numbers(body, documents)
    total = sum(numbers)
    return {
        "count": len(numbers),
        "min": min(numbers, default=None),
        "max": max(numbers, default=None),
        "avg": total / len(numbers) if numbers else None,
        "sum": total,
    }


_KINDS: dict[str, Callable[[Any, Any, Sequence[Document]], dict[str, Any]]] = {
    "terms": _terms,
    "date_histogram": _date_histogram,
    "min": _single("min", lambda numbers: min(numbers, default=None)),
    "max": _single("max", lambda numbers: max(numbers, default=None)),
    "sum": _single("sum", lambda numbers: sum(numbers)),
    "avg": _single("avg", lambda numbers: sum(numbers) / len(numbers) if numbers else None),
    "stats": _stats,
    "value_count": _value_count,
    "cardinality": _cardinality,
}
