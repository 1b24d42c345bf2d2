"""The k8s_attributes processor: one index for all processors of a process with the same configuration, one memory of
enriched resources for each, and, when configured, a place where telemetry waits for its pod."""

import asyncio
import os
from collections.abc import Collection, Iterable
from dataclasses import replace

from heliograph.component.batch import Batch, Fate, Outcome
from heliograph.component.errors import DeliveryError, Retryable, StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host, Status
from heliograph.kubernetes.cluster import Claim, give_back, take
from heliograph.otlp.count import count
from heliograph.otlp.resource import with_resource
from heliograph.processors.k8s_attributes.association import Identifier
from heliograph.processors.k8s_attributes.config import K8sAttributesConfig, WaitForPod
from heliograph.processors.k8s_attributes.enrich import Enricher
from heliograph.processors.k8s_attributes.index import Index
from heliograph.processors.k8s_attributes.waiting import Waiting

_EXPIRE_SECONDS = 30.0
_HELD_SECONDS = 5.0  # at most, for a sender that waits for its answer: SDKs give up after 10 s
_PAUSES = (0.2, 5.0)  # between tries, when the next component refuses what has waited
_IPV4 = "::ffff:"


class K8sAttributesProcessor:
    """Component and Consumer."""

    def __init__(self, settings: Settings, config: K8sAttributesConfig) -> None:
        assert settings.signal is not None
        self._signal = settings.signal
        self._next = settings.outputs[settings.signal]
        self._config = config
        self._telemetry = settings.telemetry
        self._name = f"processor {settings.id}"
        self._host: Host | None = None
        self._index: Index | None = None
        self._claim: Claim | None = None
        self._enricher: Enricher | None = None
        self._waiting: Waiting | None = None
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._key = ""
        self._going: list[Batch] = []
        self._known = settings.telemetry.counter(
            "heliograph_k8s_waited_items", "Items that waited for their pod.", outcome="known"
        )
        self._unknown = settings.telemetry.counter(
            "heliograph_k8s_waited_items", "Items that waited for their pod.", outcome="unknown"
        )
        self._full = settings.telemetry.counter(
            "heliograph_k8s_waited_items", "Items that waited for their pod.", outcome="no_room"
        )
        if config.wait_for_pod.timeout and not config.passthrough:
            settings.telemetry.waiting(self._signal, self._held)

    async def start(self, host: Host) -> None:
        """Begin to watch, and wait for all pods if configured. Raises StartError."""
        self._host = host
        config = self._config
        node, variable = config.filter.node, config.filter.node_from_env_var
        if variable:
            if variable not in os.environ:
                raise StartError(
                    f"{self._name}: filter::node_from_env_var: the environment variable {variable!r} is not set; "
                    "set it to the name of the node (fieldPath: spec.nodeName)"
                )
            node = os.environ[variable]
        if config.passthrough:
            self._enricher = Enricher(Index(config, node, host.clock), passthrough=True)
            host.report(Status.OK)
            return
        try:
            claim = Claim(config, host.clock, os.environ)
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None
        same = replace(config, wait_for_pod=WaitForPod(), wait_for_metadata=False)
        self._key = f"k8s_attributes {claim.identity} {node} {same!r}"
        index = take(self._key, lambda: Index(config, node, host.clock))
        self._claim, self._index = claim, index
        self._enricher = Enricher(index)
        index.changed.append(self._report)
        index.listen(claim.cluster)
        self._meter(index)
        self._report()
        if config.wait_for_pod.timeout:
            waiting = Waiting(float(config.wait_for_pod.timeout), int(config.wait_for_pod.max_bytes))
            self._waiting = waiting
            index.added.append(self._arrived)
            self._tasks.append(host.spawn(self._leave(waiting), "waiting for pods"))
        self._tasks.append(host.spawn(self._expire(index), "deleted pods"))
        if config.wait_for_metadata:
            await self._until_ready(index)

    async def shutdown(self, deadline: float) -> None:
        """Stop watching; what waits goes on without its pod, what is not taken by `deadline` is dropped and counted."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        host, waiting, self._waiting = self._host, self._waiting, None
        if waiting is not None and host is not None:
            self._going += [batch for batch, _ in waiting.leave(0.0, everything=True)]
            try:
                async with asyncio.timeout(max(0.0, deadline - host.clock.monotonic())):
                    while self._going:
                        await self._hand_on(host)
            except TimeoutError:
                pass
            for batch in self._going:
                self._telemetry.dropped(self._signal, batch.items, "shutdown")
                batch.finish(Outcome(Fate.DROPPED, "shutdown"))
            self._going.clear()
        index, claim, self._index, self._claim = self._index, self._claim, None, None
        if index is None or claim is None:
            return
        index.changed.remove(self._report)
        if self._arrived in index.added:
            index.added.remove(self._arrived)
        if give_back(self._key):
            await claim.cluster.forget(index)
        await claim.release()

    async def consume(self, batch: Batch) -> None:
        """Hand on the batch with its resources enriched; parts of unknown pods may wait."""
        enricher = self._enricher
        if enricher is None:
            raise Retryable(f"{self._name}: not started")
        if self._waiting is not None:
            await self._consume_waiting(batch, enricher, self._waiting)
            return
        peer = batch.context.peer.removeprefix(_IPV4)
        apply = enricher.apply
        await self._next.consume(batch.with_parts([apply(part, peer) for part in batch.parts]))

    async def _consume_waiting(self, batch: Batch, enricher: Enricher, waiting: Waiting) -> None:
        assert self._host is not None
        peer, now = batch.context.peer.removeprefix(_IPV4), self._host.clock.monotonic()
        ready: list[bytes] = []
        late: dict[Identifier, list[bytes]] = {}
        size = 0
        for part in batch.parts:
            enriched, _ = enricher.look(part, peer)
            if enriched.identifier and not enriched.known and not waiting.in_vain(enriched.identifier, now):
                if waiting.room(size + len(part)):
                    late.setdefault(enriched.identifier, []).append(part)
                    size += len(part)
                    continue
                self._full.add(count(str(self._signal), part))
            ready.append(part if enriched.resource is None else with_resource(part, enriched.resource))
        if not late:
            await self._next.consume(batch.with_parts(ready))
            return
        if batch.completion is None and batch.context.transport:
            with waiting.held(size):
                missing = await self._hold(late, waiting)
            for identifier, parts in late.items():
                outcome = self._unknown if identifier in missing else self._known
                outcome.add(sum(count(str(self._signal), part) for part in parts))
            await self._next.consume(batch.with_parts([enricher.apply(part, peer) for part in batch.parts]))
            return
        signal = str(self._signal)
        pieces = [(parts, sum(count(signal, part) for part in parts)) for parts in late.values()]
        if ready:
            pieces.append((ready, batch.items - sum(items for _, items in pieces)))
        split = batch.split(pieces)
        if ready:
            await self._next.consume(split.pop())
        for identifier, piece in zip(late, split, strict=True):
            waiting.add(identifier, piece, now)
        if self._index is not None:  # what came to be known while the rest was handed on
            waiting.arrived([identifier for identifier in late if identifier in self._index.pods])
        self._wake.set()

    async def _hold(self, late: Collection[Identifier], waiting: Waiting) -> set[Identifier]:
        """Return when these pods are known, or their time is over: those that are not. The sender is answered after
        that, so a crash meanwhile loses nothing that it was told to be safe."""
        host, index = self._host, self._index
        if host is None or index is None:
            return set()
        missing = {identifier for identifier in late if identifier not in index.pods}
        known = asyncio.Event()

        def look(identifiers: Iterable[Identifier]) -> None:
            missing.difference_update(identifiers)
            if not missing:
                known.set()

        look(())
        index.added.append(look)
        try:
            limit = min(float(self._config.wait_for_pod.timeout), _HELD_SECONDS)
            await _event_or_sleep(known, host, limit)
        finally:
            index.added.remove(look)
        for identifier in missing:
            waiting.give_up(identifier, host.clock.monotonic())
        return missing

    def _arrived(self, identifiers: Iterable[Identifier]) -> None:
        if self._waiting is not None and self._waiting.arrived(identifiers):
            self._wake.set()

    async def _leave(self, waiting: Waiting) -> None:
        """Hand on what need not wait any longer, for ever."""
        host = self._host
        assert host is not None
        pause = 0.0
        while True:
            end = waiting.next_end
            now = host.clock.monotonic()
            limit = pause or (max(0.0, end - now) if end is not None else None)
            await _event_or_sleep(self._wake, host, limit)
            self._wake.clear()
            for batch, known in waiting.leave(host.clock.monotonic()):
                (self._known if known else self._unknown).add(batch.items)
                self._going.append(batch)
            taken = await self._hand_on(host)
            pause = 0.0 if taken else min(max(pause * 2, _PAUSES[0]), _PAUSES[1])

    async def _hand_on(self, host: Host) -> bool:
        """Give what has waited to the next component. False when it does not take it now."""
        enricher = self._enricher
        assert enricher is not None
        while self._going:
            batch = self._going[0]
            peer = batch.context.peer.removeprefix(_IPV4)
            try:
                await self._next.consume(batch.with_parts([enricher.apply(part, peer) for part in batch.parts]))
            except Retryable as error:
                self._telemetry.log.warning(
                    "%d %s that waited are not taken: %s", batch.items, self._signal.items, error
                )
                await host.clock.sleep(_PAUSES[0])
                return False
            except DeliveryError as error:
                self._telemetry.log.error("dropped %d %s: %s", batch.items, self._signal.items, error)
                self._telemetry.dropped(self._signal, batch.items, "permanent_error")
                batch.finish(Outcome(Fate.DROPPED, "permanent_error"))
            self._going.pop(0)
        return True

    def _held(self) -> int:
        waiting = self._waiting.items if self._waiting is not None else 0
        return waiting + sum(batch.items for batch in self._going)

    async def _expire(self, index: Index) -> None:
        assert self._host is not None
        while True:
            await self._host.clock.sleep(_EXPIRE_SECONDS)
            index.expire()

    async def _until_ready(self, index: Index) -> None:
        ready = asyncio.Event()

        def look() -> None:
            if index.ready:
                ready.set()

        index.changed.append(look)
        look()
        try:
            async with asyncio.timeout(float(self._config.wait_for_metadata_timeout)):
                await ready.wait()
        except TimeoutError:
            kinds = ", ".join(sorted({resource.plural for resource, _ in index.missing}))
            problem = index.problem
            await self.shutdown(0.0)
            raise StartError(
                f"{self._name}: not all {kinds} were known within wait_for_metadata_timeout "
                f"({self._config.wait_for_metadata_timeout:g} s){': ' + problem if problem else ''}"
            ) from None
        finally:
            if look in index.changed:
                index.changed.remove(look)

    def _report(self) -> None:
        index, host = self._index, self._host
        if index is not None and host is not None:
            host.report(Status.RECOVERABLE_ERROR if index.problem else Status.OK, index.problem)

    def _meter(self, index: Index) -> None:
        telemetry = self._telemetry
        enricher = self._enricher
        assert enricher is not None
        for what in index.counts:
            telemetry.metrics.counted(
                f"otelcol_otelsvc_k8s_pod_{what}",
                f"Number of pod {what[:-1] if what != 'added' else 'add'} events received",
                {"processor": str(telemetry.id)},
                lambda what=what: index.counts[what],  # type: ignore[misc]
            )
        telemetry.metrics.gauge(
            "otelcol_otelsvc_k8s_pod_table_size",
            "Size of table containing pod info",
            {"processor": str(telemetry.id)},
            lambda: len(index.pods),
        )
        telemetry.metrics.counted(
            "otelcol_otelsvc_k8s_ip_lookup_miss",
            "Number of times pod by IP lookup failed",
            {"processor": str(telemetry.id), "otelcol_signal": str(self._signal)},
            lambda: enricher.misses,
        )


async def _event_or_sleep(event: asyncio.Event, host: Host, seconds: float | None) -> None:
    """Return when the event is set or the time is over, whichever is first."""
    if seconds is None:
        await event.wait()
        return
    tasks = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(host.clock.sleep(seconds))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
