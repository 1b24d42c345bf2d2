"""Every change of a kind as it came, from a version on, without I/O: for those who hand changes on and keep no objects.

A Reflector tells what there is; this tells what happens. It begins at a version that is given (a checkpoint), or at
that of a list: of one object alone when nothing of the list is wanted, of all objects when the present state is.
Each event and each bookmark moves the version on, so that a watch that was cut, wherever, goes on without a gap and
without telling anything twice.

When the server no longer has the version (410 Gone: after five minutes, by default), the changes in between cannot be
had. What exists and is newer than the version is told as ADDED, as the API itself does when a watch begins without a
version. What was changed more than once is then told once, and what was deleted meanwhile is not told.
Source: Kubernetes API concepts, "Efficient detection of changes" and "Resource versions"; those of one kind are
compared as numbers, which KEP-5504 allows.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec

from heliograph.kubernetes.errors import BadAnswer
from heliograph.kubernetes.wire import GONE, JSON, LONGEST_LINE, PAGE_OBJECTS, Event, ListMetadata, Request, Status

_FIRST_VERSION = "1"

State = Literal["version", "all", "newer"]
"""What a list is for: its version alone, all objects, or those that are newer than the version that is gone."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change. type: ADDED, MODIFIED or DELETED. object: JSON, with kind and apiVersion."""

    type: str
    object: bytes
    name: str
    namespace: str
    version: str


