"""List and watch without I/O: which request comes next, and what the bytes of its answer change.

The theory (Kubernetes API concepts, "Efficient detection of changes"): a list, page by page, gives every object and a
resource version; a watch from that version gives every change since, so nothing falls between the two. Each event
and each bookmark moves the version on, and a watch that ends goes on from there. When the server no longer has that
version (410 Gone, as a status or as an event), everything is listed again, and what was known and is not in
the new list has gone in between. What was known is kept until the new list is complete.

The first list of a scope with a field selector may come from the server's cache (resourceVersion=0): a daemon on each
node asks for its own pods, and the cache has an index for that. Other lists, and all lists after a 410, are consistent
and paged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from heliograph.kubernetes.errors import BadAnswer
from heliograph.kubernetes.objects import Object, Resource, Scope
from heliograph.kubernetes.wire import GONE, JSON, LONGEST_LINE, PAGE_OBJECTS, Event, ListMetadata, Request, Status


@dataclass(frozen=True, slots=True)
class Applied:
    """An object is there, new or changed."""

    object: Object


@dataclass(frozen=True, slots=True)
class Removed:
    """An object is gone."""

    uid: str
    name: str


@dataclass(frozen=True, slots=True)
class Synced:
    """A list is complete: whatever is in the scope has been told."""


Change = Applied | Removed | Synced


_EVENT = msgspec.json.Decoder(Event)
_STATUS = msgspec.json.Decoder(Status)
_OBJECT = msgspec.json.Decoder(Object)


class Reflector:
    """One kind and scope. Ask `request`, do it, hand the answer to `page`, `feed` and `ended`, or `refused`."""

    def __init__(self, resource: Resource, scope: Scope) -> None:
        self.resource = resource
        self.scope = scope
        items: Any = list.__class_getitem__(resource.shape) | None
        listing = msgspec.defstruct("_List", [("metadata", ListMetadata), ("items", items, None)])
        self._page: msgspec.json.Decoder[Any] = msgspec.json.Decoder(listing)
        self._object: msgspec.json.Decoder[Any] = msgspec.json.Decoder(resource.shape)
        self._known: dict[str, str] = {}  # uid -> name
        self._seen: dict[str, str] | None = None  # the same of a list that is not complete
        self._continue = ""
        self._version = "0" if scope.fields else ""
        self._listed = False
        self._rest = bytearray()

    @property
    def watching(self) -> bool:
        """Whether the next request is a watch."""
        return self._listed

    def request(self) -> Request:
        """What to ask next."""
        query: dict[str, str] = {}
        if self.scope.fields:
            query["fieldSelector"] = self.scope.fields
        if self.scope.labels:
            query["labelSelector"] = self.scope.labels
        if self._listed:
            query |= {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self._version}
        elif self._continue:
            query |= {"limit": str(PAGE_OBJECTS), "continue": self._continue}
        elif self._version:
            query["resourceVersion"] = self._version
        else:
            query["limit"] = str(PAGE_OBJECTS)
        accept = JSON
        if self.resource.partial:
            kind = "PartialObjectMetadata" if self._listed else "PartialObjectMetadataList"
            accept = f"{JSON};as={kind};g=meta.k8s.io;v=v1,{JSON}"
        return Request(self.scope.path(self.resource), query, accept, self._listed)

    def page(self, body: bytes) -> Iterator[Change]:
        """The changes of one page of a list. Raises BadAnswer."""
        try:
            page = self._page.decode(body)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadAnswer(f"a list of {self.resource.plural} cannot be read: {error}") from None
        if self._seen is None:
            self._seen = {}
        for item in page.items or ():
            self._seen[item.metadata.uid] = item.metadata.name
            yield Applied(item)
        self._continue = page.metadata.continue_
        if self._continue:
            return
        gone = [(uid, name) for uid, name in self._known.items() if uid not in self._seen]
        self._known, self._seen = self._seen, None
        self._version = page.metadata.resource_version
        self._listed = True
        for uid, name in gone:
            yield Removed(uid, name)
        yield Synced()

    def feed(self, data: bytes) -> Iterator[Change]:
        """The changes in the next bytes of a watch, wherever they were cut. Raises BadAnswer; then list again."""
        rest = self._rest
        if not rest and data.endswith(b"\n"):
            lines = data.split(b"\n")
        else:
            begin = len(rest)
            rest += data
            if rest.find(b"\n", begin) < 0:
                if len(rest) > LONGEST_LINE:
                    raise BadAnswer(f"an event of {self.resource.plural} is longer than {LONGEST_LINE} bytes")
                return
            lines = bytes(rest).split(b"\n")
            self._rest = bytearray(lines[-1])
        lines.pop()
        for line in lines:
            if line and not line.isspace():
                yield from self._event(line)
                if not self._listed:
                    return

    def ended(self) -> None:
        """The stream of a watch is over, perhaps in the middle of an object."""
        self._rest.clear()

    def refused(self, status: int) -> bool:
        """The server answered with an error. True when another request is worth trying at once."""
        self.ended()
        if status != GONE:
            return False
        self.restart()
        return True

    def restart(self) -> None:
        """List again, consistently; what is known is compared with it."""
        self._rest.clear()
        self._listed, self._seen, self._continue, self._version = False, None, "", ""

    def _event(self, line: bytes) -> Iterator[Change]:
        try:
            event = _EVENT.decode(line)
            if event.type in ("ADDED", "MODIFIED"):
                found = self._object.decode(event.object)
                self._known[found.metadata.uid] = found.metadata.name
                self._version = found.metadata.resource_version
                yield Applied(found)
            elif event.type == "DELETED":
                metadata = _OBJECT.decode(event.object).metadata
                self._known.pop(metadata.uid, None)
                self._version = metadata.resource_version
                yield Removed(metadata.uid, metadata.name)
            elif event.type == "BOOKMARK":
                self._version = _OBJECT.decode(event.object).metadata.resource_version
            elif event.type == "ERROR":
                status = _STATUS.decode(event.object)
                self.restart()
                if not status.expired:
                    raise BadAnswer(f"watching {self.resource.plural}: {status.message or status.reason}", status.code)
        except (msgspec.MsgspecError, RecursionError) as error:
            self.restart()
            raise BadAnswer(f"an event of {self.resource.plural} cannot be read: {error}") from None
