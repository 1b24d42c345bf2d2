"""The k8s_leader_elector extension: tries for the Lease for ever, and tells its followers when this process leads.

- Standing by: a try every retry_period and up to 1.2 times it more, at random.
- Leading: a renewal every retry_period. When another holder is seen, or the Lease could not be renewed for
  renew_deadline since the last renewal was asked for, the followers are stopped, before lease_duration lets another
  one begin.
- One request takes half of renew_deadline at most: one that hangs leaves time for another.
- At the end of the process the Lease is released, as its followers have stopped before.
"""

import asyncio
import os
import random
import socket
import uuid

from heliograph.component.errors import StartError
from heliograph.component.factory import Settings
from heliograph.component.leadership import Follower
from heliograph.component.lifecycle import Host, Status
from heliograph.extensions.k8s_leader_elector.config import JITTER, K8sLeaderElectorConfig
from heliograph.extensions.k8s_leader_elector.followers import Followers
from heliograph.extensions.k8s_leader_elector.lease import LeaseLock
from heliograph.kubernetes.access import access
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError

_RELEASE_SECONDS = 2.0


class K8sLeaderElector:
    """Component and LeaderElector. identity: what the Lease names this process; by default the host's name and a
    random part, so that `kubectl get lease` shows the pod."""

    def __init__(self, settings: Settings, config: K8sLeaderElectorConfig, identity: str = "") -> None:
        self._name = f"extension {settings.id}"
        self._config = config
        self._log = settings.telemetry.log
        self.identity = identity or f"{socket.gethostname()}_{uuid.uuid4()}"
        self._followers = Followers(settings.telemetry)
        self._client: ApiClient | None = None
        self._lock: LeaseLock | None = None
        self._host: Host | None = None
        self._task: asyncio.Task[None] | None = None
        self._said = ""
        settings.telemetry.gauge(
            "heliograph_leader", "Whether this process leads (1) or stands by (0).", lambda: float(self.leading)
        )

    @property
    def leading(self) -> bool:
        """Whether this process leads now."""
        return self._followers.leading

    async def subscribe(self, follower: Follower) -> None:
        """Tell this follower from now on."""
        await self._followers.add(follower)

    async def unsubscribe(self, follower: Follower) -> None:
        """Tell it nothing more."""
        await self._followers.remove(follower)

    async def start(self, host: Host) -> None:
        """Begin to try for the Lease. Raises StartError."""
        config = self._config
        try:
            found = access(config.auth_type, config.context, os.environ)
        except StartError as error:
            raise StartError(f"{self._name}: {error}") from None
        self._client = ApiClient(
            found,
            host.clock,
            qps=config.kube_api_qps,
            burst=config.kube_api_burst,
            connect_seconds=float(config.renew_deadline) / 2,
        )
        self._client.open()
        self._lock = LeaseLock(
            self._client,
            host.clock,
            namespace=config.lease_namespace,
            name=config.lease_name,
            identity=self.identity,
            duration=float(config.lease_duration),
        )
        self._host = host
        host.report(Status.OK)
        self._task = host.spawn(self._run(self._lock, host), "leader election")

    async def shutdown(self, deadline: float) -> None:
        """Stop trying, stop whoever still follows, and release the Lease."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        client, self._client = self._client, None
        if client is None or self._lock is None or self._host is None:
            return
        left = max(0.0, deadline - self._host.clock.monotonic())
        try:
            async with asyncio.timeout(left):
                await self._followers.stop(left)
            async with asyncio.timeout(min(left, _RELEASE_SECONDS)):
                await self._lock.release()
        except (ApiError, TimeoutError) as error:
            self._log.info("the Lease was not released, another process waits for its end: %s", error)
        await client.close()

    async def _run(self, lock: LeaseLock, host: Host) -> None:
        config = self._config
        patience = float(config.lease_duration) - float(config.renew_deadline)
        while True:
            began = await self._acquire(lock, host)
            self._log.info("leading: %s holds the Lease %s", self.identity, config.lease_name)
            host.report(Status.OK, f"leading as {self.identity}")
            self._followers.start()
            try:
                reason = await self._keep(lock, host, began)
            except Exception as error:  # noqa: BLE001
                reason = f"{type(error).__name__}: {error}"
            self._log.warning("leading no longer: %s", reason)
            host.report(Status.RECOVERABLE_ERROR, f"leading no longer: {reason}")
            self._said = ""
            await self._followers.stop(patience)

    async def _acquire(self, lock: LeaseLock, host: Host) -> float:
        """Try until the Lease is ours. The time before the request that got it."""
        period = float(self._config.retry_period)
        while True:
            began = host.clock.monotonic()
            problem = ""
            try:
                if await self._attempt(lock, float(self._config.renew_deadline) / 2):
                    return began
            except ApiError as error:
                problem = lock.explained(error) if error.status != 409 else ""
            if problem:
                self._say(Status.RECOVERABLE_ERROR, f"cannot get the Lease: {problem}", host)
            else:
                self._say(Status.OK, f"standing by: {lock.holder} leads" if lock.holder else "standing by", host)
            await host.clock.sleep(period * (1 + JITTER * random.random()))

    async def _keep(self, lock: LeaseLock, host: Host, renewed: float) -> str:
        """Renew until that fails. Why it did."""
        clock, period, limit = host.clock, float(self._config.retry_period), float(self._config.renew_deadline)
        problem = ""
        while True:
            await clock.sleep(min(period, max(0.0, renewed + limit - clock.monotonic())))
            began = clock.monotonic()
            if began >= renewed + limit:
                return problem or f"this process did not run for {began - renewed:.1f} s"
            try:
                if not await self._attempt(lock, min(limit / 2, renewed + limit - began)):
                    return f"{lock.holder} holds the Lease"
                renewed = began
                self._say(Status.OK, f"leading as {self.identity}", host)
            except ApiError as error:
                problem = f"the Lease could not be renewed for {limit:g} s: {lock.explained(error)}"
                self._say(Status.RECOVERABLE_ERROR, f"cannot renew the Lease: {lock.explained(error)}", host)

    async def _attempt(self, lock: LeaseLock, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await lock.attempt()
        except TimeoutError:
            raise ApiError(f"the API server did not answer within {seconds:.1f} s") from None

    def _say(self, status: Status, message: str, host: Host) -> None:
        if message == self._said:
            return
        self._said = message
        host.report(status, message)
        if status is Status.OK:
            self._log.info("%s", message)
        else:
            self._log.warning("%s", message)
