"""Resources and scopes: read once, remembered by their bytes, written into every document of theirs as they are.

A part (a serialized ResourceSpans, ResourceLogs or ResourceMetrics: the field numbers are the same) is cut into
`Section`s: one scope and where its records lie in the part's bytes.
"""

from typing import Final

from heliograph.exporters.elasticsearch.attribute import (
    HINTS,
    MAPPING_MODE,
    Attribute,
    AttributeMemory,
    attributes_json,
    first_with,
    flags_of,
    unique,
)
from heliograph.exporters.elasticsearch.json_text import json_string
from heliograph.exporters.elasticsearch.route import Router, ScopeRoute
from heliograph.exporters.elasticsearch.value import read_varint, skip, skip_any
from heliograph.otlp.errors import MalformedPayload

_MOST_RESOURCES: Final = 1024
_MOST_SCOPES: Final = 256


class Origin:
    """A scope of a resource. fields: `,"resource":{...},"scope":{...}`. identity: what tells the metrics of one
    origin from another's (attributes of both and the scope's name). scope: this name as JSON, or b"". mapping_mode:
    what the scope asks for, or b""."""

    def __init__(
        self,
        fields: bytes,
        identity: bytes,
        scope: bytes,
        mapping_mode: bytes,
        route: ScopeRoute,
        event_route: ScopeRoute,
    ) -> None:
        self.fields: bytes = fields
        self.identity: bytes = identity
        self.scope: bytes = scope
        self.mapping_mode: bytes = mapping_mode
        self.route: ScopeRoute = route
        self.event_route: ScopeRoute = event_route


class Section:
    """Records of one scope: data[starts[i]:stops[i]] is the i-th. id: what the ids of its documents begin with; b"":
    they have none of our making."""

    def __init__(self, data: bytes, origin: Origin, starts: list[int], stops: list[int]) -> None:
        self.data: bytes = data
        self.origin: Origin = origin
        self.starts: list[int] = starts
        self.stops: list[int] = stops
        self.id: bytes = b""


class _Resource:
    def __init__(self, json: bytes, identity: bytes, attributes: list[Attribute]) -> None:
        self.json: bytes = json
        self.identity: bytes = identity
        self.attributes: list[Attribute] = attributes
        self.scopes: dict[bytes, Origin] = {}


