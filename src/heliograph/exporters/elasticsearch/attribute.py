"""Attributes: KeyValue bytes in, `"key":value` out, remembered by their bytes.

Telemetry says the same things again and again, so each KeyValue is read once and found again in a bounded memory.
Attributes that steer the exporter are recognised here by their flags; those in CONTROL never reach the document.

Rules, as upstream's: of several attributes with one key the first counts; `x.geo.location.lat` and `.lon` that are
doubles become one `x.geo.location: [lon, lat]` at the end.
Source: internal/serializer/otelserializer/jsonwriter.go and internal/elasticsearch/attribute.go (0.156).
"""

from typing import Final

from heliograph.exporters.elasticsearch.json_text import float_text, json_string
from heliograph.exporters.elasticsearch.value import (
    ARRAY,
    DOUBLE,
    STRING,
    Value,
    items_of,
    read_pair,
    read_value,
    read_varint,
    signed,
    value_json,
    value_text,
)

ROUTE: Final = 1
HIDDEN: Final = 2
HINTS: Final = 4
DOCUMENT_ID: Final = 8
PIPELINE: Final = 16
GEO: Final = 32
EVENT_NAME: Final = 64
UID: Final = 128
MAPPING_MODE: Final = 256
ENCODING_FORMAT: Final = 512
ONCE: Final = 1024
"""Of keys whose values do not come again: remembering them would only push others out."""

CONTROL: Final = ROUTE | HIDDEN | HINTS | DOCUMENT_ID | PIPELINE | MAPPING_MODE
MOVED: Final = CONTROL | GEO

DATASET: Final = b"data_stream.dataset"
NAMESPACE: Final = b"data_stream.namespace"
INDEX: Final = b"elasticsearch.index"

_FLAGS: Final[dict[bytes, int]] = {
    b"data_stream.type": HIDDEN,
    DATASET: ROUTE,
    NAMESPACE: ROUTE,
    INDEX: ROUTE,
    b"elasticsearch.mapping.hints": HINTS,
    b"elasticsearch.document_id": DOCUMENT_ID,
    b"elasticsearch.ingest_pipeline": PIPELINE,
    b"elastic.mapping.mode": MAPPING_MODE,
    b"encoding.format": ENCODING_FORMAT,
    b"event.name": EVENT_NAME,
    b"log.record.uid": UID,
    b"transaction.id": ONCE,
    b"error.id": ONCE,
}

_GEO_ENDS: Final[tuple[bytes, bytes]] = (b"geo.location.lat", b"geo.location.lon")
_LONGEST_REMEMBERED: Final = 256

NO_INDEX: Final = b"_noindex"


class Attribute:
    """One KeyValue. fragment: `"key":value`. value: kept only where flags say that it steers something. bit: one of
    62 bits that is the key's own, or 0 when there was none left: tells cheaply that a record's keys are distinct."""

    def __init__(self, key: bytes, fragment: bytes, flags: int, value: Value | None, bit: int) -> None:
        self.key: bytes = key
        self.fragment: bytes = fragment
        self.flags: int = flags
        self.value: Value | None = value
        self.bit: int = bit

    @property
    def text(self) -> bytes:
        """The value of a steering attribute as one text."""
        return b"" if self.value is None else value_text(self.value)


class Key:
    """What is known of a key. head: `"key":`."""

    def __init__(self, key: bytes, bit: int) -> None:
        self.key: bytes = key
        self.head: bytes = json_string(key) + b":"
        self.flags: int = _FLAGS.get(key, 0)
        self.bit: int = bit


