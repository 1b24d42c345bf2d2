"""The receiver: follows the events of all or of some namespaces, with the process or while it leads."""

import asyncio
import os
from functools import partial

import msgspec

from heliograph.component.errors import StartError
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.leadership import LeaderElector
from heliograph.component.lifecycle import Host, Status
from heliograph.component.storage import Storage
from heliograph.kubernetes.changes import Change, Changes, collection
from heliograph.kubernetes.cluster import Claim
from heliograph.kubernetes.errors import ApiError, rule
from heliograph.kubernetes.follow import Following, Outlet, Versions, keep
from heliograph.receivers.k8s_events.choice import Choice
from heliograph.receivers.k8s_events.config import K8sEventsConfig
from heliograph.receivers.k8s_events.record import decode, resource_logs, time_ns

_FORBIDDEN = 403


class K8sEventsReceiver:
    """A Component, and a Follower of a leader elector."""

    def __init__(self, settings: Settings, config: K8sEventsConfig) -> None:
        self._id = settings.id
        self._name = f"receiver {settings.id}"
        self._telemetry = settings.telemetry
        self._output = settings.outputs[Signal.LOGS]
        self._config = config
        self._host: Host | None = None
        self._claim: Claim | None = None
        self._elector: LeaderElector | None = None
        self._versions: Versions | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._problems: dict[str, str] = {}
        self._choice = Choice(0, float(config.dedup_interval))
        self._unreadable = settings.telemetry.counter(
            "heliograph_k8s_unreadable_objects", "Objects of the API that could not be made a record."
        )

    async def start(self, host: Host) -> None:
        """Begin to follow, or to wait for the leadership. Raises StartError."""
        config = self._config
        try:
            claim = Claim(config, host.clock, os.environ)
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None
        self._claim = claim
        if config.storage is not None:
            storage = host.extension(config.storage, Storage)  # type: ignore[type-abstract]
            self._versions = Versions(storage.key_value("receiver_" + str(self._id).replace("/", "_")))
            self._keeping = host.spawn(keep(self._versions, host.clock), "versions")
        self._host = host
        self._choice = Choice(host.clock.now_ns(), float(config.dedup_interval))
        host.report(Status.OK)
        if config.k8s_leader_elector is None:
            await self.started()
            return
        elector = host.extension(config.k8s_leader_elector, LeaderElector)  # type: ignore[type-abstract]
        self._elector = elector
        await elector.subscribe(self)

    async def shutdown(self, deadline: float) -> None:
        """Stop. What was handed on stays with the pipeline, and its completions still move the checkpoint."""
        elector, self._elector = self._elector, None
        if elector is not None:
            await elector.unsubscribe(self)
        await self.stopped()
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
        if self._versions is not None:
            self._versions.end()
        claim, self._claim = self._claim, None
        if claim is not None:
            await claim.release()

    async def started(self) -> None:
        """Follow from now on, or from the checkpoint."""
        host, claim = self._host, self._claim
        assert host is not None
        assert claim is not None
        outlet = Outlet(self._output, self._telemetry, host.clock)
        for namespace in self._config.namespaces or [""]:
            key = "latestResourceVersion/events" + (f".{namespace}" if namespace else "")
            version = self._versions.begin(key) if self._versions is not None else ""
            changes = Changes(collection("", "v1", "events", namespace), "events", version=version, sure=bool(version))
            following = Following(
                claim.cluster.client,
                changes,
                host.clock,
                partial(self._encode, resumed=bool(version)),
                outlet,
                partial(self._troubled, namespace),
                self._versions,
                key,
            )
            self._tasks.append(host.spawn(following.run(), f"events {namespace}".strip()))

    async def stopped(self) -> None:
        """Follow no longer."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._problems and self._host is not None:
            self._problems.clear()
            self._host.report(Status.OK)

    def _encode(self, changes: list[Change], resumed: bool) -> tuple[list[bytes], int]:
        host = self._host
        assert host is not None
        now = host.clock.monotonic()
        parts = []
        for change in changes:
            try:
                event = decode(change.object)
                if self._choice.wants(change, event, time_ns(event), now, resumed):
                    parts.append(resource_logs(event))
            except (msgspec.MsgspecError, OverflowError, RecursionError) as error:
                self._unreadable.add(1)
                self._telemetry.log.warning("the event %s/%s cannot be read: %s", change.namespace, change.name, error)
        return parts, len(parts)

    def _troubled(self, namespace: str, error: ApiError | None) -> None:
        host = self._host
        assert host is not None
        before = self._problems.pop(namespace, "")
        if error is not None:
            hint = rule("", "events", namespace, ("list", "watch")) if error.status == _FORBIDDEN else ""
            problem = f"cannot watch events: {error}" + (f"; {hint}" if hint else "")
            self._problems[namespace] = problem
            if problem != before:
                self._telemetry.log.warning("%s", problem)
        elif before:
            self._telemetry.log.info("watching events again")
        if self._problems:
            host.report(Status.RECOVERABLE_ERROR, "; ".join(sorted(set(self._problems.values()))))
        else:
            host.report(Status.OK)
