"""Keys of the `attributes` processor, as upstream's (its own, and those of internal/filter/filterconfig)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from heliograph.component.config import key as setting
from heliograph.component.ids import Signal
from heliograph.component.regex import RegexError, compile_text
from heliograph.processors.attribute_action import AttributeAction

SPAN_KINDS = {
    0: "SPAN_KIND_UNSPECIFIED",
    1: "SPAN_KIND_INTERNAL",
    2: "SPAN_KIND_SERVER",
    3: "SPAN_KIND_CLIENT",
    4: "SPAN_KIND_PRODUCER",
    5: "SPAN_KIND_CONSUMER",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeMatch:
    """An attribute that must be there."""

    key: str = setting(doc="Its key.")
    value: Any = setting(None, "Its value; without it any will do. With regexp a pattern.")

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.key:
            yield "key", "must not be empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryMatch:
    """An instrumentation scope."""

    name: str = setting("", "Name of the scope.")
    version: str | None = setting(None, "Its version; without it any will do, an empty one means none.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityMatch:
    """The severity number of a log record."""

    min: int = setting(0, "The lowest that matches; 9 is INFO, 13 WARN, 17 ERROR.")
    match_undefined: bool = setting(False, "Whether records without a severity number match.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexpConfig:
    """How regular expressions are evaluated."""

    cacheenabled: bool = setting(False, "Remember the results by text.")
    cachemaxnumentries: int = setting(0, "Results remembered; 0: a built-in limit of 10000.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.cachemaxnumentries < 0:
            yield "cachemaxnumentries", "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchProperties:
    """Which records are meant; all that is given must match."""

    match_type: str = setting("", "strict (equal) or regexp.")
    regexp: RegexpConfig | None = setting(None, "Settings of match_type regexp.")
    services: list[str] = setting(list, "Spans: service.name of the resource, one of these.")
    span_names: list[str] = setting(list, "Spans: the name, one of these.")
    span_kinds: list[str] = setting(list, "Spans: the kind, one of these, such as SPAN_KIND_SERVER.")
    log_bodies: list[str] = setting(list, "Log records: the body as text, one of these.")
    log_severity_texts: list[str] = setting(list, "Log records: the severity text, one of these.")
    log_severity_number: SeverityMatch | None = setting(None, "Log records: the severity number.")
    metric_names: list[str] = setting(list, "Metrics: the name, one of these. Nothing else is looked at for metrics.")
    attributes: list[AttributeMatch] = setting(list, "Attributes of the span or log record, all of these.")
    resources: list[AttributeMatch] = setting(list, "Attributes of the resource, all of these.")
    libraries: list[LibraryMatch] = setting(list, "The instrumentation scope, all of these.")

    def check(self) -> Iterator[tuple[str, str]]:
        texts = self._texts()
        if texts and self.match_type not in ("strict", "regexp"):
            yield "match_type", f"must be strict or regexp, not {self.match_type!r}"
        if self.match_type == "regexp":
            for name, text in texts:
                if not isinstance(text, str):
                    yield name, f"{text!r} must be text with match_type regexp"
                    continue
                try:
                    compile_text(text)
                except RegexError as error:
                    yield name, str(error)
        elif self.match_type == "strict":
            for kind in self.span_kinds:
                if kind not in list(SPAN_KINDS.values())[1:]:
                    yield "span_kinds", f"{kind!r} is not one of {', '.join(list(SPAN_KINDS.values())[1:])}"

    def _texts(self) -> list[tuple[str, Any]]:
        names = ("services", "span_names", "span_kinds", "log_bodies", "log_severity_texts", "metric_names")
        texts: list[tuple[str, Any]] = [(name, text) for name in names for text in getattr(self, name)]
        for name in ("attributes", "resources"):
            texts += [(name, match.value) for match in getattr(self, name) if match.value is not None]
        for library in self.libraries:
            texts.append(("libraries", library.name))
            if library.version is not None:
                texts.append(("libraries", library.version))
        return texts

    def problem(self, signal: Signal) -> str:
        """What is wrong with it in a pipeline of this signal; "" when it is right."""
        shared = bool(self.attributes or self.libraries or self.resources)
        if signal is Signal.TRACES:
            for name in ("log_bodies", "log_severity_texts", "log_severity_number"):
                if getattr(self, name):
                    return f"{name} should not be specified for trace spans"
            if not (shared or self.services or self.span_names or self.span_kinds):
                return "at least one of attributes, libraries, resources, services, span_names or span_kinds is needed"
        elif signal is Signal.LOGS:
            if self.span_names or self.services or self.span_kinds:
                return "services, span_names and span_kinds are not valid for log records"
            if not (shared or self.log_bodies or self.log_severity_texts or self.log_severity_number is not None):
                return (
                    "at least one of attributes, libraries, resources, log_bodies, log_severity_texts "
                    "or log_severity_number is needed"
                )
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributesConfig:
    """Changes the attributes of spans, log records and data points."""

    actions: list[AttributeAction] = setting(list, "Actions, applied in this order.")
    include: MatchProperties | None = setting(None, "Only these records are changed.")
    exclude: MatchProperties | None = setting(None, "These records are not changed; looked at after include.")

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.actions:
            yield "actions", "at least one action is needed"
