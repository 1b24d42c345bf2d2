"""Elasticsearch's query DSL -> a test of a document.

`compile_query` turns the JSON of a query into a `Query`: a predicate, the time range that every match must lie in,
and words that every match must hold somewhere, so that most documents are passed over without being parsed.
An unknown query or key is a parsing_exception, as in Elasticsearch.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from heliograph.store.errors import parsing_error
from heliograph.store.fields import Document, is_text, leaves, matching_names, values
from heliograph.store.lucene import parse_query_string
from heliograph.store.times import query_time, to_ns

Predicate = Callable[[Document], bool]
MAX_NEEDLES = 3
TIME_FIELDS = frozenset({"@timestamp", "observed_timestamp", "start_timestamp"})
_WORD = re.compile(r"\w+(?:[.']\w+)*")
_PLAIN = re.compile(r"[A-Za-z0-9 ._:@-]{2,}\Z")
_NUMBER = re.compile(r"[-+.0-9]")
FOREVER = (-(2**63), 2**63 - 1)


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled query. times: inclusive bounds in ns. needles: pieces of text in lower case that the source of every
    match holds, whatever the case there."""

    test: Predicate | None
    times: tuple[int, int] = FOREVER
    needles: tuple[str, ...] = ()


MATCH_ALL = Query(None)


def words(text: object) -> list[str]:
    """The standard analyser's words, near enough: letters and digits, lower case."""
    return [word.lower() for word in _WORD.findall(str(text))]


def compile_query(query: Any, now_ns: int) -> Query:
    """Compile a query. Raises StoreError."""
    if query is None:
        return MATCH_ALL
    if not isinstance(query, dict) or len(query) != 1:
        raise parsing_error("[_na] query malformed, expected one query type in an object")
    (kind, body), *_ = query.items()
    compiler = _COMPILERS.get(kind)
    if compiler is None:
        raise parsing_error(f"unknown query [{kind}]")
    return compiler(body, now_ns)


def _field_of(kind: str, body: Any) -> tuple[str, Any]:
    if not isinstance(body, dict):
        raise parsing_error(f"[{kind}] query malformed, no start_object after query name")
    fields = [(name, value) for name, value in body.items() if name not in ("boost", "_name", "minimum_should_match")]
    if len(fields) != 1:
        raise parsing_error(f"[{kind}] query takes one field, got {[name for name, _ in fields]}")
    return fields[0]


