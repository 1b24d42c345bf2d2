"""The receiver: watches what is needed, reports every collection_interval, tells of entities as they change.

Its work begins with the process or, with a leader elector, each time this process becomes the leader; every time anew,
from the first list on.
"""

import asyncio
import os
from collections.abc import Collection, Iterator

from heliograph.component.batch import Batch
from heliograph.component.errors import DeliveryError, Retryable, StartError
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.component.leadership import LeaderElector
from heliograph.component.lifecycle import Host, Status
from heliograph.component.scrape import Scrape, ScrapeLoop
from heliograph.kubernetes.cluster import Claim, Cluster
from heliograph.kubernetes.discovery import served
from heliograph.kubernetes.errors import ApiError
from heliograph.kubernetes.objects import Resource, Scope
from heliograph.otlp.metrics_encode import Metric
from heliograph.receivers.k8s_cluster import metrics, objects
from heliograph.receivers.k8s_cluster.config import K8sClusterConfig
from heliograph.receivers.k8s_cluster.encode import Encoder
from heliograph.receivers.k8s_cluster.entities import resource_logs
from heliograph.receivers.k8s_cluster.inventory import SCRAPER, Inventory
from heliograph.receivers.k8s_cluster.news import News
from heliograph.receivers.k8s_cluster.readings import Readings

_KINDS: tuple[tuple[Resource, Collection[str], bool], ...] = (
    # kind, metrics that need it, whether it is an entity
    (objects.NAMESPACES, metrics.NAMESPACE, True),
    (objects.NODES, metrics.NODE, True),
    (objects.SERVICES, metrics.SERVICE, True),
    (objects.ENDPOINT_SLICES, ("k8s.service.endpoint.count",), False),
    (objects.DEPLOYMENTS, metrics.DEPLOYMENT, True),
    (objects.REPLICA_SETS, metrics.REPLICA_SET, True),
    (objects.REPLICATION_CONTROLLERS, metrics.REPLICATION_CONTROLLER, True),
    (objects.STATEFUL_SETS, metrics.STATEFUL_SET, True),
    (objects.DAEMON_SETS, metrics.DAEMON_SET, True),
    (objects.JOBS, metrics.JOB, True),
    (objects.CRON_JOBS, metrics.CRON_JOB, True),
    (objects.HPAS, metrics.HPA, True),
    (objects.RESOURCE_QUOTAS, metrics.RESOURCE_QUOTA, False),
    (objects.CLUSTER_RESOURCE_QUOTAS, metrics.CLUSTER_RESOURCE_QUOTA, False),
    (objects.PERSISTENT_VOLUMES, metrics.PERSISTENT_VOLUME, True),
    (objects.PERSISTENT_VOLUME_CLAIMS, metrics.PERSISTENT_VOLUME_CLAIM, True),
    (objects.PODS, {**metrics.POD, **metrics.CONTAINER}, True),
)
_PAUSES = (1.0, 30.0)  # between tries to ask which kinds there are
_GATHER_SECONDS = 0.2  # news that come within are told together
_RECORDS = 500
_RETRY_SECONDS = 5.0


