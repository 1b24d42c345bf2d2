"""Configuration of k8s_objects, with upstream's rules of what goes together.

Source: opentelemetry-collector-contrib, receiver/k8sobjectsreceiver config (0.156) and config.schema.yaml, and
internal/k8sconfig.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heliograph.component.config import Duration, key
from heliograph.component.ids import ComponentId
from heliograph.component.regex import RegexError, compile_text
from heliograph.kubernetes.config import ApiConfig

WatchType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacePattern:
    """Namespaces by name. One of the two keys is given."""

    strict: str = key("", "This very name.")
    regexp: str = key("", "Names in which this regular expression is found.")

    def check(self) -> Iterator[tuple[str, str]]:
        if bool(self.strict) == bool(self.regexp):
            yield "strict", "give either strict or regexp"
        try:
            compile_text(self.regexp)
        except RegexError as error:
            yield "regexp", str(error)

    def matches(self, namespace: str) -> bool:
        """Whether the namespace is one of these."""
        if self.strict:
            return namespace == self.strict
        return compile_text(self.regexp).search(namespace) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectConfig:
    """A kind of object to collect."""

    name: str = key(..., "Plural name of the kind, as the API has it: pods, events, ...")
    group: str = key(
        "", "Group of the API, when several have a kind of this name; empty: the first, the core's before."
    )
    mode: Literal["pull", "watch", ""] = key("pull", "pull: all objects every interval; watch: each change.")
    interval: Duration = key(Duration(0), "pull: time between two rounds; 0: the receiver's interval.")
    initial_delay: Duration = key(Duration(0), "pull: time before the first round.")
    label_selector: str = key("", "Only objects with these labels, in the API's own form.")
    field_selector: str = key("", "Only objects with these fields, in the API's own form.")
    namespaces: list[str] = key(list, "Namespaces to collect from; empty: all.")
    exclude_namespaces: list[NamespacePattern] = key(list, "Namespaces whose objects are left out.")
    exclude_watch_type: list[WatchType] = key(list, "watch: changes that are left out: ADDED, MODIFIED, DELETED.")
    resource_version: str = key(
        "", "watch: the version to begin after; empty: now. pull: the version of which the objects are given."
    )
    UNSUPPORTED = {"persist_resource_version": "the receiver's `storage` keeps the version of everything it watches"}

    @property
    def watch(self) -> bool:
        """Whether changes are followed."""
        return self.mode == "watch"

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.name:
            yield "name", "must not be empty"
        if self.interval < 0:
            yield "interval", "must not be negative"
        if not self.watch and self.exclude_watch_type:
            yield "exclude_watch_type", "can only be used with mode: watch"
        if self.watch and self.initial_delay:
            yield "initial_delay", "can only be used with mode: pull"
        if self.namespaces and self.exclude_namespaces:
            yield "exclude_namespaces", "cannot be used together with namespaces"
        if len(set(self.namespaces)) < len(self.namespaces):
            yield "namespaces", "names a namespace twice"


@dataclass(frozen=True, slots=True, kw_only=True)
class K8sObjectsConfig(ApiConfig):
    """Objects of a cluster as log records."""

    objects: list[ObjectConfig] = key(list, "The kinds of object to collect.")
    interval: Duration = key(Duration(0), "Time between two rounds of the objects to pull; 0: one hour.")
    error_mode: Literal["propagate", "ignore", "silent"] = key(
        "propagate", "A kind that the API does not have is an error (propagate), is logged (ignore) or not (silent)."
    )
    include_initial_state: bool = key(False, "watch: tell what exists at the beginning, as ADDED.")
    k8s_leader_elector: ComponentId | None = key(
        None, "Extension that elects the replica that collects; without it, each one does."
    )
    storage: ComponentId | None = key(
        None, "Storage extension that keeps how far changes were delivered, for the next start to go on from there."
    )

    def period(self, one: ObjectConfig) -> float:
        """Seconds between two rounds of an object to pull."""
        return float(one.interval) or float(self.interval) or _HOUR

    def check(self) -> Iterator[tuple[str, str]]:
        yield from ApiConfig.check(self)
        if self.interval < 0:
            yield "interval", "must not be negative"
        for number, one in enumerate(self.objects):
            if not one.watch and one.initial_delay > 0 and one.initial_delay >= self.period(one):
                yield f"objects.{number}.initial_delay", "must be less than interval"
            if self.storage is not None and one.resource_version:
                yield f"objects.{number}.resource_version", "cannot be used together with storage"
            if not one.watch and self.include_initial_state:
                yield "include_initial_state", f"can only be used with mode: watch, and {one.name!r} is pulled"
