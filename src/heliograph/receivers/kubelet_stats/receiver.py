"""The kubelet_stats receiver: asks the kubelet for its summary every collection_interval, and for its pods if needed.

A kubelet that does not answer shows in the health and the log, not at the start, as it may come later; files that
cannot be read are an error at the start.
"""

import asyncio
import os
from pathlib import Path

from heliograph.component.errors import StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host
from heliograph.component.scrape import Scrape, ScrapeLoop
from heliograph.kubernetes.access import SERVICE_ACCOUNT
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError, Untrusted
from heliograph.receivers.kubelet_stats.answers import Summary, pods, summary
from heliograph.receivers.kubelet_stats.cluster import ClusterAnswers
from heliograph.receivers.kubelet_stats.config import KubeletStatsConfig
from heliograph.receivers.kubelet_stats.measure import SCRAPER, Known, Measuring
from heliograph.receivers.kubelet_stats.metadata import PodMetadata
from heliograph.receivers.kubelet_stats.metrics import NODE_SHARES, RESOURCE_SHARES

_JSON = "application/json"
_UNTRUSTED = (
    "; set ca_file to the certificate of its authority (kubelets often sign their own), or insecure_skip_verify: true"
)
_UNAUTHORIZED = 401


class KubeletStatsReceiver:
    """Produces metrics of a node and what runs on it. service_account: the folder with token and ca.crt."""

    def __init__(self, settings: Settings, config: KubeletStatsConfig, service_account: Path = SERVICE_ACCOUNT) -> None:
        self._config = config
        self._log = settings.telemetry.log
        self._name = f"receiver {settings.id}"
        self._service_account = service_account
        self._needs_pods = bool(config.extra_metadata_labels or RESOURCE_SHARES & config.metrics)
        self._needs_node = bool(NODE_SHARES & config.metrics)
        self._needs_volumes = "volume" in config.metric_groups and "k8s.volume.type" in config.extra_metadata_labels
        self._kubelet: ApiClient | None = None
        self._cluster: ClusterAnswers | None = None
        self._measuring: Measuring | None = None
        self._host: Host | None = None
        self._loop = ScrapeLoop(
            settings,
            self._begin,
            (SCRAPER,),
            interval=float(config.collection_interval),
            initial_delay=float(config.initial_delay),
            timeout=float(config.timeout),
        )

    async def start(self, host: Host) -> None:
        """Begin scraping after initial_delay. Raises StartError."""
        config = self._config
        try:
            found = config.kubelet().access(os.environ, self._service_account)
            if config.k8s_api_config is not None:
                cluster = ClusterAnswers(config.k8s_api_config, config.node if self._needs_node else "")
                cluster.start(host)
                self._cluster = cluster
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None
        if not config.endpoint:
            self._log.warning("endpoint is not set: asking %s", found.server)
        if self._needs_node and self._cluster is None:
            self._log.warning("*.node.utilization metrics need k8s_api_config, and are not reported without it")
        client = ApiClient(
            found,
            host.clock,
            qps=config.kube_api_qps,
            burst=config.kube_api_burst,
            connect_seconds=float(config.dialer.timeout),
        )
        client.open()
        self._kubelet = client
        self._host = host
        self._measuring = Measuring(config, host.clock.now_ns())
        self._loop.start(host)

    async def shutdown(self, deadline: float) -> None:
        """Stop. What was handed on stays with the pipeline."""
        self._loop.stop()
        kubelet, self._kubelet = self._kubelet, None
        if kubelet is not None:
            await kubelet.close()
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            await cluster.stop()

    def _begin(self) -> "asyncio.Future[Scrape]":
        return asyncio.ensure_future(self._scrape())

    async def _scrape(self) -> Scrape:
        host, measuring = self._host, self._measuring
        assert host is not None
        assert measuring is not None
        try:
            async with asyncio.timeout(float(self._config.timeout) or None):
                found = summary(await self._get("/stats/summary"))
                known = await self._known(found)
        except ApiError as error:
            hint = _UNTRUSTED if isinstance(error, Untrusted) and self._config.auth_type != "kubeConfig" else ""
            return Scrape(errors={SCRAPER: f"{error}{hint}"})
        except TimeoutError:
            return Scrape(errors={SCRAPER: f"no answer within the timeout of {self._config.timeout:g} s"})
        scrape = measuring.run(found, known, host.clock.now_ns())
        if self._cluster is not None and self._cluster.problem:
            scrape.errors.setdefault(SCRAPER, f"the node's capacity is not known: {self._cluster.problem}")
        return scrape

    async def _known(self, found: Summary) -> Known:
        known = Known()
        if self._needs_pods:
            known.pods = PodMetadata(pods(await self._get("/pods")))
        cluster = self._cluster
        if cluster is None:
            return known
        known.capacity = cluster.capacity
        if self._needs_volumes and known.pods is not None:
            claims = []
            for pod in found.pods or ():
                for volume in pod.volumes or ():
                    source = known.pods.volume(pod.pod_ref.uid, volume.name)
                    if source is not None and source.claim is not None:
                        claims.append((pod.pod_ref.uid, volume.name, pod.pod_ref.namespace, source.claim.claim_name))
            known.volumes, known.problems = await cluster.volumes(claims)
        return known

    async def _get(self, path: str) -> bytes:
        """An answer of the kubelet; a refused token is read again and shown once more. Raises ApiError."""
        kubelet = self._kubelet
        if kubelet is None:
            raise ApiError(f"GET {path}: the receiver has stopped")
        try:
            return await kubelet.body(path, {}, _JSON)
        except ApiError as error:
            if error.status != _UNAUTHORIZED:
                raise
        return await kubelet.body(path, {}, _JSON)
