"""Follows all changes of a kind and hands them on as log records, for ever: requests, back-off, and a checkpoint.

- What the pipeline does not take now is offered again until it does; nothing is read from the API meanwhile, and the
  version stays where it was. The API keeps its changes for some minutes: whoever is away longer loses what changes.py
  says.
- With a storage, the version of what has been delivered is kept, and the next process goes on from there.
"""

import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from heliograph.component.batch import Batch, Completion, Fate, Outcome
from heliograph.component.clock import Clock
from heliograph.component.errors import DeliveryError, Retryable
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Consumer
from heliograph.component.storage import KeyValue
from heliograph.kubernetes.changes import Change, Changes
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError, BadAnswer
from heliograph.kubernetes.watch import FIRST_PAUSE, LONGEST_PAUSE, back_off
from heliograph.telemetry.component import ComponentTelemetry

_LOG = logging.getLogger("heliograph.kubernetes")
_SECONDS = (300.0, 600.0)  # how long a watch lasts
_REFUSALS = 5  # of a watch, one after another, until its version is given up
_RETRY_SECONDS = 1.0
_SAVE_SECONDS = 5.0


@dataclass(slots=True)
class _Sent:
    version: str
    safe: bool = False


class Versions:
    """The resource versions up to which everything was delivered, one for each key. Kept every few seconds, and at once
    after `end`: completions may come after the component has stopped."""

    def __init__(self, values: KeyValue) -> None:
        self._values = values
        self._sent: dict[str, deque[_Sent]] = {}
        self._unsaved: dict[str, str] = {}
        self._ended = False

    def begin(self, key: str) -> str:
        """Where to go on; "" for nowhere. What was sent before and is not safe by now counts no more."""
        self._sent[key] = deque()
        self.save()
        return (self._values.get(key) or b"").decode("ascii", "replace")

    def sent(self, key: str, version: str) -> Completion:
        """Something up to this version is on its way: its completion."""
        queue = self._sent.setdefault(key, deque())
        entry = _Sent(version)
        queue.append(entry)

        def done(outcome: Outcome) -> None:
            if outcome.fate is Fate.DROPPED and outcome.reason == "shutdown":
                return
            entry.safe = True
            if self._sent.get(key) is queue:
                self._move(key, queue)

        return Completion(done)

    def seen(self, key: str, version: str) -> None:
        """Nothing was to be told up to this version."""
        queue = self._sent.setdefault(key, deque())
        queue.append(_Sent(version, safe=True))
        self._move(key, queue)

    def save(self) -> None:
        """Keep what has moved."""
        while self._unsaved:
            key, version = next(iter(self._unsaved.items()))
            try:
                self._values.set(key, version.encode())
            except OSError as error:
                _LOG.warning("the resource version of %s was not kept, and is tried again later: %s", key, error)
                return
            del self._unsaved[key]

    def end(self) -> None:
        """Keep what has moved, and from now on each move at once."""
        self._ended = True
        self.save()

    def _move(self, key: str, queue: "deque[_Sent]") -> None:
        while queue and queue[0].safe:
            self._unsaved[key] = queue.popleft().version
        if self._ended:
            self.save()


async def keep(versions: Versions, clock: Clock) -> None:
    """Save every few seconds, for ever."""
    while True:
        await clock.sleep(_SAVE_SECONDS)
        versions.save()


class Outlet:
    """Hands log records to the pipeline."""

    def __init__(self, output: Consumer, telemetry: ComponentTelemetry, clock: Clock) -> None:
        self._output = output
        self._telemetry = telemetry
        self._clock = clock

    async def send(self, parts: list[bytes], items: int, completion: Completion | None = None) -> None:
        """Return when the pipeline has taken them; what it will never take is logged and given up."""
        batch = Batch(Signal.LOGS, parts, items, completion=completion)
        while True:
            try:
                await self._output.consume(batch)
                return
            except Retryable as error:
                await self._clock.sleep(error.after or _RETRY_SECONDS)
            except DeliveryError as error:
                self._telemetry.log.error("gave up %d log records: %s", items, error)
                batch.finish(Outcome(Fate.DROPPED, "refused"))
                return


Encode = Callable[[list[Change]], tuple[list[bytes], int]]
"""Changes -> serialized ResourceLogs and the number of records in them."""


class Following:
    """One kind and scope. troubled: told why it does not work, and None when it works. key: of the checkpoint."""

    def __init__(
        self,
        client: ApiClient,
        changes: Changes,
        clock: Clock,
        encode: Encode,
        outlet: Outlet,
        troubled: Callable[[ApiError | None], None],
        versions: Versions | None = None,
        key: str = "",
    ) -> None:
        self._client = client
        self._changes = changes
        self._clock = clock
        self._encode = encode
        self._outlet = outlet
        self._troubled = troubled
        self._versions = versions
        self._key = key
        self._kept = ""

    async def run(self) -> None:
        """Go on for ever."""
        changes, clock = self._changes, self._clock
        failures = refusals = 0
        while True:
            pause = 0.0
            began, version = clock.monotonic(), changes.version
            try:
                busy = await self._once()
                failures = refusals = 0
                if not busy and clock.monotonic() - began < 1.0:
                    pause = FIRST_PAUSE
            except ApiError as error:
                if changes.version != version:
                    failures = refusals = 0
                failures += 1
                refusals += error.status != 0 or isinstance(error, BadAnswer)
                if not (changes.refused(error.status) and failures < 2):
                    pause = max(back_off(failures), min(error.after or 0.0, LONGEST_PAUSE))
                    self._troubled(error)
                if refusals >= _REFUSALS and error.status not in (401, 403):
                    changes.restart()
                    refusals = 0
            if pause:
                await clock.sleep(pause)

    async def _once(self) -> bool:
        """Do one request. Whether anything came."""
        changes = self._changes
        request = changes.request()
        if not request.watch:
            body = await self._client.body(request.path, request.query, request.accept)
            self._troubled(None)
            await self._tell(changes.page(body))
            return True
        query = {**request.query, "timeoutSeconds": str(int(random.uniform(*_SECONDS)))}
        busy = False
        async with self._client.stream(request.path, query, request.accept) as content:
            self._troubled(None)
            async for piece in content.iter_any():
                busy = True
                await self._tell(changes.feed(piece))
                if changes.broken is not None:
                    raise changes.broken
                if not changes.watching:
                    break
        changes.ended()
        return busy

    async def _tell(self, changes: list[Change]) -> None:
        version = self._changes.version  # "" in the middle of a list: that is done again as a whole
        parts, items = self._encode(changes) if changes else ([], 0)
        if items:
            completion = self._versions.sent(self._key, version) if self._versions is not None and version else None
            await self._outlet.send(parts, items, completion)
        elif self._versions is not None and version and version != self._kept:
            self._versions.seen(self._key, version)
        if version:
            self._kept = version
