"""Everything that the receiver knows of a cluster, as what is reported of it: encoded metrics by object, and news.

A Listener of all watches. An object that changes is read and encoded at once, and let go.
"""

from collections.abc import Callable, Iterable, Iterator

from heliograph.component.clock import Clock
from heliograph.component.scrape import Scrape
from heliograph.kubernetes.objects import Object, Resource, Scope
from heliograph.receivers.k8s_cluster import objects
from heliograph.receivers.k8s_cluster.encode import Encoder, Piece, Sections
from heliograph.receivers.k8s_cluster.news import News
from heliograph.receivers.k8s_cluster.reading import Reading
from heliograph.receivers.k8s_cluster.readings import Readings, endpoints, service

SCRAPER = "k8s_cluster"
_SHOWN = 3
_SLICE = 1000  # resources that are handed on together
_Place = tuple[str, str]
_Counts = dict[_Place, tuple[int, int, int]]


class Inventory:
    """news: None without a logs pipeline. readings, encoder: None without a metrics pipeline. changed: called when a
    watch has its first list, or trouble, or no longer."""

    def __init__(
        self,
        clock: Clock,
        readings: Readings | None,
        encoder: Encoder | None,
        news: News | None,
        changed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._readings, self._encoder = readings, encoder
        self.news = news
        self._changed = changed
        self._watched: set[tuple[Resource, Scope]] = set()
        self._listed: set[tuple[Resource, Scope]] = set()
        self._problems: dict[tuple[Resource, Scope], str] = {}
        self._pieces: dict[Resource, dict[str, tuple[Piece, ...]]] = {}
        self._services: dict[str, objects.Service] = {}
        self._slices: dict[str, tuple[str, _Counts]] = {}

    def expect(self, watched: Iterable[tuple[Resource, Scope]]) -> None:
        """What will be listened to."""
        self._watched = set(watched)

    @property
    def ready(self) -> bool:
        """Whether each watch has told everything once, or has trouble."""
        return all(watch in self._listed or watch in self._problems for watch in self._watched)

    @property
    def problem(self) -> str:
        """What cannot be watched, and why; "" when all is well."""
        found: dict[str, str] = {}
        for (resource, _), problem in self._problems.items():
            found.setdefault(resource.plural, problem)
        texts = [f"{plural}: {found[plural]}" for plural in sorted(found)]
        more = f"; and {len(texts) - _SHOWN} more kinds" if len(texts) > _SHOWN else ""
        return "; ".join(texts[:_SHOWN]) + more

    def applied(self, resource: Resource, found: Object) -> None:
        """Read the object, and keep what is reported of it."""
        uid = found.metadata.uid
        if self.news is not None:
            self.news.applied(resource, found, self._clock.now_ns())
        if self._readings is None:
            return
        if isinstance(found, objects.Service):
            self._services[uid] = found
        elif isinstance(found, objects.EndpointSlice):
            self._slices[uid] = endpoints(found)
        else:
            pieces = self._encoded(self._readings.read(resource, found))
            if pieces:
                self._pieces.setdefault(resource, {})[uid] = pieces
            else:
                self._pieces.get(resource, {}).pop(uid, None)

    def removed(self, resource: Resource, uid: str, name: str) -> None:
        """Forget the object."""
        if self.news is not None:
            self.news.removed(resource, uid, self._clock.now_ns())
        self._pieces.get(resource, {}).pop(uid, None)
        self._services.pop(uid, None)
        self._slices.pop(uid, None)

    def synced(self, resource: Resource, scope: Scope) -> None:
        """Everything in this scope was told."""
        self._listed.add((resource, scope))
        self._changed()

    def troubled(self, resource: Resource, scope: Scope, problem: str) -> None:
        """Keep it for the receiver's health; what was known stays."""
        if problem:
            self._problems[resource, scope] = problem
        else:
            self._problems.pop((resource, scope), None)
        self._changed()

    def scrape(self) -> Scrape:
        """All metrics as they are now, of the kinds that were listed once."""
        listed = {resource for resource, _ in self._listed}
        chosen = [
            piece
            for resource, found in self._pieces.items()
            if resource in listed
            for pieces in found.values()
            for piece in pieces
        ]
        chosen += self._services_now()
        points = sum(section.points for _, section in chosen)
        problem = self.problem
        errors = {"watches": problem} if problem else {}
        return Scrape(points={SCRAPER: points}, errors=errors, slices=_slices(chosen, Sections(self._clock.now_ns())))

    def _services_now(self) -> tuple[Piece, ...]:
        if not self._services:
            return ()
        totals: dict[str, _Counts] = {}
        for key, counts in self._slices.values():
            total = totals.setdefault(key, {})
            for place, (ready, serving, terminating) in counts.items():
                before = total.get(place, (0, 0, 0))
                total[place] = before[0] + ready, before[1] + serving, before[2] + terminating
        readings = []
        for found in self._services.values():
            key = f"{found.metadata.namespace}/{found.metadata.name}"
            readings.append(service(found, totals.get(key, {})))
        return self._encoded(readings)

    def _encoded(self, readings: Iterable[Reading]) -> tuple[Piece, ...]:
        assert self._encoder is not None
        pieces = [self._encoder.piece(reading) for reading in readings]
        return tuple(piece for piece in pieces if piece is not None)


def _slices(chosen: list[Piece], sections: Sections) -> Iterator[tuple[list[bytes], int]]:
    for begin in range(0, len(chosen), _SLICE):
        some = chosen[begin : begin + _SLICE]
        yield [sections.part(piece) for piece in some], sum(section.points for _, section in some)
