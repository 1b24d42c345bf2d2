"""The receiver: finds out which kinds the server has, then pulls and follows them, with the process or while it leads.

A server that cannot be asked at the start may come later: health and log say so, and the start does not wait. A kind
that the server does not have is an error at the start, or of the health if the server came later, when error_mode has
it so.
"""

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
from heliograph.kubernetes.cluster import Claim, Cluster
from heliograph.kubernetes.errors import ApiError, rule
from heliograph.kubernetes.follow import Following, Outlet, Versions, keep
from heliograph.kubernetes.groups import Kind, preferred
from heliograph.kubernetes.watch import back_off
from heliograph.receivers.k8s_objects.config import K8sObjectsConfig, ObjectConfig
from heliograph.receivers.k8s_objects.pull import Pulling
from heliograph.receivers.k8s_objects.record import record, resource_logs

_FORBIDDEN = 403
_DISCOVERY_SECONDS = 10.0


class K8sObjectsReceiver:
    """A Component, and a Follower of a leader elector."""

    def __init__(self, settings: Settings, config: K8sObjectsConfig) -> None:
        self._id = settings.id
        self._name = f"receiver {settings.id}"
        self._telemetry = settings.telemetry
        self._output = settings.outputs[Signal.LOGS]
        self._config = config
        self._host: Host | None = None
        self._claim: Claim | None = None
        self._elector: LeaderElector | None = None
        self._versions: Versions | None = None
        self._helping: list[asyncio.Task[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._chosen: list[tuple[ObjectConfig, Kind]] = []
        self._problems: dict[str, str] = {}
        self._lasting = ""
        self._keys: list[str] = []
        self._unreadable = settings.telemetry.counter(
            "heliograph_k8s_unreadable_objects", "Objects of the API that could not be made a record."
        )

    async def start(self, host: Host) -> None:
        """Ask for the kinds and begin, or wait for the leadership. Raises StartError."""
        config = self._config
        try:
            claim = Claim(config, host.clock, os.environ)
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None
        self._claim = claim
        if config.storage is not None:
            storage = host.extension(config.storage, Storage)  # type: ignore[type-abstract]
            self._versions = Versions(storage.key_value("receiver_" + str(self._id).replace("/", "_")))
            self._helping.append(host.spawn(keep(self._versions, host.clock), "versions"))
        if config.k8s_leader_elector is not None:
            self._elector = host.extension(config.k8s_leader_elector, LeaderElector)  # type: ignore[type-abstract]
        self._host = host
        host.report(Status.OK)
        try:
            self._choose(await self._kinds(claim.cluster))
        except ApiError as error:
            self._troubled("kinds", "ask which kinds there are", "", error)
            self._helping.append(host.spawn(self._later(claim.cluster, host), "kinds"))
        except StartError as error:
            await self.shutdown(host.clock.monotonic())
            raise StartError(f"{self._name}: {error}") from None
        else:
            await self._begin()

    async def shutdown(self, deadline: float) -> None:
        """Stop. What was handed on stays with the pipeline, and its completions still move the checkpoint."""
        elector, self._elector = self._elector, None
        helping, self._helping = self._helping, []
        for task in helping:
            task.cancel()
        if elector is not None:
            await elector.unsubscribe(self)
        await self.stopped()
        if self._versions is not None:
            self._versions.end()
        claim, self._claim = self._claim, None
        if claim is not None:
            await claim.release()

    async def started(self) -> None:
        """Pull and follow from now on, or from the checkpoint."""
        self._keys = []
        for one, kind in self._chosen:
            for namespace in one.namespaces or [""]:
                self._collect(one, kind, namespace)

    async def stopped(self) -> None:
        """Collect no longer."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._problems:
            self._problems.clear()
            self._report()

    async def _kinds(self, cluster: Cluster) -> list[Kind]:
        try:
            async with asyncio.timeout(_DISCOVERY_SECONDS):
                return await preferred(cluster.client)
        except TimeoutError:
            raise ApiError(f"the API server did not answer within {_DISCOVERY_SECONDS:g} s") from None

    async def _later(self, cluster: Cluster, host: Host) -> None:
        failures = 0
        while True:
            failures += 1
            await host.clock.sleep(back_off(failures))
            try:
                self._choose(await self._kinds(cluster))
            except ApiError as error:
                self._troubled("kinds", "ask which kinds there are", "", error)
                continue
            except StartError as error:
                self._lasting = str(error)
                self._telemetry.log.error("%s", error)
            self._troubled("kinds", "ask which kinds there are", "", None)
            await self._begin()
            return

    async def _begin(self) -> None:
        if self._elector is None:
            await self.started()
        else:
            await self._elector.subscribe(self)

    def _choose(self, kinds: list[Kind]) -> None:
        """Find the kind of each object. Raises StartError."""
        self._chosen = []
        missing = []
        for one in self._config.objects:
            named = [kind for kind in kinds if kind.plural == one.name]
            if named:
                self._chosen.append((one, next((kind for kind in named if kind.group == one.group), named[0])))
                continue
            problem = f"the API has no kind {one.name!r}"
            near = sorted({kind.plural for kind in kinds if one.name.lower().rstrip("s") in kind.plural}, key=len)
            problem += f"; it has {', '.join(near[:5])}" if near else ""
            missing.append(problem)
            if self._config.error_mode == "ignore":
                self._telemetry.log.info("%s", problem)
        if missing and self._config.error_mode == "propagate":
            raise StartError("; ".join(missing))
        if not self._chosen:
            raise StartError("none of `objects` is a kind of the API" if self._config.objects else "`objects` is empty")

    def _collect(self, one: ObjectConfig, kind: Kind, namespace: str) -> None:
        host, claim = self._host, self._claim
        assert host is not None
        assert claim is not None
        path = collection(kind.group, kind.version, kind.plural, namespace)
        place = f"{path}?{one.label_selector}&{one.field_selector}&{one.mode}"
        troubled = partial(
            self._troubled,
            place,
            f"{one.mode or 'pull'} {kind.plural}",
            rule(kind.group, kind.plural, namespace, ("list", "watch") if one.watch else ("list",)),
        )
        encode = partial(self._encode, one=one, kind=kind)
        outlet = Outlet(self._output, self._telemetry, host.clock)
        if not one.watch:
            selectors = {"fieldSelector": one.field_selector, "labelSelector": one.label_selector}
            work = Pulling(
                claim.cluster.client,
                path,
                kind.plural,
                host.clock,
                encode,
                outlet,
                troubled,
                selectors={name: text for name, text in selectors.items() if text},
                version=one.resource_version,
                interval=self._config.period(one),
                delay=float(one.initial_delay),
            ).run()
        else:
            key = f"latestResourceVersion/{kind.plural}" + (f".{namespace}" if namespace else "")
            key += f"#{len(self._keys)}" if key in self._keys else ""
            self._keys.append(key)
            kept = self._versions.begin(key) if self._versions is not None else ""
            initial = self._config.include_initial_state
            changes = Changes(
                path,
                kind.plural,
                fields=one.field_selector,
                labels=one.label_selector,
                version=kept or ("" if one.resource_version == "0" or initial else one.resource_version),
                sure=bool(kept),
                initial=initial,
            )
            versions = self._versions
            work = Following(claim.cluster.client, changes, host.clock, encode, outlet, troubled, versions, key).run()
        self._tasks.append(host.spawn(work, f"{kind.plural} {namespace}".strip()))

    def _encode(self, changes: list[Change], one: ObjectConfig, kind: Kind) -> tuple[list[bytes], int]:
        host = self._host
        assert host is not None
        now = host.clock.now_ns()
        # Records of one namespace; of changes, only those in a row, to keep their order.
        groups: list[tuple[str, list[bytes]]] = []
        known: dict[str, list[bytes]] = {}
        items = 0
        for change in changes:
            namespace = change.namespace
            if change.type in one.exclude_watch_type or any(out.matches(namespace) for out in one.exclude_namespaces):
                continue
            try:
                made = record(change, kind.plural, now, one.watch)
            except (msgspec.MsgspecError, OverflowError, RecursionError, TypeError) as error:
                self._unreadable.add(1)
                self._telemetry.log.warning("%s %s/%s cannot be read: %s", kind.plural, namespace, change.name, error)
                continue
            if namespace not in known or (one.watch and groups[-1][0] != namespace):
                known[namespace] = []
                groups.append((namespace, known[namespace]))
            known[namespace].append(made)
            items += 1
        return [resource_logs(namespace, records) for namespace, records in groups], items

    def _troubled(self, place: str, what: str, needed: str, error: ApiError | None) -> None:
        before = self._problems.pop(place, "")
        if error is not None:
            hint = f"; {needed}" if error.status == _FORBIDDEN and needed else ""
            problem = self._problems[place] = f"cannot {what}: {error}{hint}"
            if problem != before:
                self._telemetry.log.warning("%s", problem)
        elif before:
            self._telemetry.log.info("can %s again", what)
        self._report()

    def _report(self) -> None:
        host = self._host
        assert host is not None
        problems = sorted(set(self._problems.values()))
        if self._lasting:
            host.report(Status.PERMANENT_ERROR, "; ".join([self._lasting, *problems]))
        elif problems:
            host.report(Status.RECOVERABLE_ERROR, "; ".join(problems))
        else:
            host.report(Status.OK)