class K8sClusterReceiver:
    """A Component, and a Follower of a leader elector."""

    def __init__(self, settings: Settings, config: K8sClusterConfig) -> None:
        self._config = config
        self._log = settings.telemetry.log
        self._name = f"receiver {settings.id}"
        self._logs = settings.outputs.get(Signal.LOGS)
        self._host: Host | None = None
        self._elector: LeaderElector | None = None
        self._claim: Claim | None = None
        self._inventory: Inventory | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._reporting = False
        self._loop = None
        if Signal.METRICS in settings.outputs:
            interval = float(config.collection_interval)
            self._loop = ScrapeLoop(settings, self._scrape, (SCRAPER,), interval=interval, initial_delay=0.0)

    async def start(self, host: Host) -> None:
        """Begin to watch, or stand by until this process leads. Raises StartError."""
        config = self._config
        elector = None
        try:
            if config.k8s_leader_elector is not None:
                elector = host.extension(config.k8s_leader_elector, LeaderElector)  # type: ignore[type-abstract]
            self._claim = Claim(config, host.clock, os.environ)
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None
        self._host = host
        host.report(Status.OK)
        if elector is None:
            await self.started()
        else:
            self._elector = elector
            await elector.subscribe(self)

    async def shutdown(self, deadline: float) -> None:
        """Stop. What was handed on stays with the pipeline."""
        elector, self._elector = self._elector, None
        if elector is not None:
            await elector.unsubscribe(self)
        await self.stopped()
        claim, self._claim = self._claim, None
        if claim is not None:
            await claim.release()

    async def started(self) -> None:
        """Begin to watch and to report."""
        host = self._host
        if host is None or self._inventory is not None:
            return
        self._inventory = inventory = self._made(host)
        self._tasks = [host.spawn(self._work(host, inventory), "watching")]
        if inventory.news is not None:
            self._tasks.append(host.spawn(self._repeat(host, inventory.news), "telling again"))

    async def stopped(self) -> None:
        """Watch and report no longer; forget everything."""
        inventory, self._inventory = self._inventory, None
        tasks, self._tasks = self._tasks, []
        self._reporting = False
        if self._loop is not None:
            self._loop.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if inventory is not None and self._claim is not None:
            await self._claim.cluster.forget(inventory)
            if self._host is not None:
                self._host.report(Status.OK)

    def _made(self, host: Host) -> Inventory:
        config = self._config
        news = None if self._logs is None else News(round(config.metadata_collection_interval * 1000))
        if self._loop is None:
            return Inventory(host.clock, None, None, news, self._look)
        readings = Readings(config.metrics, config.node_conditions_to_report, config.allocatable_types_to_report)
        table: dict[str, Metric] = metrics.METRICS
        encoder = Encoder(table, readings.custom, config.metrics, config.resource_attributes, host.clock.now_ns())
        return Inventory(host.clock, readings, encoder, news, self._look)

    async def _work(self, host: Host, inventory: Inventory) -> None:
        """Find out which kinds there are, watch them, begin to report when all is known, tell of entities."""
        assert self._claim is not None
        cluster = self._claim.cluster
        wanted = list(self._wanted())
        plurals = await self._plurals(host, cluster, {resource.api for resource in wanted})
        watched: list[tuple[Resource, Scope]] = []
        for resource in wanted:
            there = plurals[resource.api]
            if there is not None and resource.plural not in there:
                self._log.info("the server has no %s (%s): they are not reported", resource.plural, resource.api)
                continue
            watched += [(resource, Scope(namespace)) for namespace in self._config.scopes()]
        inventory.expect(watched)
        for resource, scope in watched:
            cluster.listen(resource, scope, inventory)
        while not inventory.ready:
            self._changed.clear()
            await self._changed.wait()
        if self._loop is not None:
            self._reporting = True
            self._loop.start(host)
        if inventory.news is not None:
            await self._tell(host, inventory.news)

    def _wanted(self) -> Iterator[Resource]:
        config = self._config
        for resource, needed_by, entity in _KINDS:
            if resource is objects.CLUSTER_RESOURCE_QUOTAS and config.distribution != "openshift":
                continue
            if not resource.namespaced and config.scopes() != ("",):
                continue
            wanted = self._loop is not None and bool(config.metrics & set(needed_by))
            if resource is objects.NODES and self._loop is not None:
                wanted = wanted or bool(config.node_conditions_to_report or config.allocatable_types_to_report)
            if wanted or (entity and self._logs is not None):
                yield resource

    async def _plurals(self, host: Host, cluster: Cluster, apis: Collection[str]) -> dict[str, frozenset[str] | None]:
        """What the server has below each API, as soon as it tells."""
        found: dict[str, frozenset[str] | None] = {}
        pause, said = _PAUSES[0], ""
        for api in sorted(apis):
            while api not in found:
                try:
                    found[api] = await served(cluster.client, api)
                except ApiError as error:
                    if str(error) != said:
                        said = str(error)
                        self._log.warning("cannot find out which kinds there are: %s", said)
                    host.report(Status.RECOVERABLE_ERROR, said)
                    await host.clock.sleep(max(pause, min(error.after or 0.0, _PAUSES[1])))
                    pause = min(pause * 2, _PAUSES[1])
        return found

    def _look(self) -> None:
        """A watch has its first list, or trouble."""
        self._changed.set()
        inventory, host = self._inventory, self._host
        if inventory is None or host is None or self._reporting:
            return  # a report of metrics says the same
        problem = inventory.problem
        host.report(Status.RECOVERABLE_ERROR if problem else Status.OK, problem and f"cannot watch {problem}")

    def _scrape(self) -> "asyncio.Future[Scrape]":
        future: asyncio.Future[Scrape] = asyncio.get_running_loop().create_future()
        future.set_result(self._inventory.scrape() if self._inventory is not None else Scrape())
        return future

    async def _repeat(self, host: Host, news: News) -> None:
        interval = float(self._config.metadata_collection_interval)
        while interval:
            await host.clock.sleep(interval)
            news.again()

    async def _tell(self, host: Host, news: News) -> None:
        """Hand on what changed, for ever. What is refused for the moment is told later, as it is then."""
        assert self._logs is not None
        while True:
            await news.waiting.wait()
            bundle = news.take(_RECORDS, host.clock.now_ns())
            if bundle is None:
                await news.waiting.wait()
                await host.clock.sleep(_GATHER_SECONDS)
                continue
            try:
                await self._logs.consume(Batch(Signal.LOGS, [resource_logs(bundle.records)], len(bundle.records)))
            except Retryable as error:
                news.put_back(bundle)
                await host.clock.sleep(error.after or _RETRY_SECONDS)
            except DeliveryError as error:
                self._log.error("gave up %d entity events: %s", len(bundle.records), error)
