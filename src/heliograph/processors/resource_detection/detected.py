"""What a detector found, and the three ways of finding nothing: absent, failed, failed for now."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from heliograph.otlp.attributes import Value

SCHEMA_URL = "https://opentelemetry.io/schemas/1.40.0"


class Absent(Exception):
    """This process is not in that cloud; the message says from what that follows. No failure."""


class DetectionError(Exception):
    """A detector could not find out; the message says what failed."""


class Unavailable(DetectionError):
    """It failed, and may work in a moment: no answer, or an answer that says so."""


class TimedOut(Unavailable):
    """There was no answer in time."""


@dataclass(frozen=True, slots=True)
class Detected:
    """Attributes in order, and the schema URL they follow ("" for none). warnings: what could not be found beside."""

    attributes: Mapping[str, Value] = field(default_factory=dict)
    schema_url: str = ""
    warnings: tuple[str, ...] = field(default=(), compare=False)


def selected(found: Mapping[str, Value], on: frozenset[str], warnings: tuple[str, ...] = ()) -> Detected:
    """Those of the attributes that are switched on and have a value."""
    return Detected({name: value for name, value in found.items() if name in on}, SCHEMA_URL, warnings)
