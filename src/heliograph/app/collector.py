"""One Collector in one event loop: made from a loaded configuration, started back to front, drained front to back.

Start: own metrics, extensions, exporters, processors and connectors (each after what it feeds), receivers. When one
fails, everything that was started is shut down again and StartError is raised.

Shutdown goes the other way: receivers all at once, processors and connectors one after another in the direction of the
data, exporters all at once, extensions. The time given is shared out so that a receiver that cannot finish does not
use it up for the exporters behind it: receivers have until 30 % of it is gone, processors and connectors until 50 %,
the rest is the exporters'. A component that fails to stop, or does not return, is logged and left behind.
"""

import asyncio
import gc
import logging
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from heliograph import __version__, catalog
from heliograph.app.supervision import ComponentHost, HealthBoard
from heliograph.component.clock import Clock, SystemClock
from heliograph.component.errors import HeliographError, StartError
from heliograph.component.factory import Factory
from heliograph.component.ids import ComponentId, Kind
from heliograph.component.lifecycle import Component, Status
from heliograph.config.model import Loaded
from heliograph.pipeline.build import Surroundings, build, build_extension
from heliograph.pipeline.plan import Instance, Plan, plan
from heliograph.telemetry.endpoint import Endpoint, metrics_page
from heliograph.telemetry.ledger import Ledger
from heliograph.telemetry.metrics import Metrics
from heliograph.telemetry.process import expose

DRAIN_SECONDS = 25.0
RECEIVERS_SHARE = 0.3
MIDDLE_SHARE = 0.5
GRACE_SECONDS = 2.0
"""How much longer than its deadline a component may take to return before it is left behind."""
METRICS_KEY = "service::telemetry::metrics::readers (pull::exporter::prometheus::port)"

Factories = Callable[[Kind, str], Factory]


def check(loaded: Loaded, factories: Factories = catalog.factory) -> Plan:
    """Plan the pipelines of a configuration without making anything. Raises ConfigError."""
    connectors = {id for kind, id in loaded.components if kind is Kind.CONNECTOR}
    return plan(loaded.pipelines, connectors, lambda kind, id: factories(kind, id.type))


def resource_of(loaded: Loaded) -> dict[str, str]:
    """The attributes of this process's own telemetry."""
    attributes: dict[str, str | None] = {
        "service.instance.id": str(uuid.uuid4()),
        "service.name": "heliograph",
        "service.version": __version__,
    }
    attributes.update(loaded.telemetry.resource)
    return {name: value for name, value in sorted(attributes.items()) if value is not None}


@dataclass(frozen=True, slots=True)
class _Running:
    instance: Instance
    component: Component
    host: ComponentHost
    log: "logging.LoggerAdapter[logging.Logger]"

    @property
    def label(self) -> str:
        return f'"{self.instance.id}" {self.instance.kind}'