class _Metadata(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Object(msgspec.Struct, rename="camel", gc=False):
    metadata: _Metadata
    kind: str = ""
    api_version: str = ""


class _List(msgspec.Struct, rename="camel"):
    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None
    kind: str = ""
    api_version: str = ""


_DECODE_LIST = msgspec.json.Decoder(_List).decode
_DECODE_EVENT = msgspec.json.Decoder(Event).decode
_DECODE_OBJECT = msgspec.json.Decoder(_Object).decode
_DECODE_STATUS = msgspec.json.Decoder(Status).decode


class Pages:
    """The pages of one list. more: what the next request must say to go on; version: of the whole list, at its end."""

    def __init__(self) -> None:
        self.more = ""
        self.version = ""

    def read(self, body: bytes, what: str) -> list[Change]:
        """The objects of one page. Raises BadAnswer."""
        try:
            page = _DECODE_LIST(body)
            kind = page.kind.removesuffix("List")
            found = [_listed(bytes(item), kind, page.api_version) for item in page.items or ()]
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadAnswer(f"a list of {what} cannot be read: {error}") from None
        self.more, self.version = page.metadata.continue_, page.metadata.resource_version
        return found


class Changes:
    """One kind and scope. Ask `request`, do it, hand the answer to `page`, `feed` and `ended`, or `refused`.

    path, what: of the collection, and its name for people. version: where to begin; "" for now. sure: it comes from a
    checkpoint, so that what is newer is told when the server no longer has it. initial: what exists is told first; with
    a version, what is newer than that. broken: why the rest of the stream cannot be read; then make another request.
    """

    def __init__(
        self,
        path: str,
        what: str,
        *,
        fields: str = "",
        labels: str = "",
        version: str = "",
        sure: bool = False,
        initial: bool = False,
    ) -> None:
        self.path, self.what = path, what
        self._selectors = {name: text for name, text in (("fieldSelector", fields), ("labelSelector", labels)) if text}
        self.version = version
        self._state: State = "version"
        self._after = ""
        self._sure = sure  # that everything up to the version has been told
        if initial:
            self._state, self._after, self.version = "newer" if version else "all", version, ""
        self._pages = Pages()
        self._told: set[str] = set()  # versions of what was told of a list, which may have to begin again
        self.broken: BadAnswer | None = None
        self._rest = bytearray()

    @property
    def watching(self) -> bool:
        """Whether the next request is a watch."""
        return bool(self.version)

    def request(self) -> Request:
        """What to ask next."""
        query: dict[str, str] = dict(self._selectors)
        if self.version:
            query |= {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": self.version}
            return Request(self.path, query, JSON, True)
        query["limit"] = "1" if self._state == "version" else str(PAGE_OBJECTS)
        if self._pages.more:
            query["continue"] = self._pages.more
        return Request(self.path, query, JSON, False)

    def page(self, body: bytes) -> list[Change]:
        """What is to be told of one page of a list. Raises BadAnswer."""
        found = self._pages.read(body, self.what)
        if self._state == "version":
            found = []
            self._pages.more = ""
        elif self._state == "newer":
            found = [change for change in found if _newer(change.version, self._after)]
        if found:
            found = [change for change in found if change.version not in self._told]
            self._told.update(change.version for change in found)
        if not self._pages.more:
            self._told.clear()
            version = self._pages.version
            self.version = version if version not in ("", "0") else _FIRST_VERSION
            self._state, self._after, self._sure = "version", "", True
        return found

    def feed(self, data: bytes) -> list[Change]:
        """The changes in the next bytes of a watch, wherever they were cut. Look at `broken` afterwards."""
        rest = self._rest
        begin = len(rest)
        rest += data
        if rest.find(b"\n", begin) < 0:
            if len(rest) > LONGEST_LINE:
                self.broken = BadAnswer(f"an event of {self.what} is longer than {LONGEST_LINE} bytes")
            return []
        *lines, last = bytes(rest).split(b"\n")
        self._rest = bytearray(last)
        found: list[Change] = []
        for line in lines:
            if not self.version:
                break
            if line and not line.isspace():
                try:
                    self._event(line, found)
                except BadAnswer as error:
                    self.broken = error
                    break
        return found

    def ended(self) -> None:
        """The stream of a watch is over, perhaps in the middle of an object."""
        self._rest.clear()
        self.broken = None

    def refused(self, status: int) -> bool:
        """The server answered with an error. True when another request is worth trying at once."""
        self.ended()
        if status != GONE:
            return False
        self.restart()
        return True

    def restart(self) -> None:
        """The version leads nowhere: list."""
        self._rest.clear()
        self._pages = Pages()
        if self.version:
            if self._sure:
                self._state, self._after = "newer", self.version
            self.version = ""

    def _event(self, line: bytes, found: list[Change]) -> None:
        try:
            event = _DECODE_EVENT(line)
            if event.type == "ERROR":
                status = _DECODE_STATUS(event.object)
                if status.expired:
                    self.restart()
                    return
                raise BadAnswer(f"watching {self.what}: {status.message or status.reason}", status.code)
            metadata = _DECODE_OBJECT(event.object).metadata
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadAnswer(f"an event of {self.what} cannot be read: {error}") from None
        if event.type in ("ADDED", "MODIFIED", "DELETED"):
            body = bytes(event.object)
            found.append(Change(event.type, body, metadata.name, metadata.namespace, metadata.resource_version))
        elif event.type != "BOOKMARK":
            return
        if metadata.resource_version:
            self.version, self._sure = metadata.resource_version, True


def _listed(item: bytes, kind: str, api_version: str) -> Change:
    """An object of a list, where kind and apiVersion are said once for all."""
    found = _DECODE_OBJECT(item)
    missing = {} if found.kind else {"kind": kind}
    missing |= {} if found.api_version else {"apiVersion": api_version}
    missing = {name: text for name, text in missing.items() if text}
    if missing:
        inner = item.lstrip()[1:]
        item = msgspec.json.encode(missing)[:-1] + (b"" if inner.lstrip().startswith(b"}") else b",") + inner
    metadata = found.metadata
    return Change("ADDED", item, metadata.name, metadata.namespace, metadata.resource_version)


def _newer(version: str, than: str) -> bool:
    """Whether one resource version is after another; what is no number may be."""
    return not (version.isdecimal() and than.isdecimal()) or int(version) > int(than)


def collection(group: str, version: str, plural: str, namespace: str = "") -> str:
    """The path of a collection. group: "" for the core's."""
    api = f"/apis/{group}/{version}" if group else f"/api/{version}"
    return f"{api}/namespaces/{namespace}/{plural}" if namespace else f"{api}/{plural}"
