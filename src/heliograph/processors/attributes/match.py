"""Which records `include` and `exclude` mean.

Source: internal/filter/{filtermatcher,filterspan,filterlog,filtermetric,filterset} of opentelemetry-collector-contrib.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from heliograph.component.ids import Signal
from heliograph.component.regex import compile_text
from heliograph.otlp.attributes import Value, from_any_value
from heliograph.otlp.edit import as_text, find
from heliograph.processors.attributes.config import SPAN_KINDS, AttributeMatch, LibraryMatch, MatchProperties

Predicate = Callable[[Any, Any, Any], bool]
"""(resource, scope, span or log record or metric) -> whether it is meant."""

_TextFilter = Callable[[str], bool]
_AttributesFilter = Callable[[Any], bool]
_CACHE = 10_000


def skip(signal: Signal, include: MatchProperties | None, exclude: MatchProperties | None) -> Predicate | None:
    """True for records that must be left alone; None when there are none."""
    wanted = predicate(signal, include)
    unwanted = predicate(signal, exclude)
    if wanted is None:
        return unwanted
    meant = wanted
    if unwanted is None:
        return lambda resource, scope, record: not meant(resource, scope, record)
    left_out = unwanted
    return lambda resource, scope, record: not meant(resource, scope, record) or left_out(resource, scope, record)


def predicate(signal: Signal, properties: MatchProperties | None) -> Predicate | None:
    """Whether a record has the properties; None where nothing is looked at. For metrics only the name is."""
    if properties is None:
        return None
    tests: list[Predicate] = []
    if signal is Signal.METRICS:
        if not properties.metric_names:
            return None
        names = _texts(properties, properties.metric_names)
        return lambda resource, scope, metric: names(metric.name)
    if signal is Signal.TRACES:
        _span_tests(properties, tests)
    else:
        _log_tests(properties, tests)
    for library in properties.libraries:
        tests.append(_scope_test(properties, library))
    for match in properties.resources:
        tests.append(_resource_test(_attribute(properties, match)))
    for match in properties.attributes:
        tests.append(_record_test(_attribute(properties, match)))
    return lambda resource, scope, record: all(test(resource, scope, record) for test in tests)


def _span_tests(properties: MatchProperties, tests: list[Predicate]) -> None:
    if properties.services:
        services = _texts(properties, properties.services)
        tests.append(lambda resource, scope, span: services(_service(resource)))
    if properties.span_names:
        names = _texts(properties, properties.span_names)
        tests.append(lambda resource, scope, span: names(span.name))
    if properties.span_kinds:
        kinds = _texts(properties, properties.span_kinds)
        tests.append(lambda resource, scope, span: kinds(SPAN_KINDS.get(span.kind, "")))


def _log_tests(properties: MatchProperties, tests: list[Predicate]) -> None:
    if properties.log_bodies:
        bodies = _texts(properties, properties.log_bodies)
        tests.append(lambda resource, scope, record: bodies(as_text(from_any_value(record.body))))
    if properties.log_severity_texts:
        severities = _texts(properties, properties.log_severity_texts)
        tests.append(lambda resource, scope, record: severities(record.severity_text))
    severity = properties.log_severity_number
    if severity is not None:
        lowest, undefined = severity.min, severity.match_undefined
        tests.append(
            lambda resource, scope, record: record.severity_number >= lowest if record.severity_number else undefined
        )


def _scope_test(properties: MatchProperties, library: LibraryMatch) -> Predicate:
    name = _texts(properties, [library.name])
    if library.version is None:
        return lambda resource, scope, record: name(scope.name)
    version = _texts(properties, [library.version])
    return lambda resource, scope, record: name(scope.name) and version(scope.version)


def _resource_test(wanted: _AttributesFilter) -> Predicate:
    return lambda resource, scope, record: wanted(resource.attributes)


def _record_test(wanted: _AttributesFilter) -> Predicate:
    return lambda resource, scope, record: wanted(record.attributes)


def _service(resource: Any) -> str:
    pair = find(resource.attributes, "service.name")
    return "<nil-service-name>" if pair is None else as_text(from_any_value(pair.value))


def _texts(properties: MatchProperties, wanted: Sequence[str]) -> _TextFilter:
    if properties.match_type == "strict":
        return frozenset(wanted).__contains__
    patterns = [compile_text(pattern).search for pattern in wanted]

    def matches(text: str) -> bool:
        return any(search(text) is not None for search in patterns)

    regexp = properties.regexp
    if regexp is not None and regexp.cacheenabled:
        return lru_cache(regexp.cachemaxnumentries or _CACHE)(matches)
    return matches


def _attribute(properties: MatchProperties, match: AttributeMatch) -> _AttributesFilter:
    key, value = match.key, match.value
    if value is None:
        return lambda attributes: find(attributes, key) is not None
    if properties.match_type == "strict":

        def equal(attributes: Any) -> bool:
            pair = find(attributes, key)
            return pair is not None and _same(from_any_value(pair.value), value)

        return equal
    texts = _texts(properties, [value])

    def matches(attributes: Any) -> bool:
        pair = find(attributes, key)
        if pair is None or pair.value.WhichOneof("value") not in _SCALARS:
            return False
        return texts(as_text(from_any_value(pair.value)))

    return matches


_SCALARS = ("string_value", "bool_value", "int_value", "double_value")


def _same(one: Value, other: Value) -> bool:
    """Equal and of the same type, all the way down; the order of a map does not matter."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return one == other
