"""One reading of an object, and the words that all readings are made with."""

from collections.abc import Iterable
from dataclasses import dataclass

from heliograph.kubernetes.objects import Metadata
from heliograph.kubernetes.quantity import thousandths, whole
from heliograph.otlp.metrics_encode import Point

Values = tuple[tuple[str, tuple[Point, ...]], ...]
"""Metric and its points."""
Pairs = tuple[tuple[str, str | bool], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """entity: the type of what it is about. custom: made of node_conditions_to_report and allocatable_types_to_report;
    such points have no start time."""

    entity: str
    attributes: Pairs
    values: Values
    custom: bool = False


def amount(quantity: str | int | float | None, *, cores: bool = False) -> float | None:
    """A quantity as a whole number, or as cores with three digits; None when there is none that can be read."""
    if quantity is None:
        return None
    try:
        return thousandths(str(quantity)) / 1000 if cores else whole(str(quantity))
    except ValueError:
        return None


def one(name: str, value: float) -> tuple[str, tuple[Point, ...]]:
    """A metric with a single point without attributes."""
    return name, (((), value),)


def choice(attribute: str, choices: Iterable[str], present: str) -> tuple[Point, ...]:
    """1 for one choice, 0 for the others."""
    return tuple((((attribute, choice),), int(choice == present)) for choice in choices)


def identity(kind: str, meta: Metadata) -> Pairs:
    """What identifies an object in a namespace. kind: the prefix of its attributes, as k8s.pod."""
    return (f"{kind}.uid", meta.uid), (f"{kind}.name", meta.name), ("k8s.namespace.name", meta.namespace)
