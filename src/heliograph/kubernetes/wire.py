"""What a Reflector and Changes ask of the API alike, and the parts of its answers that are the same for every kind.

Source: Kubernetes API concepts, "Retrieving large results sets in chunks" and "Efficient detection of changes".
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

JSON = "application/json"
GONE = 410
PAGE_OBJECTS = 500
"""Objects that one page of a list may have."""
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of one event; etcd takes objects of 1.5 MiB."""


@dataclass(frozen=True, slots=True)
class Request:
    """A GET. watch: the answer is a stream for `feed`, otherwise a body for `page`."""

    path: str
    query: Mapping[str, str]
    accept: str
    watch: bool


class ListMetadata(msgspec.Struct, rename={"resource_version": "resourceVersion", "continue_": "continue"}):
    """Of a list or of one page of it. continue_: what the next request must say to go on; "" on the last page."""

    resource_version: str = ""
    continue_: str = ""


class Event(msgspec.Struct):
    """One line of a watch. type: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR; with ERROR the object is a Status."""

    type: str
    object: msgspec.Raw


class Status(msgspec.Struct):
    """Why a watch ends. code: of HTTP."""

    code: int = 0
    reason: str = ""
    message: str = ""

    @property
    def expired(self) -> bool:
        """The version that was asked for is no longer kept: list again."""
        return self.code == GONE or self.reason in ("Expired", "Gone")