class Origins:
    """All resources and scopes seen lately."""

    def __init__(self, memory: AttributeMemory, router: Router, event_router: Router) -> None:
        self.memory: AttributeMemory = memory
        self.router: Router = router
        self.event_router: Router = event_router
        self.resources: dict[bytes, _Resource] = {}

    def forget(self) -> None:
        """Read everything again, since routes have changed."""
        self.resources = {}

    def sections(self, part: bytes) -> list[Section]:
        """Cut a part. Raises MalformedPayload or IndexError."""
        header: list[bytes] = []
        starts: list[int] = []
        stops: list[int] = []
        schema: bytes = _container(part, 0, len(part), header, starts, stops)
        resource: _Resource = self._resource(b"".join(header), schema)
        sections: list[Section] = []
        for number in range(len(starts)):
            inner_header: list[bytes] = []
            inner_starts: list[int] = []
            inner_stops: list[int] = []
            schema = _container(part, starts[number], stops[number], inner_header, inner_starts, inner_stops)
            origin: Origin = self._origin(resource, b"".join(inner_header), schema)
            sections.append(Section(part, origin, inner_starts, inner_stops))
        return sections

    def _resource(self, raw: bytes, schema: bytes) -> _Resource:
        key: bytes = b"%d:%b%b" % (len(raw), raw, schema)
        found: _Resource | None = self.resources.get(key)
        if found is not None:
            return found
        attributes: list[Attribute] = []
        dropped: int = 0
        pos: int = 0
        end: int = len(raw)
        while pos < end:
            tag, pos = read_varint(raw, pos)
            if tag == 10:
                size, pos = read_varint(raw, pos)
                attributes.append(self.memory.find(raw[pos : pos + size]))
                pos += size
            elif tag == 16:
                dropped, pos = read_varint(raw, pos)
            else:
                pos = skip_any(raw, pos, tag)
        members: list[bytes] = _schema_member(schema)
        attributes = _attribute_member(attributes, members)
        _dropped_member(dropped, members)
        json: bytes = b',"resource":{' + b",".join(members) + b"}"
        found = _Resource(json, identity_of(attributes), attributes)
        if len(self.resources) >= _MOST_RESOURCES:
            self.resources = {}
        self.resources[key] = found
        return found

    def _origin(self, resource: _Resource, raw: bytes, schema: bytes) -> Origin:
        key: bytes = b"%d:%b%b" % (len(raw), raw, schema)
        found: Origin | None = resource.scopes.get(key)
        if found is not None:
            return found
        attributes: list[Attribute] = []
        name: bytes = b""
        version: bytes = b""
        dropped: int = 0
        pos: int = 0
        end: int = len(raw)
        while pos < end:
            tag, pos = read_varint(raw, pos)
            if tag == 10 or tag == 18 or tag == 26:
                size, pos = read_varint(raw, pos)
                content: bytes = raw[pos : pos + size]
                pos += size
                if tag == 10:
                    name = content
                elif tag == 18:
                    version = content
                else:
                    attributes.append(self.memory.find(content))
            elif tag == 32:
                dropped, pos = read_varint(raw, pos)
            else:
                pos = skip_any(raw, pos, tag)
        members: list[bytes] = _schema_member(schema)
        if name:
            members.append(b'"name":' + json_string(name))
        if version:
            members.append(b'"version":' + json_string(version))
        attributes = _attribute_member(attributes, members)
        _dropped_member(dropped, members)
        fields: bytes = resource.json + b',"scope":{' + b",".join(members) + b"}"
        own: bytes = json_string(name) if name else b""
        identity: bytes = resource.identity + b"\n" + own + identity_of(attributes)
        mode: Attribute | None = first_with(attributes, MAPPING_MODE)
        found = Origin(
            fields,
            identity,
            own,
            b"" if mode is None else mode.text or b"none",
            ScopeRoute(self.router, resource.attributes, attributes, name),
            ScopeRoute(self.event_router, resource.attributes, attributes, name),
        )
        if len(resource.scopes) >= _MOST_SCOPES:
            resource.scopes = {}
        resource.scopes[key] = found
        return found


def identity_of(attributes: list[Attribute]) -> bytes:
    """Unique attributes as a sorted text; those that only steer do not count, except `elasticsearch.index`."""
    fragments: list[bytes] = []
    for attribute in attributes:
        if attribute.flags & HINTS == 0 and not attribute.key.startswith(b"data_stream."):
            fragments.append(attribute.fragment)
    fragments.sort()
    return b",".join(fragments)


def _container(data: bytes, pos: int, end: int, header: list[bytes], starts: list[int], stops: list[int]) -> bytes:
    """Read Resource* or Scope*: field 1 into `header`, where each field 2 lies into starts and stops; returns the
    schema URL (field 3)."""
    schema: bytes = b""
    while pos < end:
        tag, pos = read_varint(data, pos)
        if tag & 7 != 2:
            pos = skip(data, pos, tag & 7)
            continue
        size, pos = read_varint(data, pos)
        stop: int = pos + size
        if stop > end:
            raise MalformedPayload("a field is longer than its message", pos)
        if tag == 18:
            starts.append(pos)
            stops.append(stop)
        elif tag == 10:
            header.append(data[pos:stop])
        elif tag == 26:
            schema = data[pos:stop]
        pos = stop
    return schema


def _schema_member(schema: bytes) -> list[bytes]:
    return [b'"schema_url":' + json_string(schema)] if schema else []


def _attribute_member(attributes: list[Attribute], members: list[bytes]) -> list[Attribute]:
    if not attributes:
        return attributes
    attributes = unique(attributes)
    members.append(b'"attributes":' + attributes_json(attributes, flags_of(attributes)))
    return attributes


def _dropped_member(dropped: int, members: list[bytes]) -> None:
    if dropped & 0xFFFFFFFF:
        members.append(b'"dropped_attributes_count":%d' % (dropped & 0xFFFFFFFF))