class Collector:
    """A whole Collector. factories: where component types come from; resource: attributes of its own telemetry."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        clock: Clock | None = None,
        factories: Factories = catalog.factory,
        resource: Mapping[str, str] | None = None,
    ) -> None:
        """Raises ConfigError for what only the graph shows."""
        self._loaded = loaded
        self._clock = clock or SystemClock()
        self._factories = factories
        self._around = Surroundings(self._clock)
        self._plan = check(loaded, factories)
        self._resource = resource_of(loaded) if resource is None else resource
        self._log = logging.getLogger("heliograph.service")
        self._extensions: dict[ComponentId, Component] = {}
        self._running: list[_Running] = []
        self._endpoints: list[Endpoint] = []
        self.health = HealthBoard()
        self.metrics_ports: list[int] = []

    @property
    def ledger(self) -> Ledger:
        """Every item's account."""
        return self._around.ledger

    @property
    def metrics(self) -> Metrics:
        """All own metrics."""
        return self._around.metrics

    async def start(self) -> None:
        """Make and start everything. Raises StartError or ConfigError, and then nothing runs."""
        try:
            extensions = {id: self._make_extension(id) for id in self._loaded.extensions}
            configs = {key: configured.config for key, configured in self._loaded.components.items()}
            built = build(self._plan, configs, lambda kind, id: self._factories(kind, id.type), self._around)
            await self._offer_metrics()
            for id, extension in extensions.items():
                await self._start(Instance(Kind.EXTENSION, id), extension)
                self._extensions[id] = extension
            for instance, component in built.items():
                await self._start(instance, component)
        except BaseException:
            await self.shutdown(GRACE_SECONDS)
            raise
        self.health.is_ready = True
        self._log.info("everything is ready")

    async def shutdown(self, deadline_seconds: float = DRAIN_SECONDS) -> None:
        """Stop and drain in at most about this many seconds; whatever fails is logged. Safe twice."""
        self.health.is_ready = False
        running, self._running = self._running, []
        by_kind: dict[Kind, list[_Running]] = {kind: [] for kind in Kind}
        for one in reversed(running):
            by_kind[one.instance.kind].append(one)
        now = self._clock.monotonic()
        deadline = now + deadline_seconds
        receivers_until = now + deadline_seconds * RECEIVERS_SHARE
        middle_until = now + deadline_seconds * MIDDLE_SHARE
        await self._stop_all(by_kind[Kind.RECEIVER], receivers_until)
        for one in reversed(running):
            if one.instance.kind in (Kind.PROCESSOR, Kind.CONNECTOR):
                await self._shut_down(one, middle_until)
        await self._stop_all(by_kind[Kind.EXPORTER], deadline)
        for one in by_kind[Kind.EXTENSION]:
            await self._shut_down(one, deadline)
        for one in running:
            await one.host.end()
        for endpoint in self._endpoints:
            await endpoint.close()
        self._endpoints.clear()
        self._extensions.clear()

    def _make_extension(self, id: ComponentId) -> Component:
        configured = self._loaded.components[Kind.EXTENSION, id]
        return build_extension(id, configured.config, self._factories(Kind.EXTENSION, id.type), self._around)

    async def _offer_metrics(self) -> None:
        expose(self.metrics, self.ledger, self._clock, self._resource)
        for host, port in self._loaded.telemetry.metrics.listeners:
            endpoint = Endpoint(metrics_page(self.metrics.exposition))
            self._endpoints.append(endpoint)
            self.metrics_ports.append(await endpoint.listen(host, port, key=METRICS_KEY))

    async def _start(self, instance: Instance, component: Component) -> None:
        type_ = self._factories(instance.kind, instance.id.type).type
        log = self._around.telemetry(instance.kind, instance.id, type_).log
        host = ComponentHost(
            instance.kind,
            instance.id,
            str(instance.pipeline or instance.signal or ""),
            clock=self._clock,
            board=self.health,
            extensions=self._extensions,
            log=log,
        )
        running = _Running(instance, component, host, log)
        self._running.append(running)
        host.report(Status.STARTING)
        try:
            await component.start(host)
        except HeliographError as error:
            host.report(Status.PERMANENT_ERROR, str(error))
            raise StartError(f"failed to start {running.label}: {error}") from error
        except Exception as error:
            log.exception("start failed")
            raise StartError(f"failed to start {running.label}: {type(error).__name__}: {error}") from error
        if self.health.statuses()[f"{instance.kind}/{instance.id}"][0] is Status.STARTING:
            host.report(Status.OK)

    async def _stop_all(self, running: Iterable[_Running], deadline: float) -> None:
        await asyncio.gather(*(self._shut_down(one, deadline) for one in running))

    async def _shut_down(self, one: _Running, deadline: float) -> None:
        one.host.report(Status.STOPPING)
        left = max(0.0, deadline - self._clock.monotonic())
        try:
            async with asyncio.timeout(left + GRACE_SECONDS):
                await one.component.shutdown(deadline)
        except TimeoutError:
            one.log.error("did not stop within %.1f s and is left behind", left + GRACE_SECONDS)
        except Exception:
            one.log.exception("failed to stop")
        one.host.report(Status.STOPPED)


def tune_collector_of_garbage() -> None:
    """What is there after start-up stays: it is not looked at again. Batches are bytes and tuples, which make no
    cycles, so that looking for them less often costs nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
