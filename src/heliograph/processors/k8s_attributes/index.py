"""What this process knows of pods and what belongs to them, kept up to date by watches and shared by all processors
with the same configuration.

A deleted pod stays findable for the grace period, since telemetry comes late, but not by an address: that may already
be another pod's. Objects in the tables are replaced, never changed, so that whoever remembers one can tell by `is`
whether it still holds.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from heliograph.component.clock import Clock
from heliograph.component.regex import compile_text
from heliograph.kubernetes import objects
from heliograph.kubernetes.cluster import Cluster
from heliograph.kubernetes.objects import Object, Owner, Resource, Scope
from heliograph.processors.k8s_attributes.association import Associations, Identifier
from heliograph.processors.k8s_attributes.config import K8sAttributesConfig
from heliograph.processors.k8s_attributes.pod import Pod, pod_of
from heliograph.processors.k8s_attributes.rules import Rules

_LOG = logging.getLogger("heliograph.processor.k8s_attributes")
Attributes = dict[str, str]
Added = Callable[[Iterable[Identifier]], None]


class Index:
    """A Listener of all watches that a configuration needs.

    pods: by identifier. namespaces, nodes: by name -> (uid, attributes). workloads: by kind and uid -> attributes.
    parents: uid of a replica set or job -> (name, uid) of its deployment or cron job, ("", "") when it has none.
    """

    def __init__(self, config: K8sAttributesConfig, node: str, clock: Clock) -> None:
        self.rules = Rules(config.extract)
        self.associations = Associations(config.pod_association)
        self.pods: dict[Identifier, Pod] = {}
        self.by_uid: dict[str, Pod] = {}
        self.namespaces: dict[str, tuple[str, Attributes]] = {}
        self.nodes: dict[str, tuple[str, Attributes]] = {}
        self.workloads: dict[tuple[str, str], Attributes] = {}
        self.parents: dict[str, tuple[str, str]] = {}
        self.missing: set[tuple[Resource, Scope]] = set()
        self.problems: dict[tuple[Resource, Scope], str] = {}
        self.counts = {"added": 0, "updated": 0, "deleted": 0}
        self.added: list[Added] = []
        self.changed: list[Callable[[], None]] = []
        self._excluded = [compile_text(pod.name) for pod in config.exclude.pods]
        self._grace = float(config.pod_delete_grace_period)
        self._deleted: deque[tuple[float, str]] = deque()
        self._clock = clock
        self._listening = False
        self._scopes = list(_scopes(config, node, self.rules))

    def listen(self, cluster: Cluster) -> None:
        """Begin to watch; only once."""
        if self._listening:
            return
        self._listening = True
        self.missing = set(self._scopes)
        for resource, scope in self._scopes:
            cluster.listen(resource, scope, self)

    @property
    def ready(self) -> bool:
        """Whether every list has been complete once."""
        return not self.missing

    @property
    def problem(self) -> str:
        """What does not work now, "" when all does."""
        return "; ".join(self.problems.values())

    def applied(self, resource: Resource, found: Object) -> None:
        """Listener."""
        if resource is objects.PODS:
            assert isinstance(found, objects.Pod)
            self._pod(found)
        else:
            self._other(resource, found)

    def removed(self, resource: Resource, uid: str, name: str) -> None:
        """Listener."""
        if resource is objects.PODS:
            self._pod_removed(uid)
        elif resource in (objects.NAMESPACES, objects.NODES):
            table = self.namespaces if resource is objects.NAMESPACES else self.nodes
            if name in table and table[name][0] == uid:
                del table[name]
        else:
            self.parents.pop(uid, None)
            self.workloads.pop((_KINDS[resource], uid), None)

    def synced(self, resource: Resource, scope: Scope) -> None:
        """Listener."""
        self.missing.discard((resource, scope))
        self._tell()

    def troubled(self, resource: Resource, scope: Scope, problem: str) -> None:
        """Listener."""
        if problem:
            self.problems[resource, scope] = f"{resource.plural}: {problem}"
        else:
            self.problems.pop((resource, scope), None)
        self._tell()

    def expire(self) -> None:
        """Forget deleted pods whose grace period is over."""
        now = self._clock.monotonic()
        while self._deleted and self._deleted[0][0] <= now:
            _, uid = self._deleted.popleft()
            pod = self.by_uid.get(uid)
            if pod is not None and pod.deleted:
                del self.by_uid[uid]
                self._forget(pod, self.associations.of(pod))

    def _tell(self) -> None:
        for told in self.changed:
            told()

    def _pod(self, found: objects.Pod) -> None:
        before = self.by_uid.get(found.metadata.uid)
        excluded = any(pattern.search(found.metadata.name) for pattern in self._excluded)
        pod = pod_of(found, self.rules, excluded, before)
        if pod == before:
            return
        self.counts["added" if before is None else "updated"] += 1
        self.by_uid[pod.uid] = pod
        identifiers = list(self.associations.of(pod))
        if before is not None:
            self._forget(before, set(self.associations.of(before)).difference(identifiers))
        for identifier in identifiers:
            holder = self.pods.get(identifier)
            if holder is None or holder.uid == pod.uid or holder.deleted or not pod.start or pod.start >= holder.start:
                self.pods[identifier] = pod
        for told in self.added:
            told(identifiers)

    def _pod_removed(self, uid: str) -> None:
        pod = self.by_uid.get(uid)
        if pod is None or pod.deleted:
            return
        self.counts["deleted"] += 1
        pod.deleted = True
        self._forget(pod, filter(Associations.reusable, self.associations.of(pod)))
        self._deleted.append((self._clock.monotonic() + self._grace, uid))
        self.expire()

    def _forget(self, pod: Pod, identifiers: Iterable[Identifier]) -> None:
        for identifier in identifiers:
            holder = self.pods.get(identifier)
            if holder is not None and holder.uid == pod.uid:
                del self.pods[identifier]

    def _other(self, resource: Resource, found: Object) -> None:
        metadata, kind = found.metadata, _KINDS[resource]
        attributes: Attributes = {}
        self.rules.labels(kind, metadata.labels, attributes)
        self.rules.annotations(kind, metadata.annotations, attributes)
        entry = (metadata.uid, attributes)
        if resource is objects.NAMESPACES:
            if self.namespaces.get(metadata.name) != entry:
                self.namespaces[metadata.name] = entry
        elif resource is objects.NODES:
            if self.nodes.get(metadata.name) != entry:
                self.nodes[metadata.name] = entry
        else:
            if kind in ("replicaset", "job"):
                owners = [owner for owner in metadata.owner_references or () if owner.controller]
                parent = next((o for o in owners if o.kind in ("Deployment", "CronJob")), Owner())
                if self.parents.get(metadata.uid) != (parent.name, parent.uid):
                    self.parents[metadata.uid] = (parent.name, parent.uid)
            if attributes != self.workloads.get((kind, metadata.uid)):
                self.workloads[kind, metadata.uid] = attributes


_KINDS = {
    objects.NAMESPACES: "namespace",
    objects.NODES: "node",
    objects.REPLICA_SETS: "replicaset",
    objects.DEPLOYMENTS: "deployment",
    objects.STATEFUL_SETS: "statefulset",
    objects.DAEMON_SETS: "daemonset",
    objects.JOBS: "job",
}


def _scopes(config: K8sAttributesConfig, node: str, rules: Rules) -> Iterable[tuple[Resource, Scope]]:
    """What must be watched. Owners come first, as they are wanted when the pods come."""
    wanted = rules.wanted
    namespaces: tuple[Any, ...] = tuple(config.filter.namespace) or ("",)
    kinds = [(objects.REPLICA_SETS, rules.replica_sets), (objects.DEPLOYMENTS, rules.of("deployment"))]
    kinds += [(objects.STATEFUL_SETS, rules.of("statefulset")), (objects.DAEMON_SETS, rules.of("daemonset"))]
    kinds += [(objects.JOBS, rules.jobs)]
    if rules.of("namespace"):
        yield objects.NAMESPACES, Scope()
    elif "k8s.cluster.uid" in wanted:
        yield objects.NAMESPACES, Scope(fields="metadata.name=kube-system")
    if rules.of("node") or "k8s.node.uid" in wanted:
        yield objects.NODES, Scope(fields=f"metadata.name={node}" if node else "")
    for resource, needed in kinds:
        if needed:
            yield from ((resource, Scope(name)) for name in namespaces)
    fields = [f"{item.name}{'!=' if item.op == 'not-equals' else '='}{item.value}" for item in config.filter.fields]
    if node:
        fields.append(f"spec.nodeName={node}")
    labels = ",".join(_label_selector(item.name, item.value, item.op) for item in config.filter.labels)
    for name in namespaces:
        yield objects.PODS, Scope(name, ",".join(fields), labels)


def _label_selector(name: str, value: str, op: str) -> str:
    match op:
        case "not-equals":
            return f"{name}!={value}"
        case "exists":
            return name
        case "does-not-exist":
            return f"!{name}"
    return f"{name}={value}"
