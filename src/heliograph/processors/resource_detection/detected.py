"""What a detector found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from heliograph.otlp.attributes import Value


class DetectionError(Exception):
    """A detector could not find out; the message says what failed."""


@dataclass(frozen=True, slots=True)
class Detected:
    """Attributes in order, and the schema URL they follow ("" for none)."""

    attributes: Mapping[str, Value] = field(default_factory=dict)
    schema_url: str = ""
