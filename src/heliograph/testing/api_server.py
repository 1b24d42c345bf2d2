"""A small Kubernetes API server for tests: lists with pages, watches with bookmarks, and everything that can go wrong.

Objects are plain dicts in memory. `put` and `delete` make changes that running watches see; POST and PUT do so too,
with the server's check of resource versions (409). `compact` forgets history, so that older versions get 410; `drop`
closes the watches, if wanted in the middle of an object; `refuse` answers a kind with a status; `tokens` restricts who
may ask; while `answering` is not set, new requests get no answer. `requests` has what was asked, `groups` what
discovery tells. Field selectors are evaluated with = only, label selectors with = and bare keys.
"""

import asyncio
import json
import uuid
from typing import Any

from aiohttp import web

from heliograph.testing.wait import until

_PLURALS = {"Pod": "pods", "Namespace": "namespaces", "Node": "nodes", "ReplicaSet": "replicasets", "Job": "jobs"}
_PLURALS |= {"Lease": "leases", "Event": "events"}
_PLURALS |= {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
_PLURALS |= {"Service": "services", "EndpointSlice": "endpointslices", "ClusterResourceQuota": "clusterresourcequotas"}


GROUPS: dict[str, dict[str, list[str]]] = {
    "": {"v1": ["events", "namespaces", "nodes", "pods", "pods/status"]},
    "apps": {"v1": ["daemonsets", "deployments", "replicasets", "statefulsets"]},
    "autoscaling": {"v2": ["horizontalpodautoscalers"], "v1": ["horizontalpodautoscalers", "old"]},
    "batch": {"v1": ["jobs"]},
    "coordination.k8s.io": {"v1": ["leases"]},
    "events.k8s.io": {"v1": ["events"]},
}
"""What discovery tells: group -> version, the preferred one first -> plurals."""


class ApiServer:
    """Use `async with ApiServer() as server` and `server.kubeconfig()`."""

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.version = 100
        self.oldest = 0
        self.tokens: set[str] | None = None
        self.refusals: dict[str, tuple[int, str]] = {}
        self.largest_page = 1000
        self.answering = asyncio.Event()
        self.answering.set()
        self.groups = {group: dict(versions) for group, versions in GROUPS.items()}
        self.aggregated = True
        self.requests: list[web.Request] = []
        self.watching: dict[str, int] = {}
        self._objects: dict[tuple[str, str], dict[str, Any]] = {}  # (plural, uid)
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []
        self._changed = asyncio.Event()
        self._closing = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "ApiServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, at the port it had before if there was one."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        application.router.add_post("/{path:.*}", self._write)
        application.router.add_put("/{path:.*}", self._write)
        self._closing = ""
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Close everything; the objects stay for another `start`."""
        await self.drop()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def kubeconfig(self, token: str = "") -> str:
        """The text of a kubeconfig for this server."""
        cluster = {"name": "c", "cluster": {"server": self.url}}
        user = {"name": "u", "user": {"token": token} if token else {}}
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        return json.dumps({"current-context": "x", "clusters": [cluster], "users": [user], "contexts": [context]})

    def get(self, plural: str, name: str) -> dict[str, Any] | None:
        """An object by its name."""
        for (kind, _), found in self._objects.items():
            if kind == plural and found["metadata"].get("name") == name:
                return found
        return None

    def put(self, found: dict[str, Any]) -> None:
        """Add or change an object: {"kind": "Pod", "metadata": {"name", "uid", ...}, ...}."""
        plural = _PLURALS[found["kind"]]
        self.version += 1
        found = json.loads(json.dumps(found))
        found["metadata"]["resourceVersion"] = str(self.version)
        key = plural, found["metadata"]["uid"]
        kind = "MODIFIED" if key in self._objects else "ADDED"
        self._objects[key] = found
        self._tell(kind, plural, found)

    def delete(self, kind: str, uid: str) -> None:
        """Remove an object."""
        plural = _PLURALS[kind]
        self.version += 1
        found = self._objects.pop((plural, uid))
        found["metadata"]["resourceVersion"] = str(self.version)
        self._tell("DELETED", plural, found)

    def bookmark(self, plural: str) -> None:
        """Tell watches of a kind that nothing happened until now."""
        self.version += 1
        self._tell("BOOKMARK", plural, {"kind": "x", "metadata": {"resourceVersion": str(self.version)}})

    def compact(self) -> None:
        """Forget what happened until now: a watch from before, unless it runs, gets 410."""
        self.oldest = self.version
        self._history.clear()

    def refuse(self, plural: str, status: int, message: str = "refused") -> None:
        """Answer every request for a kind with this status; 0: no longer."""
        if status:
            self.refusals[plural] = status, message
        else:
            self.refusals.pop(plural, None)

    async def drop(self, *, cut: bool = False) -> None:
        """Close the connections of all watches; cut: after the first half of an event."""
        self._closing = "cut" if cut else "drop"
        self._changed.set()
        await until(lambda: not any(self.watching.values()), "the end of all watches")
        self._closing = ""
        self._changed = asyncio.Event()

    def asked(self, plural: str, *, watch: bool) -> int:
        """How many lists (pages) or watches of a kind were asked for."""
        return sum(
            request.path.endswith(f"/{plural}") and ("watch" in request.query) is watch for request in self.requests
        )

    def _tell(self, kind: str, plural: str, found: dict[str, Any]) -> None:
        self._history.append((self.version, kind, plural, json.loads(json.dumps(found))))
        self._changed.set()
        self._changed = asyncio.Event()

    async def _refused(self, request: web.Request) -> web.StreamResponse | None:
        self.requests.append(request)
        await self.answering.wait()
        if self.tokens is not None and request.headers.get("Authorization", "")[7:] not in self.tokens:
            return _status(401, "Unauthorized")
        parts = request.path.split("/")
        for plural in (parts[-1], parts[-2]):
            if plural in self.refusals and (plural == parts[-1] or plural in _PLURALS.values()):
                return _status(*self.refusals[plural])
        return None

    async def _write(self, request: web.Request) -> web.StreamResponse:
        refused = await self._refused(request)
        if refused is not None:
            return refused
        found = json.loads(await request.read())
        metadata = found["metadata"]
        known = self.get(_PLURALS[found["kind"]], metadata["name"])
        if request.method == "POST":
            if known is not None:
                return _status(409, f'"{metadata["name"]}" already exists')
            metadata.setdefault("uid", str(uuid.uuid4()))
        elif known is None:
            return _status(404, f'"{metadata["name"]}" not found')
        elif metadata.get("resourceVersion", "") not in ("", known["metadata"]["resourceVersion"]):
            return _status(409, "the object has been modified; please apply your changes to the latest version")
        self.put(found)
        written = self.get(_PLURALS[found["kind"]], metadata["name"])
        return web.json_response(written, status=201 if request.method == "POST" else 200)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        refused = await self._refused(request)
        if refused is not None:
            return refused
        parts = request.path.strip("/").split("/")
        plural = parts[-1]
        if len(parts) <= 3 and parts in (["api"], ["apis"], ["api", "v1"], ["apis", *parts[1:]]):
            told = self._discovery(parts, request)
            if told is not None:
                return told
        if parts[-2] in _PLURALS.values() and plural not in _PLURALS.values():
            single = self.get(parts[-2], plural)
            return _status(404, f'"{plural}" not found') if single is None else web.json_response(single)
        if "watch" in request.query:
            return await self._watch(request, plural)
        if request.query.get("continue"):
            version, start = (int(part) for part in request.query["continue"].split("-"))
            if version < self.oldest:
                return _status(410, "The provided continue parameter is too old")
        else:
            version, start = self.version, 0
        found = [item for (kind, _), item in self._objects.items() if kind == plural and _selected(request, item)]
        size = min(int(request.query.get("limit", "1000000")), self.largest_page)
        size = size if "limit" in request.query else len(found) + 1
        metadata = {"resourceVersion": str(version)}
        if start + size < len(found):
            metadata["continue"] = f"{version}-{start + size}"
        return web.json_response({"kind": "List", "metadata": metadata, "items": found[start : start + size]})

    def _discovery(self, parts: list[str], request: web.Request) -> web.Response | None:
        core = parts[0] == "api"
        groups = {group: versions for group, versions in self.groups.items() if (group == "") is core}
        if len(parts) == 1 and self.aggregated and "apidiscovery.k8s.io" in request.headers["Accept"]:
            items = [
                {
                    "metadata": {"name": group},
                    "versions": [
                        {"version": version, "resources": [{"resource": name, "scope": "x"} for name in names]}
                        for version, names in versions.items()
                    ],
                }
                for group, versions in groups.items()
            ]
            return web.json_response({"kind": "APIGroupDiscoveryList", "items": items})
        if parts == ["api"]:
            return web.json_response({"kind": "APIVersions", "versions": list(groups.get("", {}))})
        if parts == ["apis"]:
            listed: list[dict[str, Any]] = [
                {
                    "name": group,
                    "versions": [{"groupVersion": f"{group}/{version}", "version": version} for version in versions],
                    "preferredVersion": {"version": next(iter(versions))},
                }
                for group, versions in groups.items()
            ]
            return web.json_response({"kind": "APIGroupList", "groups": listed})
        names = groups.get("" if core else parts[1], {}).get(parts[-1])
        if names is None:
            return None
        listed = [{"name": name, "kind": "X", "namespaced": True} for name in names]
        return web.json_response({"kind": "APIResourceList", "resources": listed})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        if version < self.oldest:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(_line("ERROR", status))
            return response
        self.watching[plural] = self.watching.get(plural, 0) + 1
        try:
            while True:
                changed = self._changed
                for at, kind, of, found in list(self._history):
                    if of == plural and at > version and (kind == "BOOKMARK" or _selected(request, found)):
                        await response.write(_line(kind, found))
                        version = at
                if self._closing == "cut":
                    await response.write(_line("MODIFIED", {"metadata": {"uid": "cut", "name": "cut" * 50}})[:60])
                if self._closing:
                    assert request.transport is not None
                    request.transport.abort() if self._closing == "cut" else None
                    return response
                await changed.wait()
        finally:
            self.watching[plural] -= 1


def _selected(request: web.Request, found: dict[str, Any]) -> bool:
    parts = request.path.split("/")
    if "namespaces" in parts[:-1] and found["metadata"].get("namespace") != parts[parts.index("namespaces") + 1]:
        return False
    for term in filter(None, request.query.get("fieldSelector", "").split(",")):
        path, _, wanted = term.partition("=")
        value: Any = found
        for name in path.split("."):
            value = value.get(name, {})
        if value != wanted.lstrip("="):
            return False
    labels = found["metadata"].get("labels") or {}
    for term in filter(None, request.query.get("labelSelector", "").split(",")):
        name, equals, wanted = term.partition("=")
        if name not in labels or (equals and labels[name] != wanted.lstrip("=")):
            return False
    return True


def _line(kind: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode() + b"\n"


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "message": message}, status=code)