def _option(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else value


def _needles(*values: object) -> tuple[str, ...]:
    """Values that stand in JSON as they are; not numbers, which have several spellings."""
    return tuple(
        value.lower() for value in values if isinstance(value, str) and _PLAIN.match(value) and not _NUMBER.match(value)
    )


def same(found: object, wanted: object) -> bool:
    """Equality across JSON and query-string types: 5 == "5", true == "true"."""
    if found == wanted and isinstance(found, bool) == isinstance(wanted, bool):
        return True
    if isinstance(found, bool):
        return str(wanted).lower() == ("true" if found else "false")
    if isinstance(found, int | float) and isinstance(wanted, str):
        try:
            return float(wanted) == found
        except ValueError:
            return False
    return isinstance(found, str) and not isinstance(wanted, str) and found == orjson.dumps(wanted).decode()


def _term(body: Any, now_ns: int) -> Query:
    name, option = _field_of("term", body)
    return term(name, _option(option, "value"), now_ns)


def term(name: str, wanted: Any, now_ns: int) -> Query:
    """A field has exactly this value (a text field: this one word)."""
    if name in ("_id", "_index"):
        return Query(lambda document: document.get(name) == wanted)
    if name in TIME_FIELDS:
        return _between(name, *(2 * (query_time(wanted, now_ns),)))
    if is_text(name):
        return Query(
            lambda document: any(wanted in words(value) for value in values(document, name)), needles=_needles(wanted)
        )
    return Query(
        lambda document: any(same(value, wanted) for value in values(document, name)), needles=_needles(wanted)
    )


def _terms(body: Any, now_ns: int) -> Query:
    name, wanted = _field_of("terms", body)
    if not isinstance(wanted, list):
        raise parsing_error("[terms] query requires an array of values")
    return any_of([term(name, one, now_ns) for one in wanted])


def _match(body: Any, now_ns: int) -> Query:
    name, option = _field_of("match", body)
    return match(name, _option(option, "query"), now_ns, str(_option(option, "operator") or "or"))


def match(name: str, wanted: Any, now_ns: int, operator: str = "or") -> Query:
    """Words of a text field (any of them, or all), else the exact value."""
    if not is_text(name):
        return term(name, wanted, now_ns)
    wanted_words = set(words(wanted))
    if isinstance(operator, str) and operator.lower() == "and":
        return Query(
            lambda document: any(wanted_words <= set(words(value)) for value in values(document, name)),
            needles=_needles(*wanted_words),
        )
    return Query(
        lambda document: any(wanted_words & set(words(value)) for value in values(document, name)),
        needles=_needles(*wanted_words) if len(wanted_words) == 1 else (),
    )


def _match_phrase(body: Any, now_ns: int) -> Query:
    name, option = _field_of("match_phrase", body)
    return phrase(name, str(_option(option, "query")), now_ns)


def phrase(name: str, text: str, now_ns: int) -> Query:
    """Words one after the other in a text field, else the exact value."""
    if not is_text(name):
        return term(name, text, now_ns)
    wanted = f" {' '.join(words(text))} "
    return Query(
        lambda document: any(wanted in f" {' '.join(words(value))} " for value in values(document, name)),
        needles=_needles(*wanted.split()),
    )


def _range(body: Any, now_ns: int) -> Query:
    name, bounds = _field_of("range", body)
    if not isinstance(bounds, dict):
        raise parsing_error("[range] query malformed, no bounds")
    for bound in bounds:
        if bound not in ("gt", "gte", "lt", "lte", "format", "time_zone", "boost"):
            raise parsing_error(f"[range] query does not support [{bound}]")
    return between(name, bounds, now_ns)


def between(name: str, bounds: Mapping[str, Any], now_ns: int) -> Query:
    """A field within gt/gte/lt/lte."""
    if name in TIME_FIELDS:
        low, high = FOREVER
        try:
            for bound, value in bounds.items():
                if value is None or bound not in ("gt", "gte", "lt", "lte"):
                    continue
                time = query_time(value, now_ns)
                if bound in ("gt", "gte"):
                    low = max(low, time + (bound == "gt"))
                else:
                    high = min(high, time - (bound == "lt"))
        except ValueError as error:
            raise parsing_error(str(error)) from None
        return _between(name, low, high)

    def inside(value: Any) -> bool:
        for bound, limit in bounds.items():
            if limit is None or bound not in ("gt", "gte", "lt", "lte"):
                continue
            left, right = _comparable(value, limit)
            if left is None:
                return False
            order = (left > right) - (left < right)
            if not {"gt": order > 0, "gte": order >= 0, "lt": order < 0, "lte": order <= 0}[bound]:
                return False
        return True

    return Query(lambda document: any(inside(value) for value in values(document, name)))


def _comparable(value: Any, limit: Any) -> tuple[Any, Any]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return value, float(limit)
        except (TypeError, ValueError):
            return None, None
    return str(value), str(limit)


def _between(name: str, low: int, high: int) -> Query:
    if name == "@timestamp":
        return Query(None, (low, high))
    return Query(lambda document: any(low <= to_ns(value) <= high for value in values(document, name)))


def _exists(body: Any, now_ns: int) -> Query:
    name, field = _field_of("exists", body)
    if name != "field":
        raise parsing_error(f"[exists] query does not support [{name}]")
    return Query(lambda document: bool(values(document, field)))


def _pattern(kind: str, to_regex: Callable[[str], str]) -> Callable[[Any, int], Query]:
    def compile_(body: Any, now_ns: int) -> Query:
        name, option = _field_of(kind, body)
        text = _option(option, "value") or _option(option, "wildcard")
        return pattern(name, to_regex(str(text)), bool(isinstance(option, dict) and option.get("case_insensitive")))

    return compile_


def pattern(name: str, regex: str, ignore_case: bool = False) -> Query:
    """The whole value of a field (a text field: one word) fits a regular expression."""
    try:
        compiled = re.compile(regex, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)
    except re.error as error:
        raise parsing_error(f"failed to parse pattern [{regex}]: {error}") from None
    if is_text(name):
        return Query(
            lambda document: any(compiled.fullmatch(word) for value in values(document, name) for word in words(value))
        )
    return Query(lambda document: any(compiled.fullmatch(str(value)) for value in values(document, name)))


def wildcard_regex(text: str) -> str:
    """`*` and `?` of a wildcard query as a regular expression that takes linear time however many stars there are."""
    first, *rest = ("".join("." if c == "?" else re.escape(c) for c in part) for part in re.split(r"\*+", text))
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last


def _ids(body: Any, now_ns: int) -> Query:
    wanted = frozenset(body.get("values", ()) if isinstance(body, dict) else ())
    return Query(lambda document: document.get("_id") in wanted)


def _bool(body: Any, now_ns: int) -> Query:
    if not isinstance(body, dict):
        raise parsing_error("[bool] query malformed")
    clauses: dict[str, list[Query]] = {"must": [], "filter": [], "should": [], "must_not": []}
    for name, value in body.items():
        if name in ("minimum_should_match", "boost", "_name", "adjust_pure_negative"):
            continue
        if name not in clauses:
            raise parsing_error(f"[bool] query does not support [{name}]")
        clauses[name] = [compile_query(one, now_ns) for one in (value if isinstance(value, list) else [value])]
    needed = clauses["must"] + clauses["filter"]
    least = int(body.get("minimum_should_match", 0 if needed else 1))
    if clauses["should"] and least == 1:
        needed.append(any_of(clauses["should"]))
    elif clauses["should"] and least > 1:
        tests = [as_test(one) for one in clauses["should"]]
        needed.append(Query(lambda document: sum(test(document) for test in tests) >= least))
    needed.extend(negate(one) for one in clauses["must_not"])
    return all_of(needed)


def as_test(query: Query) -> Predicate:
    """The whole query, time range included, as one predicate."""
    low, high = query.times
    test = query.test
    if query.times == FOREVER:
        return test if test is not None else lambda document: True
    return lambda document: low <= to_ns(document["@timestamp"]) <= high and (test is None or test(document))


def all_of(queries: list[Query]) -> Query:
    """Every one of them."""
    low, high = FOREVER
    for one in queries:
        low, high = max(low, one.times[0]), min(high, one.times[1])
    tests = [one.test for one in queries if one.test is not None]
    needles = tuple(sorted({needle for one in queries for needle in one.needles}, key=len, reverse=True)[:MAX_NEEDLES])
    if not tests:
        return Query(None, (low, high), needles)
    test = tests[0] if len(tests) == 1 else lambda document: all(one(document) for one in tests)
    return Query(test, (low, high), needles)


def any_of(queries: list[Query]) -> Query:
    """At least one of them."""
    if len(queries) == 1:
        return queries[0]
    tests = [as_test(one) for one in queries]
    return Query(lambda document: any(test(document) for test in tests))


def negate(query: Query) -> Query:
    """Not that one."""
    test = as_test(query)
    return Query(lambda document: not test(document))


def _query_string(body: Any, now_ns: int) -> Query:
    if not isinstance(body, dict) or "query" not in body:
        raise parsing_error("[query_string] must be provided with a [query]")
    return query_string(str(body["query"]), now_ns, str(body.get("default_operator", "or")))


def query_string(text: str, now_ns: int, operator: str = "or") -> Query:
    """A Lucene query string, as `q=` has it."""
    return _from_tree(parse_query_string(text, operator), now_ns)


def _from_tree(tree: Any, now_ns: int) -> Query:
    kind = tree[0]
    if kind == "all":
        return MATCH_ALL
    if kind == "and":
        return all_of([_from_tree(one, now_ns) for one in tree[1]])
    if kind == "or":
        return any_of([_from_tree(one, now_ns) for one in tree[1]])
    if kind == "not":
        return negate(_from_tree(tree[1], now_ns))
    name, value = tree[1], tree[2]
    if kind == "range":
        return between(name, value, now_ns)
    if name == "_exists_":
        return _exists({"field": value}, now_ns)
    if name is None:
        return _anywhere(kind, value)
    if "*" in name:
        fits = re.compile(wildcard_regex(name)).fullmatch
        return Query(
            lambda document: any(
                as_test(_one_field(kind, one, value, now_ns))(document) for one in matching_names(document, fits)
            )
        )
    return _one_field(kind, name, value, now_ns)


def _one_field(kind: str, name: str, value: str, now_ns: int) -> Query:
    if kind == "phrase":
        return phrase(name, value, now_ns)
    if kind == "wildcard":
        if value == "*":
            return _exists({"field": name}, now_ns)
        return pattern(name, wildcard_regex(value), ignore_case=is_text(name))
    if kind == "regex":
        return pattern(name, value)
    return match(name, value, now_ns)


def _anywhere(kind: str, value: str) -> Query:
    """A word without a field: any field has it."""
    if kind == "wildcard":
        fits = re.compile(wildcard_regex(value), re.IGNORECASE).fullmatch
        return Query(
            lambda document: any(
                fits(str(leaf)) or any(fits(word) for word in words(leaf)) for _, leaf in leaves(document)
            )
        )
    wanted = f" {' '.join(words(value))} "
    return Query(
        lambda document: any(
            same(leaf, value) or (isinstance(leaf, str) and wanted in f" {' '.join(words(leaf))} ")
            for _, leaf in leaves(document)
        ),
        needles=_needles(*wanted.split()),
    )


_COMPILERS: dict[str, Callable[[Any, int], Query]] = {
    "match_all": lambda body, now_ns: MATCH_ALL,
    "match_none": lambda body, now_ns: Query(lambda document: False),
    "term": _term,
    "terms": _terms,
    "match": _match,
    "match_phrase": _match_phrase,
    "range": _range,
    "exists": _exists,
    "prefix": _pattern("prefix", lambda text: re.escape(text) + ".*"),
    "wildcard": _pattern("wildcard", wildcard_regex),
    "regexp": _pattern("regexp", str),
    "ids": _ids,
    "bool": _bool,
    "query_string": _query_string,
    "simple_query_string": _query_string,
}
