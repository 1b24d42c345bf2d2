"""How a component declares its configuration keys.

A configuration class is a frozen dataclass; each key is a field made by `key`:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class BatchConfig:
        \"\"\"Joins small batches.\"\"\"

        timeout: Duration = key(Duration(0.2), "Time after which a batch is sent whatever its size.")
        metadata_keys: list[str] = key(list, "Separate batches by these request headers.")
        UNSUPPORTED = {"sizer": "write it in sending_queue::batch of the exporter"}

        def check(self) -> Iterator[tuple[str, str]]:
            if self.timeout < 0:
                yield "timeout", "must not be negative"

The decoder (config/decode.py) turns a YAML tree into it by the annotations: bool, int, float, str, Duration, ByteSize,
Secret, ComponentId, Any, Literal[...], StrEnum, T | None, list[T], dict[str, T], nested classes (null gives
its defaults; None stays None for `T | None`), and any class with a `decode` classmethod (see Decodable). Rules:

- a key whose name is in UNSUPPORTED (name -> what to write instead, or why) is known upstream and refused by name;
  any other unknown key is refused with the nearest right name;
- a class with `OPTIONAL = True` is a part that may be switched off: it takes the key `enabled` too, and with false it
  is as if it were not there;
- numbers and booleans are never taken from text, and text never from numbers, as upstream does; only `Duration` reads
  "1m30s" (and a bare integer as nanoseconds) and `ByteSize` reads "10MiB" or an integer of bytes;
- `check` yields (path inside this object, e.g. "tls.cert_file", problem) for what types cannot say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NewType, Protocol, TypeVar

T = TypeVar("T")

Duration = NewType("Duration", float)
"""Seconds. In a file: "1h2m3.5s", "200ms"."""

ByteSize = NewType("ByteSize", int)
"""Bytes. In a file: 1024, "1KiB", "10MB"."""


class Secret(str):
    """Text that is never shown: its repr is redacted, use str methods or f"{secret:s}" to read it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "[REDACTED]"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written. source: a file's path, "environment X", "--set", "default". Lines and columns
    count from 1; 0 where there is none. via: what was expanded there, for example "environment X"."""

    source: str
    line: int = 0
    column: int = 0
    via: str = ""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place} ({self.via})" if self.via else place


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the merged and expanded configuration with its origin.

    value: None, bool, int, float, str, a list of Nodes or a dict of str to Node.
    text: what was written, when a scalar came from an environment variable (a string field takes it as it was).
    path: keys from the root, for example ("exporters", "otlp_grpc", "endpoint").
    """

    value: "bool | int | float | str | list[Node] | dict[str, Node] | None"
    origin: Origin
    path: tuple[str, ...] = ()
    text: str | None = None

    def plain(self) -> Any:
        """The value as ordinary Python data."""
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        if isinstance(self.value, dict):
            return {name: node.plain() for name, node in self.value.items()}
        return self.value


class Decoder(Protocol):
    """What `Decodable.decode` may use."""

    def decode(self, target: type[T], node: Node) -> T | None:
        """Decode a node by a type; mistakes are noted, and then None comes back."""

    def problem(self, node: Node, problem: str, fix: str = "") -> None:
        """Note a mistake at this node and go on."""


class Decodable(Protocol):
    """A type that reads itself, for unions such as a list of operators told apart by their `type`."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> Any:
        """Return the value, or note problems and return None."""


def key(
    default: Any = ...,
    doc: str = "",
    *,
    name: str | None = None,
    aliases: Sequence[str] = (),
    deprecated: str = "",
) -> Any:
    """Declare a configuration key.

    default: its value when absent; a callable (`list`, `dict`, a configuration class) makes a new one each time;
    `...` means that the key is required. name: the key in the file when it is no Python name or differs from the
    field's. aliases: older names of it. deprecated: text of the warning when it is used.
    """
    metadata: Mapping[str, Any] = {
        "doc": doc,
        "name": name,
        "aliases": tuple(aliases),
        "deprecated": deprecated,
    }
    if default is ...:
        return field(metadata=metadata)
    if isinstance(default, type) or (callable(default) and not isinstance(default, str)):
        factory: Callable[[], Any] = default
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)
