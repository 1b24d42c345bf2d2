"""The Lease: what one try to get or to renew it does, as client-go's leaderelection has it.

- Who leads is whoever's identity is in the Lease. A Lease is written with the resource version it was read with, so
  that of two who try at once the API server refuses one (409).
- A holder counts as alive until the Lease has not changed for its own duration, measured by this machine's monotonic
  clock since it was first seen so: the times in the Lease, written by other machines' clocks, are for people.
- An unknown field of the Lease (labels, annotations, strategy) is kept as it is.
Source: k8s.io/client-go/tools/leaderelection; Kubernetes API reference, coordination.k8s.io/v1 Lease.
"""

import math
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from heliograph.component.clock import Clock
from heliograph.kubernetes.client import ApiClient
from heliograph.kubernetes.errors import ApiError, BadAnswer

_JSON = "application/json"
_NOT_FOUND = 404
_CONFLICT = 409
_FORBIDDEN = 403


class LeaseLock:
    """One process's view of a Lease. duration: seconds, whole ones are written."""

    def __init__(
        self, client: ApiClient, clock: Clock, *, namespace: str, name: str, identity: str, duration: float
    ) -> None:
        self._client = client
        self._clock = clock
        self._namespace, self._name = namespace, name
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._path = f"{self._collection}/{quote(name, safe='')}"
        self._identity = identity
        self._duration = int(duration)
        self._lease: dict[str, Any] = {}
        self._seen: dict[str, Any] = {}
        self._seen_at = -math.inf

    @property
    def holder(self) -> str:
        """Whom the Lease names; "" for nobody."""
        return str(self._seen.get("holderIdentity") or "")

    @property
    def mine(self) -> bool:
        """Whether the Lease, as last seen, names this process."""
        return self.holder == self._identity

    async def attempt(self) -> bool:
        """Get or renew the Lease. False when another one holds it. Raises ApiError when that could not be found out, or
        the Lease not be written."""
        if self.mine and self._alive():
            try:
                await self._write(self._spec(again=True))
                return True
            except ApiError as error:
                if error.status not in (_CONFLICT, _NOT_FOUND):
                    raise
        try:
            self._read(await self._client.body(self._path, {}, _JSON))
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            self._seen = {}
            await self._create()
            return True
        if self.holder and not self.mine and self._alive():
            return False
        await self._write(self._spec(again=self.mine))
        return True

    async def release(self) -> None:
        """Let go of the Lease, so that another one need not wait for its end. Raises ApiError."""
        if not self.mine:
            return
        now = self._now()
        spec = {**self._seen, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
        await self._write(spec)

    def explained(self, error: ApiError) -> str:
        """The error, and what to do about it when it is a matter of rights."""
        if error.status != _FORBIDDEN:
            return str(error)
        return (
            f"{error}; add to a Role in the namespace {self._namespace!r}: "
            'apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["get", "create", "update"]'
        )

    def _alive(self) -> bool:
        try:
            seconds = int(self._seen.get("leaseDurationSeconds") or 0)
        except (TypeError, ValueError):
            seconds = self._duration
        return self._clock.monotonic() < self._seen_at + seconds

    def _spec(self, again: bool) -> dict[str, Any]:
        now = self._now()
        before = self._seen.get("leaseTransitions")
        transitions = before if isinstance(before, int) else 0
        acquired = (self._seen.get("acquireTime") or now) if again else now
        return {
            **self._seen,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": acquired,
            "renewTime": now,
            "leaseTransitions": transitions if again else transitions + 1,
        }

    async def _create(self) -> None:
        now = self._now()
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }
        self._read(await self._client.send("POST", self._collection, msgspec.json.encode(lease), _JSON))

    async def _write(self, spec: dict[str, Any]) -> None:
        lease = {**self._lease, "spec": spec}
        self._read(await self._client.send("PUT", self._path, msgspec.json.encode(lease), _JSON))

    def _read(self, body: bytes) -> None:
        try:
            lease = msgspec.json.decode(body)
            spec = lease.get("spec") or {}
            if not isinstance(spec, dict):
                raise TypeError("spec is no object")
        except (msgspec.MsgspecError, AttributeError, TypeError, RecursionError) as error:
            raise BadAnswer(f"the Lease {self._namespace}/{self._name} cannot be read: {error}") from None
        if spec != self._seen or self._seen_at == -math.inf:
            self._seen_at = self._clock.monotonic()
        self._lease, self._seen = lease, spec

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