class AttributeMemory:
    """KeyValue bytes -> Attribute. Holds at most twice `limit`; what was not used lately is forgotten."""

    def __init__(self, stringify: bool, limit: int) -> None:
        self.keys: dict[bytes, Key] = {}
        self.bits: dict[bytes, int] = {}
        self.stringify: bool = stringify
        self.limit: int = limit
        self.young: dict[bytes, Attribute] = {}
        self.old: dict[bytes, Attribute] = {}

    def find(self, pair: bytes) -> Attribute:
        """The attribute of these KeyValue bytes. A large number (a time) is neither looked for nor remembered."""
        size: int = len(pair)
        if size > 7 and pair[0] == 10 and pair[1] < 128:
            end: int = 2 + pair[1]
            rest: int = size - end - 2
            if 3 < rest < 14 and pair[end] == 18 and pair[end + 1] == rest and pair[end + 2] == 24:
                key: Key = self.key(pair[2:end])
                number, stop = read_varint(pair, end + 3)
                if key.flags == 0 and stop == size:
                    return Attribute(key.key, key.head + b"%d" % signed(number), 0, None, key.bit)
        found: Attribute | None = self.young.get(pair)
        if found is not None:
            return found
        found = self.old.get(pair)
        if found is None:
            found = self.read(pair)
            if size > _LONGEST_REMEMBERED or found.flags & (UID | ONCE) != 0:
                return found
        if len(self.young) >= self.limit:
            self.old = self.young
            self.young = {}
        self.young[pair] = found
        return found

    def read(self, pair: bytes) -> Attribute:
        """Read a KeyValue without remembering it. A short text, the usual case, takes a short way."""
        size: int = len(pair)
        if size > 6 and pair[0] == 10 and pair[1] < 128:
            end: int = 2 + pair[1]
            if end + 4 <= size and pair[end] == 18 and pair[end + 2] == 10:
                length: int = pair[end + 3]
                if length < 128 and end + 4 + length == size and pair[end + 1] == length + 2:
                    key = self.key(pair[2:end])
                    text: bytes = pair[end + 4 :]
                    value: Value | None = None
                    if key.flags & ~ONCE != 0:
                        value = Value()
                        value.kind = STRING
                        value.raw = text
                    return Attribute(key.key, key.head + json_string(text), key.flags, value, key.bit)
        name, content = read_pair(pair)
        key = self.key(name)
        flags: int = key.flags
        if content.kind == DOUBLE and name.endswith(_GEO_ENDS) and (len(name) == 16 or name[len(name) - 17] == 46):
            flags = GEO
        fragment: bytes = key.head + value_json(content, self.stringify, 0)
        return Attribute(key.key, fragment, flags, content if flags & ~ONCE != 0 else None, key.bit)

    def key(self, name: bytes) -> Key:
        """What is known of a key."""
        found: Key | None = self.keys.get(name)
        if found is None:
            if len(self.keys) >= self.limit:
                self.keys = {}
            bit: int = self.bits.get(name, 0)
            if bit == 0 and len(self.bits) < 62 and len(name) < 128:
                bit = 1 << len(self.bits)
                self.bits[name] = bit
            found = Key(name, bit)
            if len(name) < 128:
                self.keys[name] = found
        return found


def unique(attributes: list[Attribute]) -> list[Attribute]:
    """The list without later attributes of a key that was there before."""
    keys: set[bytes] = set()
    for attribute in attributes:
        keys.add(attribute.key)
    if len(keys) == len(attributes):
        return attributes
    first: dict[bytes, Attribute] = {}
    for attribute in attributes:
        if attribute.key not in first:
            first[attribute.key] = attribute
    return list(first.values())


def flags_of(attributes: list[Attribute]) -> int:
    """All their flags together."""
    flags: int = 0
    for attribute in attributes:
        flags |= attribute.flags
    return flags


def attributes_json(attributes: list[Attribute], flags: int) -> bytes:
    """The JSON object of unique attributes whose flags are `flags` together."""
    fragments: list[bytes] = []
    if flags & MOVED == 0:
        for attribute in attributes:
            fragments.append(attribute.fragment)
    else:
        for attribute in attributes:
            if attribute.flags & MOVED == 0:
                fragments.append(attribute.fragment)
        if flags & GEO != 0:
            fragments.extend(_points(attributes))
    return b"{" + b",".join(fragments) + b"}"


def _points(attributes: list[Attribute]) -> list[bytes]:
    latitudes: dict[bytes, Attribute] = {}
    longitudes: dict[bytes, Attribute] = {}
    prefixes: dict[bytes, bool] = {}
    for attribute in attributes:
        if attribute.flags & GEO != 0:
            prefix: bytes = attribute.key[:-16]
            prefixes[prefix] = True
            if attribute.key.endswith(b"lat"):
                latitudes[prefix] = attribute
            else:
                longitudes[prefix] = attribute
    fragments: list[bytes] = []
    for prefix in prefixes:
        latitude = latitudes.get(prefix)
        longitude = longitudes.get(prefix)
        if latitude is not None and longitude is not None:
            point: bytes = b"[" + _double(longitude) + b"," + _double(latitude) + b"]"
            fragments.append(json_string(prefix + b"geo.location") + b":" + point)
        elif latitude is not None:
            fragments.append(latitude.fragment)
        elif longitude is not None:
            fragments.append(longitude.fragment)
    return fragments


def _double(attribute: Attribute) -> bytes:
    return b"null" if attribute.value is None else float_text(attribute.value.real)


def first_with(attributes: list[Attribute], flag: int) -> Attribute | None:
    """The first attribute with this flag."""
    for attribute in attributes:
        if attribute.flags & flag != 0:
            return attribute
    return None


def text_of(attributes: list[Attribute], key: bytes) -> bytes | None:
    """The text of a routing attribute, or None when it is not there."""
    for attribute in attributes:
        if attribute.flags & ROUTE != 0 and attribute.key == key:
            return attribute.text
    return None


def string_of(attribute: Attribute | None) -> bytes:
    """The value of an attribute that is a string, else nothing."""
    if attribute is None or attribute.value is None or attribute.value.kind != STRING:
        return b""
    return attribute.value.raw


def hints_of(attributes: list[Attribute]) -> frozenset[bytes]:
    """The mapping hints: the strings in the array `elasticsearch.mapping.hints`."""
    attribute = first_with(attributes, HINTS)
    if attribute is None or attribute.value is None or attribute.value.kind != ARRAY:
        return frozenset()
    hints: set[bytes] = set()
    for item in items_of(attribute.value.raw):
        value = read_value(item, 0, len(item))
        if value.kind == STRING:
            hints.add(value.raw)
    return frozenset(hints)
