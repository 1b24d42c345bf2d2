"""What only the API server knows: the node's capacity, by a watch, and the PersistentVolumes behind claims.

The client and its connections are shared with all components that ask the same API server in the same way.
"""

import asyncio
import os
from collections.abc import Iterable
from urllib.parse import quote

import msgspec

from heliograph.component.lifecycle import Host
from heliograph.kubernetes.cluster import Claim
from heliograph.kubernetes.config import ApiConfig
from heliograph.kubernetes.errors import ApiError
from heliograph.kubernetes.objects import Object, Resource, Scope
from heliograph.kubernetes.quantity import quantity
from heliograph.receivers.kubelet_stats.answers import claim, volume
from heliograph.receivers.kubelet_stats.measure import Capacity
from heliograph.receivers.kubelet_stats.metadata import Pairs, persistent_attributes

_JSON = "application/json"
_AT_ONCE = 8


class NodeStatus(msgspec.Struct):
    """capacity: quantities by resource."""

    capacity: dict[str, str] | None = None


class Node(Object, kw_only=True):
    """A node."""

    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


NODES = Resource("/api/v1", "nodes", Node, namespaced=False, partial=False)


class ClusterAnswers:
    """Asks the API server. A Listener of the node."""

    def __init__(self, config: ApiConfig, node: str) -> None:
        self._config = config
        self._node = node
        self._claim: Claim | None = None
        self._volumes: dict[tuple[str, str], Pairs] = {}
        self.capacity = Capacity()
        self.problem = ""

    def start(self, host: Host) -> None:
        """Begin to watch the node, if one is named. Raises StartError."""
        self._claim = Claim(self._config, host.clock, os.environ)
        if self._node:
            self._claim.cluster.listen(NODES, Scope(fields=f"metadata.name={self._node}"), self)

    async def stop(self) -> None:
        """End the watch; close the connections when nobody else uses them."""
        claim, self._claim = self._claim, None
        if claim is not None:
            await claim.cluster.forget(self)
            await claim.release()

    async def volumes(
        self, claims: Iterable[tuple[str, str, str, str]]
    ) -> tuple[dict[tuple[str, str], Pairs], dict[tuple[str, str], str]]:
        """claims: (pod's uid, volume, namespace, claim). Returns the attributes by (uid, volume), and the problems.

        What was found once is not asked again; what is no longer asked for is forgotten.
        """
        wanted = {(uid, name): (namespace, of) for uid, name, namespace, of in claims}
        self._volumes = {key: pairs for key, pairs in self._volumes.items() if key in wanted}
        problems: dict[tuple[str, str], str] = {}
        room = asyncio.Semaphore(_AT_ONCE)

        async def ask(key: tuple[str, str], namespace: str, of: str) -> None:
            async with room:
                try:
                    self._volumes[key] = await self._behind(namespace, of)
                except ApiError as error:
                    problems[key] = f"has a claim whose volume cannot be found: {error}"

        async with asyncio.TaskGroup() as group:
            for key, (namespace, of) in wanted.items():
                if key not in self._volumes:
                    group.create_task(ask(key, namespace, of))
        return dict(self._volumes), problems

    async def _behind(self, namespace: str, name: str) -> Pairs:
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/persistentvolumeclaims/{quote(name, safe='')}"
        bound = claim(await self._get(path)).spec.volume_name
        if not bound:
            raise ApiError(f"the claim {name} is not bound to a volume")
        path = f"/api/v1/persistentvolumes/{quote(bound, safe='')}"
        return persistent_attributes(volume(await self._get(path)).spec)

    async def _get(self, path: str) -> bytes:
        if self._claim is None:
            raise ApiError(f"GET {path}: the receiver has stopped")
        return await self._claim.cluster.client.body(path, {}, _JSON)

    def applied(self, resource: Resource, found: Object) -> None:
        """Keep the node's capacity."""
        capacity = (found.status.capacity if isinstance(found, Node) else None) or {}
        self.capacity = Capacity(_amount(capacity.get("cpu")), _amount(capacity.get("memory")))

    def removed(self, resource: Resource, uid: str, name: str) -> None:
        """A node that was removed from the API keeps its capacity, as its kubelet still answers."""

    def synced(self, resource: Resource, scope: Scope) -> None:
        """Nothing waits for this."""

    def troubled(self, resource: Resource, scope: Scope, problem: str) -> None:
        """Keep it for the receiver's health."""
        self.problem = problem


def _amount(text: str | None) -> float:
    try:
        return quantity(text) if text else 0.0
    except ValueError:
        return 0.0
