"""What is to be said of entities: of each the latest, once, however often it changed before somebody took it.

So nothing grows beyond the number of entities when the pipeline has no room, and a pod that changes ten times a second
is told a few times. Kept for each object are its entities as MessagePack, which is smaller than the decoded object.
"""

import asyncio
from dataclasses import dataclass

import msgspec

from heliograph.kubernetes.objects import Object, Resource
from heliograph.receivers.k8s_cluster.entities import Entity, Relations, delete_record, of, state_record

_DECODER = msgspec.msgpack.Decoder(list[Entity])
_ENCODER = msgspec.msgpack.Encoder()

Gone = tuple[str, str, str]
"""Type, key and id of an entity."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """records: serialized LogRecords. states, gone: what they say, to be put back when nobody takes them."""

    records: list[bytes]
    states: list[str]
    gone: list[tuple[Gone, int]]


class News:
    """interval_ms: until everything is said again, 0 for never."""

    def __init__(self, interval_ms: int) -> None:
        self.waiting = asyncio.Event()
        self._interval_ms = interval_ms
        self._relations = Relations()
        self._known: dict[str, bytes] = {}  # by the object's uid
        self._changed: dict[str, None] = {}
        self._gone: dict[Gone, int] = {}  # when, Unix nanoseconds

    def applied(self, resource: Resource, found: Object, now_ns: int) -> None:
        """An object is new or changed; nothing is said when its entities are the same."""
        self._relations.applied(resource, found)
        uid = found.metadata.uid
        entities = of(resource, found)
        encoded, before = _ENCODER.encode(entities), self._known.get(uid)
        if encoded == before or not (entities or before):
            return
        left = {(entity.type, entity.key, entity.id) for entity in entities}
        for entity in _DECODER.decode(before) if before is not None else ():
            if (entity.type, entity.key, entity.id) not in left:
                self._gone[entity.type, entity.key, entity.id] = now_ns
        for gone in left:
            self._gone.pop(gone, None)
        self._known[uid] = encoded
        self._changed[uid] = None
        self.waiting.set()

    def removed(self, resource: Resource, uid: str, now_ns: int) -> None:
        """An object is gone, and its entities with it."""
        self._relations.removed(resource, uid)
        before = self._known.pop(uid, None)
        self._changed.pop(uid, None)
        for entity in _DECODER.decode(before) if before is not None else ():
            self._gone[entity.type, entity.key, entity.id] = now_ns
        self.waiting.set()

    def again(self) -> None:
        """Say everything again."""
        self._changed = dict.fromkeys(self._known)
        self.waiting.set()

    def take(self, most: int, now_ns: int) -> Bundle | None:
        """About `most` records; None when there is nothing to say, and then `waiting` is clear."""
        if not self._changed and not self._gone:
            self.waiting.clear()
            return None
        records: list[bytes] = []
        gone: list[tuple[Gone, int]] = []
        states: list[str] = []
        while self._gone and len(records) < most:
            entity, at_ns = self._gone.popitem()
            gone.append((entity, at_ns))
            records.append(delete_record(*entity, at_ns))
        for uid in self._changed:
            if len(records) >= most:
                break
            states.append(uid)
            for found in _DECODER.decode(self._known[uid]):
                records.append(state_record(self._relations.complete(found), now_ns, self._interval_ms))
        for uid in states:
            del self._changed[uid]
        return Bundle(records, states, gone)

    def put_back(self, bundle: Bundle) -> None:
        """Nobody took it: say it later, unless there is later news."""
        for uid in bundle.states:
            if uid in self._known:
                self._changed[uid] = None
        alive = {
            (entity.type, entity.key, entity.id)
            for uid in (self._changed if bundle.gone else ())
            for entity in _DECODER.decode(self._known[uid])
        }
        for gone, at_ns in bundle.gone:
            if gone not in alive:
                self._gone.setdefault(gone, at_ns)
        self.waiting.set()
