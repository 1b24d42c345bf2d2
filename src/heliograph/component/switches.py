"""`name: {enabled: true}` maps: which metrics or resource attributes a component reports.

Upstream's generated configurations all have this form (mdatagen): a map from a fixed set of names to an object with the
one key `enabled`. The decoded value is the set of names that are on.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from heliograph.component.config import Decoder, Node


class Switches(frozenset[str]):
    """The names that are on. Subclasses set DEFAULTS: every name -> whether it is on when nothing is said."""

    DEFAULTS: ClassVar[Mapping[str, bool]] = {}

    @classmethod
    def default(cls) -> "Switches":
        """The names that are on when nothing is said."""
        return cls(name for name, on in cls.DEFAULTS.items() if on)

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Switches | None":
        """Read the map; an unknown name, an unknown key and a value that is no boolean are noted."""
        on = set(cls.default())
        if node.value is None:
            return cls(on)
        if not isinstance(node.value, dict):
            decoder.problem(node, "expected a map of names to {enabled: true|false}")
            return None
        for name, entry in node.value.items():
            if name not in cls.DEFAULTS:
                decoder.problem(entry, f"unknown name {name!r}", f"one of: {', '.join(sorted(cls.DEFAULTS))}")
                continue
            settings: Any = entry.value
            if settings is None:
                continue
            if not isinstance(settings, dict):
                decoder.problem(entry, "expected {enabled: true|false}")
                continue
            for key, value in settings.items():
                if key != "enabled":
                    decoder.problem(value, f"key {key!r} is not supported", "only `enabled` is")
                elif not isinstance(value.value, bool):
                    decoder.problem(value, f"expected true or false, got {value.plain()!r}")
                elif value.value:
                    on.add(name)
                else:
                    on.discard(name)
        return cls(on)
