"""Configuration of k8s_attributes.

Source: opentelemetry-collector-contrib, processor/k8sattributesprocessor (0.156) and internal/k8sconfig. `wait_for_pod`
is this program's own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from heliograph.component.config import ByteSize, Decoder, Duration, Node, key
from heliograph.component.regex import RegexError, compile_text
from heliograph.kubernetes.config import ApiConfig

METADATA = (
    *("container.id", "container.image.name", "container.image.repo_digests", "container.image.tag"),
    *("container.image.tags", "k8s.cluster.uid", "k8s.container.name", "k8s.cronjob.name", "k8s.cronjob.uid"),
    *("k8s.daemonset.name", "k8s.daemonset.uid", "k8s.deployment.name", "k8s.deployment.uid", "k8s.job.name"),
    *("k8s.job.uid", "k8s.namespace.name", "k8s.node.name", "k8s.node.uid", "k8s.pod.hostname", "k8s.pod.ip"),
    *("k8s.pod.name", "k8s.pod.start_time", "k8s.pod.uid", "k8s.replicaset.name", "k8s.replicaset.uid"),
    *("k8s.statefulset.name", "k8s.statefulset.uid", "service.instance.id", "service.name", "service.namespace"),
    "service.version",
)
DEFAULT_METADATA = (
    *("container.image.name", "container.image.tag", "k8s.deployment.name", "k8s.namespace.name", "k8s.node.name"),
    *("k8s.pod.name", "k8s.pod.start_time", "k8s.pod.uid"),
)
MOST_SOURCES = 4
Origin = Literal["pod", "namespace", "node", "deployment", "statefulset", "daemonset", "job"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldConfig:
    """Labels or annotations that become attributes."""

    tag_name: str = key("", "Name of the attribute; with key_regex it may refer to groups ($$1).")
    exact: str = key("", "Name of the label or annotation.", name="key")
    key_regex: str = key("", "Regular expression that the whole name must match, instead of key.")
    origin: Origin = key("pod", "The object that has it.", name="from")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.exact and self.key_regex:
            yield "key_regex", "give either key or key_regex, not both"
        if self.key_regex:
            try:
                compile_text(f"^(?:{self.key_regex})$")
            except RegexError as error:
                yield "key_regex", str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig:
    """What becomes attributes."""

    metadata: list[str] = key(lambda: list(DEFAULT_METADATA), "Names of the attributes to set.")
    labels: list[FieldConfig] = key(list, "Labels that become attributes.")
    annotations: list[FieldConfig] = key(list, "Annotations that become attributes.")
    otel_annotations: bool = key(False, "Pod annotations resource.opentelemetry.io/NAME become attributes NAME.")
    deployment_name_from_replicaset: bool = key(
        True, "Take the deployment's name from the replica set's, so that replica sets need not be watched."
    )

    def check(self) -> Iterator[tuple[str, str]]:
        for name in self.metadata:
            if name not in METADATA:
                yield "metadata", f"{name!r} is not a supported metadata field; one of: {', '.join(METADATA)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFilter:
    """Pods by a label."""

    name: str = key("", "Name of the label.", name="key")
    value: str = key("", "Its value.")
    op: Literal["", "equals", "not-equals", "exists", "does-not-exist"] = key("", "How to compare; empty: equals.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFilter:
    """Pods by a field."""

    name: str = key("", "Name of the field, such as status.phase.", name="key")
    value: str = key("", "Its value.")
    op: Literal["", "equals", "not-equals"] = key("", "How to compare; empty: equals.")


class Namespaces(tuple[str, ...]):
    """One name or a list of names."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Namespaces | None":
        """Read either form."""
        if isinstance(node.value, list):
            names: Any = decoder.decode(list[str], node)
        else:
            name: Any = decoder.decode(str, node) if node.value is not None else ""
            names = None if name is None else [name]
        return None if names is None else cls(name for name in names if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterConfig:
    """Which pods to know."""

    node: str = key("", "Pods of this node alone.")
    node_from_env_var: str = key("", "The same, with the node's name in this environment variable.")
    namespace: Namespaces = key(Namespaces, "Pods of this namespace alone, or of a list of namespaces.")
    labels: list[LabelFilter] = key(list, "Pods with these labels alone.")
    fields: list[FieldFilter] = key(list, "Pods with these fields alone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """One part of what names a pod."""

    origin: Literal["connection", "resource_attribute"] = key(..., "Where the value is.", name="from")
    name: str = key("", "Name of the attribute, with resource_attribute.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.origin == "resource_attribute" and not self.name:
            yield "name", "is needed with resource_attribute"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationConfig:
    """A rule that names the pod of a resource; all of its sources must be there."""

    sources: list[SourceConfig] = key(list, "What names the pod, together.")

    def check(self) -> Iterator[tuple[str, str]]:
        if len(self.sources) > MOST_SOURCES:
            yield "sources", f"has {len(self.sources)} sources, at most {MOST_SOURCES} are possible"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedPod:
    """Pods to leave alone."""

    name: str = key("", "Regular expression that matches somewhere in the pod's name.")

    def check(self) -> Iterator[tuple[str, str]]:
        try:
            compile_text(self.name)
        except RegexError as error:
            yield "name", str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludeConfig:
    """Pods whose telemetry gets no attributes."""

    pods: list[ExcludedPod] = key(
        lambda: [ExcludedPod(name="jaeger-agent"), ExcludedPod(name="jaeger-collector")], "Pods by name."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitForPod:
    """Telemetry of a pod that is not known yet waits for it."""

    timeout: Duration = key(Duration(0.0), "Longest time that it waits; 0: it does not.")
    max_bytes: ByteSize = key(ByteSize(16 * 1024 * 1024), "Most bytes that wait; what comes beyond goes on at once.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.timeout < 0:
            yield "timeout", "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class K8sAttributesConfig(ApiConfig):
    """Adds to each resource what the Kubernetes API knows of the pod it came from."""

    passthrough: bool = key(False, "Only set k8s.pod.ip to the peer's address, and do not ask the API.")
    extract: ExtractConfig = key(ExtractConfig, "What becomes attributes.")
    filter: FilterConfig = key(FilterConfig, "Which pods to know.")
    pod_association: list[AssociationConfig] = key(
        list, "Rules that name the pod, in order. Without: k8s.pod.ip, ip, the peer's address, a host.name that is one."
    )
    exclude: ExcludeConfig = key(ExcludeConfig, "Pods whose telemetry gets no attributes.")
    wait_for_metadata: bool = key(False, "Start only when all pods are known.")
    wait_for_metadata_timeout: Duration = key(Duration(10.0), "Longest time for that; then the start fails.")
    watch_sync_period: Duration = key(
        Duration(300.0), "Accepted; each change is applied when it comes, so there is nothing to repeat."
    )
    pod_delete_grace_period: Duration = key(
        Duration(120.0), "Time that a deleted pod stays known, for telemetry that comes late. Not by its address."
    )
    wait_for_pod: WaitForPod = key(
        WaitForPod,
        "Telemetry of a pod that is not known yet waits; a request over OTLP for 5 s at most. Not in upstream.",
    )
    UNSUPPORTED: ClassVar[Mapping[str, str]] = {}

    def check(self) -> Iterator[tuple[str, str]]:
        yield from ApiConfig.check(self)
        for name in ("watch_sync_period", "pod_delete_grace_period"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
