"""Keys of the `elasticapm` connector.

Names and defaults are those of Elastic's connector/elasticapmconnector/config.go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from heliograph.component.config import Decoder, Duration, Node, key

_NO_OTTL = "is an OTTL expression, which is not evaluated here: list the keys one by one"


class ResourceKey(str):
    """The key of a resource attribute, written as text or as {key: ...}."""

    __slots__ = ()

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "ResourceKey | None":
        """Read either form; `keys_expression` is refused by name."""
        if isinstance(node.value, dict):
            for name, item in node.value.items():
                if name == "keys_expression":
                    decoder.problem(item, f"keys_expression {_NO_OTTL}")
                    return None
                if name != "key":
                    decoder.problem(item, f"has no key {name!r}", "write key")
                    return None
            if "key" not in node.value:
                decoder.problem(node, "exactly one of key or keys_expression must be set")
                return None
            node = node.value["key"]
        text = decoder.decode(str, node)
        if text == "":
            decoder.problem(node, "exactly one of key or keys_expression must be set")
            return None
        return None if text is None else cls(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardinalityLimit:
    """How many different ones there may be."""

    max_cardinality: int = key(4000, "Most of them; 0: no limit but the one on all points of an interval.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.max_cardinality < 0:
            yield "max_cardinality", "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimit(CardinalityLimit):
    """How many different resources there may be."""

    max_cardinality: int = key(8000, "Most of them; 0: no limit but the one on all points of an interval.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """Limits for untrusted senders; what is beyond is counted under the name `_other`."""

    resource: ResourceLimit = key(ResourceLimit, "Different resources in an interval.")
    scope: CardinalityLimit = key(
        CardinalityLimit, "Different scopes of a resource; all metrics made here have one scope."
    )
    metric: CardinalityLimit = key(CardinalityLimit, "Different metrics of a resource; what is beyond is left out.")
    datapoint: CardinalityLimit = key(CardinalityLimit, "Different points of a metric.")


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationConfig:
    """How metrics are aggregated."""

    directory: str = key("", "Folder for the state, used by nothing else; without it the state is only in memory.")
    metadata_keys: list[str] = key(list, "Aggregate apart by these request headers, and pass them on.")
    intervals: list[Duration] = key(
        list, "Intervals, growing, each a multiple of the first; without any 1m, 10m and 60m. For tests only."
    )
    limits: LimitsConfig = key(LimitsConfig, "Limits of cardinality.")
    UNSUPPORTED: ClassVar[Mapping[str, str]] = {
        "statements": "OTTL is not evaluated here: put a processor into the pipeline that receives from this connector"
    }

    def check(self) -> Iterator[tuple[str, str]]:
        seen: set[str] = set()
        for name in self.metadata_keys:
            if name.lower() in seen:
                yield "metadata_keys", f'duplicate entry in metadata_keys: "{name.lower()}" (case-insensitive)'
            seen.add(name.lower())
        for index, interval in enumerate(self.intervals):
            if round(interval * 1000) < 1:
                yield "intervals", "must be at least one millisecond each"
                return
            if index and (
                interval <= self.intervals[index - 1] or round(interval * 1000) % round(self.intervals[0] * 1000)
            ):
                yield "intervals", "must grow, and each must be a multiple of the first"
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticApmConfig:
    """Makes Elastic's APM metrics of spans, logs and metrics."""

    error_mode: Literal["propagate", "ignore", "silent"] = key(
        "propagate",
        "What is said of spans that cannot be counted; with silent nothing. They are always skipped and counted, never"
        " a reason to refuse a request.",
    )
    custom_resource_attributes: list[ResourceKey] = key(
        list, "More resource attributes that are dimensions of all metrics, as text or {key: ...}."
    )
    custom_span_attributes: list[str] = key(list, "More span attributes that are dimensions of metrics of spans.")
    aggregation: AggregationConfig = key(AggregationConfig, "How metrics are aggregated.")
