"""One log record on its way through the operators, and the fields by which the configuration names its parts.

An `Entry` is mutable and belongs to one operator at a time; a copy is made where a router fans out. `start` is the
offset of its first byte in the file it came from (`source`, opaque here), so that whoever holds an entry back also
holds back the checkpoint. Field syntax and behaviour follow upstream's pkg/stanza/entry: `body`, `body.a.b`,
`attributes.a`, `attributes["a.b"]`, `resource.x`.
"""

import copy
from typing import Any, Final


class Missing:
    """The type of MISSING: a field that does not exist, as opposed to one that is null."""


MISSING: Final = Missing()


class Entry:
    """A log record. Times are nanoseconds since the epoch, 0 for none."""

    __slots__ = (
        "attributes",
        "body",
        "observed",
        "resource",
        "severity",
        "severity_text",
        "source",
        "start",
        "timestamp",
        "uid",
    )

    def __init__(self, body: Any, observed: int, source: object = None, start: int = 0, uid: str = "") -> None:
        self.body = body
        self.observed = observed
        self.source = source
        self.start = start
        self.uid = uid
        self.timestamp = 0
        self.severity = 0
        self.severity_text = ""
        self.attributes: dict[str, Any] = {}
        self.resource: dict[str, Any] = {}

    def clone(self) -> "Entry":
        """An independent copy."""
        other = Entry(copy.deepcopy(self.body), self.observed, self.source, self.start, self.uid)
        other.timestamp = self.timestamp
        other.severity = self.severity
        other.severity_text = self.severity_text
        other.attributes = copy.deepcopy(self.attributes)
        other.resource = copy.deepcopy(self.resource)
        return other


class FieldError(ValueError):
    """A field that cannot be read (at start) or set (at run time)."""


class Field:
    """A place in an entry: root "body", "attributes" or "resource", and the keys below it."""

    __slots__ = ("keys", "root")

    def __init__(self, root: str, keys: tuple[str, ...] = ()) -> None:
        self.root = root
        self.keys = keys

    @classmethod
    def parse(cls, text: str, *, whole: bool = True) -> "Field":
        """Read the field syntax. `whole` False refuses `attributes` and `resource` without a key.

        Raises FieldError that says where the mistake is.
        """
        parts = _split(text)
        root, keys = parts[0], tuple(parts[1:])
        if root not in ("body", "attributes", "resource"):
            raise FieldError(f"field {text!r} must start with body, attributes or resource")
        if not whole and not keys and root != "body":
            raise FieldError(f"field {text!r} needs a key, such as {root}.name")
        return cls(root, keys)

    def get(self, entry: Entry) -> Any:
        """The value, or MISSING."""
        value: Any = getattr(entry, self.root)
        for key in self.keys:
            if not isinstance(value, dict):
                return MISSING
            value = value.get(key, MISSING)
        return value

    def set(self, entry: Entry, value: Any) -> None:
        """Store a value. Maps on the way are made; a body that is no map becomes one. A map set on the whole of
        attributes, resource or a body that is a map at a key is merged as upstream does. Raises FieldError."""
        keys = self.keys
        if self.root == "body":
            if not keys:
                if isinstance(value, dict) and isinstance(entry.body, dict):
                    entry.body.update(value)
                else:
                    entry.body = value
                return
            if not isinstance(entry.body, dict):
                entry.body = {}
            place = entry.body
        else:
            place = entry.attributes if self.root == "attributes" else entry.resource
            if not keys:
                if not isinstance(value, dict):
                    raise FieldError(f"{self.root} can only be set to a map, not {kind(value)}")
                place.update(value)
                return
        if self.root == "body" and isinstance(value, dict):
            # upstream merges a map into a body field that is there already
            for key in keys:
                place = _descend(place, key)
            place.update(value)
            return
        for key in keys[:-1]:
            place = _descend(place, key)
        place[keys[-1]] = value

    def delete(self, entry: Entry) -> Any:
        """Remove and return the value, or MISSING."""
        if not self.keys:
            value = getattr(entry, self.root)
            setattr(entry, self.root, None if self.root == "body" else {})
            return value
        place: Any = getattr(entry, self.root)
        for key in self.keys[:-1]:
            if not isinstance(place, dict):
                return MISSING
            place = place.get(key, MISSING)
        if not isinstance(place, dict):
            return MISSING
        return place.pop(self.keys[-1], MISSING)

    def parent(self) -> "Field":
        """The field one level up; the root is its own parent."""
        return Field(self.root, self.keys[:-1])

    def child(self, key: str) -> "Field":
        """The field one level down."""
        return Field(self.root, (*self.keys, key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Field) and self.root == other.root and self.keys == other.keys

    def __hash__(self) -> int:
        return hash((self.root, self.keys))

    def __str__(self) -> str:
        if any("." in key for key in self.keys):
            return self.root + "".join(f"['{key}']" for key in self.keys)
        return ".".join((self.root, *self.keys))


def _descend(place: dict[str, Any], key: str) -> dict[str, Any]:
    below = place.get(key)
    if not isinstance(below, dict):
        below = place[key] = {}
    return below


def _split(text: str) -> list[str]:
    """`a.b["c.d"]` -> [a, b, c.d]. A bracket may hold double or single quotes."""
    parts: list[str] = []
    position = 0
    current = ""
    while position < len(text):
        character = text[position]
        if character == ".":
            if not current and (not parts or text[position - 1] != "]"):
                raise FieldError(f"field {text!r}: empty key at column {position + 1}")
            if current:
                parts.append(current)
            current = ""
            position += 1
            if position == len(text):
                raise FieldError(f"field {text!r} ends in a dot")
        elif character == "[":
            if current:
                parts.append(current)
                current = ""
            quote = text[position + 1 : position + 2]
            if quote not in ("'", '"'):
                raise FieldError(f"field {text!r}: write a quote after [ at column {position + 1}")
            end = text.find(quote + "]", position + 2)
            if end < 0:
                raise FieldError(f"field {text!r}: the bracket at column {position + 1} is not closed")
            parts.append(text[position + 2 : end])
            position = end + 2
            if position < len(text) and text[position] not in ".[":
                raise FieldError(f"field {text!r}: unexpected character at column {position + 1}")
        else:
            current += character
            position += 1
    if current:
        parts.append(current)
    if not parts:
        raise FieldError("a field must not be empty")
    return parts


def kind(value: Any) -> str:
    """What a value is, in the words that users of the Collector know."""
    if value is None or value is MISSING:
        return "nil"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    if isinstance(value, bytes):
        return "bytes"
    return "map" if isinstance(value, dict) else "array"
