"""The list of actions that `resource` and `attributes` share: its keys, its rules, and what is made of it.

Source: internal/coreinternal/attraction of opentelemetry-collector-contrib.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from heliograph.component.batch import Context
from heliograph.component.config import key as setting
from heliograph.component.regex import RegexError, compile_text
from heliograph.otlp.edit import Action, Convert, Delete, Extract, Hash, Lookup, Put

_PUTS = ("insert", "update", "upsert")
_ACTIONS = (*_PUTS, "delete", "hash", "extract", "convert")
_TYPES = ("string", "int", "double")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeAction:
    """What is done to one attribute."""

    action: str = setting(doc="insert, update, upsert, delete, hash, extract or convert; upper case is the same.")
    key: str = setting("", "The attribute to act upon.")
    value: Any = setting(None, "The value to put; its type is the one written.")
    from_attribute: str = setting("", "Put the value of this attribute.")
    from_context: str = setting("", "Put what the request says: metadata.NAME, auth.NAME or client.address.")
    default_value: Any = setting(None, "Put this when the source gives nothing.")
    pattern: str = setting(
        "", "Regular expression: on keys for delete and hash; with named groups on the value for extract."
    )
    converted_type: str = setting("", "For convert: string, int or double.")

    def check(self) -> Iterator[tuple[str, str]]:
        action = self.action.lower()
        if action not in _ACTIONS:
            yield "action", f"unsupported action {self.action!r}, must be one of {', '.join(_ACTIONS)}"
            return
        if not self.key and not (action in ("delete", "hash") and self.pattern):
            needed = "at least one of key and pattern is needed" if action in ("delete", "hash") else "key is needed"
            yield "key", f"{needed} for action {action}"
        yield from self._unused(action)
        sources = [
            name for name in ("value", "from_attribute", "from_context") if getattr(self, name) not in (None, "")
        ]
        if self.value == "":
            sources.insert(0, "value")
        if action in _PUTS:
            if len(sources) > 1:
                yield sources[1], f"only one of value, from_attribute and from_context may be given for {action}"
            if not sources and self.default_value is None:
                yield "value", f"one of value, from_attribute and from_context is needed for {action}"
        if action == "extract" and not self.pattern:
            yield "pattern", "is needed for action extract"
        if action == "convert" and self.converted_type not in _TYPES:
            yield "converted_type", f"must be one of {', '.join(_TYPES)} for action convert"
        if self.pattern and action not in _PUTS:
            yield from self._check_pattern(action)

    def _unused(self, action: str) -> Iterator[tuple[str, str]]:
        unused: tuple[str, ...] = ("pattern", "converted_type")
        if action in ("delete", "hash"):
            unused = ("value", "from_attribute", "converted_type")
        elif action == "extract":
            unused = ("value", "from_attribute", "from_context", "converted_type")
        elif action == "convert":
            unused = ("value", "from_attribute", "from_context", "pattern")
        for name in unused:
            if getattr(self, name) not in (None, ""):
                yield name, f"action {action} does not use it"

    def _check_pattern(self, action: str) -> Iterator[tuple[str, str]]:
        try:
            pattern = compile_text(self.pattern)
        except RegexError as error:
            yield "pattern", str(error)
            return
        if action == "extract":
            if not pattern.groups:
                yield "pattern", "has no named groups"
            elif len(pattern.groupindex) < pattern.groups:
                yield "pattern", "has a group without a name"

    def compile(self) -> Action:
        """The action, ready to be applied."""
        action = self.action.lower()
        pattern = compile_text(self.pattern) if self.pattern else None
        if action in _PUTS:
            return Put(
                self.key,
                insert=action != "update",
                update=action != "insert",
                value=self.value,
                from_attribute=self.from_attribute,
                from_context=self.from_context,
                default=self.default_value,
            )
        if action == "delete":
            return Delete(self.key, pattern)
        if action == "hash":
            return Hash(self.key, pattern)
        if action == "convert":
            return Convert(self.key, self.converted_type)
        assert pattern is not None
        return Extract(self.key, pattern)


def uses_context(actions: Sequence[AttributeAction]) -> bool:
    """Whether the result depends on the request and not only on the attributes."""
    return any(action.from_context for action in actions)


def lookup(context: Context) -> Lookup:
    """What `from_context` finds in the context of a batch."""

    def find(name: str) -> str | None:
        if name == "client.address":
            return context.peer
        if name.startswith("auth."):
            return context.auth.get(name.removeprefix("auth."))
        values = context.metadata.get(name.removeprefix("metadata.").lower())
        return ";".join(values) if values else None

    return find


def no_lookup(name: str) -> str | None:
    """The context of data that must not depend on one."""
    return None
