"""Keys of the headers_setter extension, upstream's (config.go of extension/headerssetterextension)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heliograph.component.config import Secret, key
from heliograph.component.ids import ComponentId

_SOURCES = ("value", "value_file", "from_context", "from_attribute")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderConfig:
    """What to do with one header."""

    action: Literal["", "insert", "update", "upsert", "delete"] = key(
        "", "insert (when it is not there), update (when it is there), upsert, delete; empty: upsert."
    )
    header: str = key("", "Name of the header.", name="key")
    value: Secret | None = key(None, "Its value.")
    value_file: str | None = key(None, "File with its value, read again when it changes.")
    from_context: str | None = key(None, "Header of the request that brought the data, whose value it gets.")
    from_attribute: str | None = key(None, "What the receiver's authenticator found out, for example username.")
    default_value: Secret = key(Secret(""), "Value where from_context or from_attribute finds none.")

    def check(self) -> Iterator[tuple[str, str]]:
        """A name, and one source unless it is deleted."""
        if not self.header:
            yield "key", "missing header name"
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if self.action == "delete":
            return
        if not given:
            yield "", f"missing header source: give one of {', '.join(_SOURCES)}"
        if len(given) > 1:
            yield given[1], f"only one source is possible, and {given[0]} is given too"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadersSetterConfig:
    """Sets headers of what an exporter sends, from the configuration or from the request that brought the data."""

    headers: list[HeaderConfig] = key(list, "What to do, in this order.")
    additional_auth: ComponentId | None = key(
        None, "Another authenticator, whose headers are set first; these actions see and may change them."
    )

    def check(self) -> Iterator[tuple[str, str]]:
        """There is something to do."""
        if not self.headers:
            yield "headers", "missing headers configuration"
