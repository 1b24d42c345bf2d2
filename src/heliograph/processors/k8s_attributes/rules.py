"""Which labels and annotations become which attributes, and what else is to be extracted, decided once.

Names without tag_name are upstream's: plural (`k8s.pod.labels.x`) for pods, namespaces and nodes, singular
(`k8s.deployment.label.x`) for workloads. Empty values set nothing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from heliograph.component.regex import compile_text, expand
from heliograph.processors.k8s_attributes.config import ExtractConfig, FieldConfig

_WORKLOADS = ("deployment", "statefulset", "daemonset", "job")
_OTEL = FieldConfig(key_regex=r"resource\.opentelemetry\.io/(.*)", tag_name="$1")


@dataclass(frozen=True, slots=True)
class Rule:
    """One label or annotation rule. prefix: what the default name of an attribute begins with."""

    tag: str
    key: str
    pattern: "re.Pattern[str] | None"
    prefix: str

    def add(self, fields: Mapping[str, str], attributes: dict[str, str]) -> None:
        """Set the attributes that these labels or annotations give."""
        pattern = self.pattern
        if pattern is None:
            value = fields.get(self.key)
            if value:
                attributes[self.tag or self.prefix + self.key] = value
            return
        for name, value in fields.items():
            if value and (found := pattern.match(name)):
                tag = expand(self.tag, found) if pattern.groups and self.tag else self.prefix + name
                if tag:
                    attributes[tag] = value


class Rules:
    """The rules of one configuration. wanted: names of `extract.metadata`."""

    def __init__(self, config: ExtractConfig) -> None:
        self.wanted = frozenset(config.metadata)
        self._guess_deployment = config.deployment_name_from_replicaset
        annotations = [*config.annotations, *([_OTEL] if config.otel_annotations else [])]
        self._labels = _by_origin(config.labels, "label")
        self._annotations = _by_origin(annotations, "annotation")
        wanted = self.wanted
        self.containers = bool(
            wanted & {"k8s.container.name", "service.version", "service.instance.id"}
            or any(name.startswith("container.") for name in wanted)
        )

    def of(self, origin: str) -> bool:
        """Whether any rule takes labels or annotations of this kind of object."""
        return origin in self._labels or origin in self._annotations

    def labels(self, origin: str, fields: Mapping[str, str] | None, attributes: dict[str, str]) -> None:
        """Add what the labels of an object of this kind give."""
        for rule in self._labels.get(origin, ()) if fields else ():
            rule.add(fields or {}, attributes)

    def annotations(self, origin: str, fields: Mapping[str, str] | None, attributes: dict[str, str]) -> None:
        """Add what the annotations of an object of this kind give."""
        for rule in self._annotations.get(origin, ()) if fields else ():
            rule.add(fields or {}, attributes)

    @property
    def replica_sets(self) -> bool:
        """Whether replica sets must be known."""
        by_name = "k8s.deployment.name" in self.wanted and not self._guess_deployment
        return by_name or "k8s.deployment.uid" in self.wanted or self.of("deployment")

    @property
    def jobs(self) -> bool:
        """Whether jobs must be known."""
        return "k8s.cronjob.uid" in self.wanted or self.of("job")


def _by_origin(fields: Iterable[FieldConfig], what: str) -> dict[str, list[Rule]]:
    rules: dict[str, list[Rule]] = {}
    for field in fields:
        plural = "" if field.origin in _WORKLOADS else "s"
        pattern = compile_text(f"^(?:{field.key_regex})$") if field.key_regex else None
        prefix = f"k8s.{field.origin}.{what}{plural}."
        rules.setdefault(field.origin, []).append(Rule(field.tag_name, field.exact, pattern, prefix))
    return rules
