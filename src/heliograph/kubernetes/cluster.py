"""One API server as one identity, shared by all components of a process: a client and the watches through it.

`take` keeps one value for each key while somebody uses it, per event loop. Components that ask for the same cluster get
the same object, and those that listen to the same kind and scope hear of the same watch.
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from heliograph.component.clock import Clock
from heliograph.kubernetes.access import Access, access
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.config import ApiConfig
from heliograph.kubernetes.objects import Resource, Scope
from heliograph.kubernetes.watch import Listener, Watch

T = TypeVar("T")
_SHARED: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, list[Any]]]" = WeakKeyDictionary()


def take(key: Hashable, make: Callable[[], T]) -> T:
    """The value of this key, made when nobody has it. Give it back with `give_back`."""
    table = _SHARED.setdefault(asyncio.get_running_loop(), {})
    if key not in table:
        table[key] = [make(), 0]
    entry = table[key]
    entry[1] += 1
    return cast(T, entry[0])


def give_back(key: Hashable) -> bool:
    """One user less. True when that was the last: then the value is forgotten, and the caller closes it."""
    table = _SHARED.get(asyncio.get_running_loop(), {})
    entry = table.get(key)
    if entry is None:
        return False
    entry[1] -= 1
    if entry[1] > 0:
        return False
    del table[key]
    return True


class Cluster:
    """The client and the watches of one API server."""

    def __init__(self, access: Access, clock: Clock, *, qps: float = 0.0, burst: int = 0) -> None:
        self.client = ApiClient(access, clock, qps=qps, burst=burst)
        self.client.open()
        self._clock = clock
        self._watches: dict[tuple[Resource, Scope], Watch] = {}

    def listen(self, resource: Resource, scope: Scope, listener: Listener) -> None:
        """Tell this listener of a kind of object in a scope, from now on."""
        watch = self._watches.get((resource, scope))
        if watch is None:
            watch = self._watches[resource, scope] = Watch(self.client, resource, scope, self._clock)
        watch.join(listener)

    async def forget(self, listener: Listener) -> None:
        """Tell it nothing more; watches without listeners end."""
        for key, watch in list(self._watches.items()):
            await watch.leave(listener)
            if not watch.listeners:
                self._watches.pop(key, None)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()


class Claim:
    """One component's use of a cluster. identity: the same for those who ask as the same, at the same pace."""

    def __init__(self, config: ApiConfig, clock: Clock, environ: Mapping[str, str]) -> None:
        """Raises StartError."""
        found = access(config.auth_type, config.context, environ)
        qps, burst = config.kube_api_qps, config.kube_api_burst
        kubeconfig = environ.get("KUBECONFIG")
        self.identity = repr((config.auth_type, config.context, found.server, qps, burst, kubeconfig, clock))
        self._key = f"cluster {self.identity}"
        self.cluster = take(self._key, lambda: Cluster(found, clock, qps=qps, burst=burst))

    async def release(self) -> None:
        """The component stops; the connections are closed when it was the last."""
        if give_back(self._key):
            await self.cluster.close()
