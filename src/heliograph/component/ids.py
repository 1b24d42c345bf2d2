"""Names of things: signals, kinds of component, component ids and pipeline ids.

The spelling follows the Collector: `type` or `type/name`, where a type starts with a letter and
a name is anything printable without a slash at its ends.
Source: go.opentelemetry.io/collector/component/identifiable.go and pipeline/pipeline.go.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_TYPE = re.compile(r"[a-zA-Z][0-9a-zA-Z_]{0,62}\Z")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,1024}\Z")


class Signal(StrEnum):
    """What a batch carries."""

    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"

    @property
    def items(self) -> str:
        """The plural of what is counted, as upstream's internal metrics spell it."""
        return _ITEMS[self]


_ITEMS = {
    Signal.TRACES: "spans",
    Signal.METRICS: "metric_points",
    Signal.LOGS: "log_records",
}


class Kind(StrEnum):
    """The five kinds of component; the value is the singular used in messages and metric labels."""

    RECEIVER = "receiver"
    PROCESSOR = "processor"
    EXPORTER = "exporter"
    CONNECTOR = "connector"
    EXTENSION = "extension"

    @property
    def section(self) -> str:
        """The top-level section of the configuration that holds this kind."""
        return f"{self.value}s"


@dataclass(frozen=True, slots=True, order=True)
class ComponentId:
    """`type` or `type/name`."""

    type: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "ComponentId":
        """Read an id. Raises ValueError that says what is wrong with it."""
        type_, slash, name = text.partition("/")
        type_, name = type_.strip(), name.strip()
        if not type_:
            raise ValueError("the part before / should not be empty" if slash else "id must not be empty")
        if slash and not name:
            raise ValueError("the part after / should not be empty")
        if not _TYPE.match(type_):
            raise ValueError(f"invalid character(s) in type {type_!r}")
        if name and not _NAME.match(name):
            raise ValueError(f"invalid character(s) in name {name!r}")
        return cls(type_, name)

    def __str__(self) -> str:
        return f"{self.type}/{self.name}" if self.name else self.type


@dataclass(frozen=True, slots=True, order=True)
class PipelineId:
    """`signal` or `signal/name`."""

    signal: Signal
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "PipelineId":
        """Read a pipeline id. Raises ValueError that says what is wrong with it."""
        id_ = ComponentId.parse(text)
        try:
            signal = Signal(id_.type)
        except ValueError:
            raise ValueError(f"unknown pipeline signal: {id_.type!r}") from None
        return cls(signal, id_.name)

    def __str__(self) -> str:
        return f"{self.signal}/{self.name}" if self.name else str(self.signal)
