"""The Resource of a part: read, replaced and edited without touching the records beside it."""

from collections.abc import Callable
from typing import Final

from heliograph.otlp.wire import LENGTH, field, read_varint, skip

_RESOURCE: Final = 1
_SCHEMA_URL: Final = 3


def resource_of(part: bytes) -> bytes:
    """The serialized Resource of a part, b"" when there is none (which is an empty Resource)."""
    found = b""
    pos, size = 0, len(part)
    while pos < size:
        tag, pos = read_varint(part, pos)
        end = skip(part, pos, tag & 7)
        if tag == _RESOURCE << 3 | LENGTH:
            _, begin = read_varint(part, pos)
            found += part[begin:end]  # said twice, messages merge: their fields are joined
        pos = end
    return found


def with_resource(part: bytes, resource: bytes, schema_url: str | None = None) -> bytes:
    """The part with another Resource and, unless None, another schema URL of the resource."""
    pieces = [field(_RESOURCE, resource)]
    pos, size = 0, len(part)
    kept = 0  # begin of the bytes not yet taken over
    while pos < size:
        start = pos
        tag, pos = read_varint(part, pos)
        pos = skip(part, pos, tag & 7)
        if tag == _RESOURCE << 3 | LENGTH or (schema_url is not None and tag == _SCHEMA_URL << 3 | LENGTH):
            pieces.append(part[kept:start])
            kept = pos
    pieces.append(part[kept:])
    if schema_url:
        pieces.append(field(_SCHEMA_URL, schema_url.encode()))
    return b"".join(pieces)


class ResourceEditor:
    """Edits resources and remembers the results by the resource's bytes: a pod sends the same one every time.

    edit: gets a serialized Resource and returns the new one, or None to leave it as it is. It must depend on
    nothing else. limit: resources remembered; beyond it the oldest are forgotten. 0: none is remembered.
    """

    def __init__(self, edit: Callable[[bytes], bytes | None], limit: int = 4096) -> None:
        self._edit = edit
        self._limit = limit
        self._known: dict[bytes, bytes | None] = {}

    def apply(self, part: bytes) -> bytes:
        """The part with its Resource edited."""
        resource = resource_of(part)
        known = self._known
        if resource in known:
            edited = known[resource]
        else:
            edited = self._edit(resource)
            if edited == resource:
                edited = None
            if self._limit > 0:
                if len(known) >= self._limit:
                    del known[next(iter(known))]
                known[resource] = edited
        return part if edited is None else with_resource(part, edited)

    def clear(self) -> None:
        """Forget all results, because what `edit` depends on has changed."""
        self._known.clear()


def with_default_schema_url(part: bytes, schema_url: str) -> bytes:
    """The part, with this schema URL of its resource when it has none."""
    pos, size = 0, len(part)
    while pos < size:
        tag, pos = read_varint(part, pos)
        end = skip(part, pos, tag & 7)
        if tag == _SCHEMA_URL << 3 | LENGTH and end > pos + 1:
            return part
        pos = end
    return part + field(_SCHEMA_URL, schema_url.encode())
