"""The walk through one Resource* message: resource, scopes, records. The nesting has the same numbers for all signals.

A record that cannot be enriched stays as it came and is counted: an odd one never stops the others.
Source of the scope's rule: internal/enrichments/scope.go.
"""

from collections.abc import Callable
from typing import Final

from heliograph.otlp.attributes import decode_key_value, encode_key_value
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.wire import LENGTH, field, read_varint, skip, varint
from heliograph.processors.elasticapm.config import ElasticApmConfig

_FIRST: Final = 1 << 3 | LENGTH  # the resource of a part, the scope of a section, the name of a scope
_SECOND: Final = 2 << 3 | LENGTH  # the sections of a part, the records of a section, the version of a scope
_RECORD: Final = b"\x12"
_SCOPE_ATTRIBUTE: Final = 3 << 3 | LENGTH
_REMEMBERED: Final = 1024

Edit = Callable[[bytes], bytes]


class ScopeEnricher:
    """Adds service.framework.name and .version to scopes that have a name; remembers them by their bytes."""

    def __init__(self, config: ElasticApmConfig) -> None:
        self._on = "service_framework_name" in config.scope
        self._known: dict[bytes, bytes] = {}

    def enrich(self, scope: bytes) -> bytes:
        """A serialized InstrumentationScope with what is missing. Raises MalformedPayload."""
        if not self._on:
            return scope
        enriched = self._known.get(scope)
        if enriched is None:
            enriched = _with_framework(scope)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[scope] = enriched
        return enriched


def _with_framework(scope: bytes) -> bytes:
    name = version = ""
    keys = set()
    pos, size = 0, len(scope)
    while pos < size:
        tag, pos = read_varint(scope, pos)
        end = skip(scope, pos, tag & 7)
        if tag in (_FIRST, _SECOND, _SCOPE_ATTRIBUTE):
            _, begin = read_varint(scope, pos)
            if tag == _FIRST:
                name = scope[begin:end].decode("utf-8", "replace")
            elif tag == _SECOND:
                version = scope[begin:end].decode("utf-8", "replace")
            else:
                keys.add(decode_key_value(scope[begin:end])[0])
        pos = end
    if name:
        for key, value in (("service.framework.name", name), ("service.framework.version", version)):
            if key not in keys:
                scope += encode_key_value(3, key, value)
    return scope


def edit_part(part: bytes, scopes: ScopeEnricher, record_edit: "Callable[[bytes], Edit] | None") -> tuple[bytes, int]:
    """(the part with its scopes and records edited, records that could not be).

    record_edit: gets the scope of a section, gives the edit of its records; None leaves the records alone.
    """
    pieces: list[bytes] = []
    odd = 0
    pos, size = 0, len(part)
    while pos < size:
        start = pos
        tag, pos = read_varint(part, pos)
        end = skip(part, pos, tag & 7)
        if tag == _SECOND:
            _, begin = read_varint(part, pos)
            section, failed = _edit_section(part[begin:end], scopes, record_edit)
            odd += failed
            pieces.append(field(2, section))
        else:
            pieces.append(part[start:end])
        pos = end
    return b"".join(pieces), odd


def _edit_section(
    section: bytes, scopes: ScopeEnricher, record_edit: "Callable[[bytes], Edit] | None"
) -> tuple[bytes, int]:
    scope: bytes | None = None
    records: list[tuple[int, int, int]] = []
    rest: list[bytes] = []
    pos, size = 0, len(section)
    while pos < size:
        start = pos
        tag, pos = read_varint(section, pos)
        end = skip(section, pos, tag & 7)
        if tag == _FIRST:
            _, begin = read_varint(section, pos)
            scope = (scope or b"") + section[begin:end]
        elif tag == _SECOND:
            _, begin = read_varint(section, pos)
            records.append((start, begin, end))
        else:
            rest.append(section[start:end])
        pos = end
    pieces = [] if scope is None else [field(1, scopes.enrich(scope))]
    odd = 0
    if record_edit is None:
        pieces += [section[start:end] for start, _, end in records]
    else:
        edit = record_edit(scope or b"")
        for _, begin, end in records:
            record = section[begin:end]
            try:
                record = edit(record)
            except (MalformedPayload, IndexError):
                odd += 1
            pieces.append(_RECORD)
            pieces.append(varint(len(record)))
            pieces.append(record)
    return b"".join(pieces + rest), odd
