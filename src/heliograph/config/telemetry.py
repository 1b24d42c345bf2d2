"""The keys of `service::telemetry`: what this program says of itself.

Names and defaults are upstream's (service/telemetry/otelconftelemetry of the Collector 0.156). Own metrics are offered
to Prometheus; spans of its own it has none, so that the keys which send them somewhere are refused by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from heliograph.component.config import Decoder, Duration, Node, key

Problem = tuple[str, str]

_NO_PUSH = "own metrics are offered to Prometheus only: use pull::exporter::prometheus and scrape it"
_NO_SPANS = "this program makes no spans of its own: remove this key"
_PROMETHEUS_HOST, _PROMETHEUS_PORT = "localhost", 8888


class Level(str):
    """A level in any case of letters; the value is in lower case."""

    __slots__ = ()
    choices: tuple[str, ...] = ()

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Level | None":
        """One of the choices, in any case; a null or empty one is the first."""
        text = decoder.decode(str, node)
        if text is None:
            return None
        if text.lower() not in cls.choices:
            decoder.problem(node, f'"{text}" is no level', f"one of {', '.join(cls.choices)}")
            return None
        return cls(text.lower())


class LogLevel(Level):
    """How much is logged."""

    __slots__ = ()
    choices = ("debug", "info", "warn", "error", "dpanic", "panic", "fatal")


class MetricsLevel(Level):
    """How many metrics there are."""

    __slots__ = ()
    choices = ("none", "basic", "normal", "detailed")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSampling:
    """Caps repeated messages: in each tick the first `initial` of a message, then every `thereafter`th."""

    enabled: bool = key(True, "false logs every message.")
    tick: Duration = key(Duration(10), "Length of the time that is counted in.")
    initial: int = key(10, "How many of the same message are logged in each tick.")
    thereafter: int = key(100, "After those, every such one is logged; 0: none.")

    def check(self) -> Iterator[Problem]:
        """Nothing is negative."""
        for name in ("tick", "initial", "thereafter"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsConfig:
    """The program's own log."""

    level: LogLevel = key(LogLevel("info"), "Lowest level that is logged: debug, info, warn, error.")
    encoding: Literal["console", "json"] = key("console", "Form of a line.")
    development: Literal[False] = key(False, "There is no development mode here.")
    disable_caller: bool = key(False, "true leaves out the place in the source.")
    disable_stacktrace: bool = key(False, "true leaves out the traceback of an error.")
    sampling: LogSampling | None = key(LogSampling, "Caps repeated messages.")
    output_paths: list[str] = key(lambda: ["stderr"], "Where it goes: stderr, stdout or files.")
    error_output_paths: list[Literal["stderr"]] = key(lambda: ["stderr"], "Where errors of the log itself go.")
    initial_fields: dict[str, Any] = key(dict, "Fields that every line carries.")
    disable_zap_resource: bool = key(False, "true leaves the resource out of the lines.")
    UNSUPPORTED = {
        "processors": "own logs go to output_paths only: collect that file with file_log, or remove this key"
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusExporter:
    """Where Prometheus finds the program's own metrics."""

    host: str = key(_PROMETHEUS_HOST, "Address to listen on.")
    port: int = key(_PROMETHEUS_PORT, "Port to listen on.")
    without_scope_info: Literal[True] = key(True, "Metrics carry no instrumentation scope.")
    without_type_suffix: Literal[True] = key(True, "Names of counters do not end in _total.")
    without_units: Literal[True] = key(True, "Names do not end in units.")
    UNSUPPORTED = {"with_resource_constant_labels": "labels of the resource are not added: remove this key"}

    def check(self) -> Iterator[Problem]:
        """The port exists."""
        if not 0 <= self.port <= 65535:
            yield "port", "must be 0 to 65535"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullExporter:
    """What a pull reader offers."""

    prometheus: PrometheusExporter = key(PrometheusExporter, "The Prometheus text format over HTTP.")


@dataclass(frozen=True, slots=True, kw_only=True)
class PullReader:
    """Metrics that somebody fetches."""

    exporter: PullExporter = key(PullExporter, "In which form.")
    UNSUPPORTED = {
        "producers": "remove this key",
        "cardinality_limits": "the number of series is bounded by the configuration: remove this key",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One way to the program's own metrics."""

    pull: PullReader = key(PullReader, "Metrics that somebody fetches.")
    UNSUPPORTED = {"periodic": _NO_PUSH}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsConfig:
    """The program's own metrics."""

    level: MetricsLevel = key(MetricsLevel("normal"), "How many: none, basic, normal or detailed.")
    readers: list[Reader] = key(lambda: [Reader()], "Ways to get them.")
    UNSUPPORTED = {
        "address": "write readers: [{pull: {exporter: {prometheus: {host: ..., port: ...}}}}]",
        "views": "choose metrics where they are scraped, or remove this key",
    }

    def check(self) -> Iterator[Problem]:
        """A level above none needs a reader."""
        if self.level != "none" and not self.readers:
            yield "readers", "must not be empty unless level is none"

    @property
    def listeners(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each Prometheus endpoint; empty when level is none."""
        if self.level == "none":
            return ()
        return tuple((r.pull.exporter.prometheus.host, r.pull.exporter.prometheus.port) for r in self.readers)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracesConfig:
    """The program makes no spans of its own; so does upstream unless processors are given."""

    level: MetricsLevel = key(MetricsLevel("none"), "Without effect: there are no own spans.")
    UNSUPPORTED = dict.fromkeys(("propagators", "processors", "sampler", "limits"), _NO_SPANS)


class ResourceConfig(dict[str, str | None]):
    """Attributes of the program's own telemetry: a plain map, or `attributes` with a list of name and value.
    A null value takes an automatic attribute such as service.instance.id away."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "ResourceConfig | None":
        """Read either form."""
        if not isinstance(node.value, dict) or not (
            {"attributes", "schema_url", "attributes_list"} & node.value.keys()
        ):
            plain = decoder.decode(dict[str, str | None], node)
            return None if plain is None else cls(plain)
        typed = decoder.decode(_Resource, node)
        return None if typed is None else cls({item.name: item.value for item in typed.attributes})


@dataclass(frozen=True, slots=True, kw_only=True)
class _ResourceAttribute:
    """One attribute in the list form."""

    name: str = key(..., "Name of the attribute.")
    value: str | None = key(None, "Its value; null takes it away.")
    type: Literal["string"] = key("string", "Its type.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resource:
    """The list form."""

    attributes: list[_ResourceAttribute] = key(list, "Name and value of each.")
    schema_url: str = key("", "Schema that the names follow.")
    UNSUPPORTED = {
        "attributes_list": "use attributes",
        "detection/development": "use the resource_detection processor for data; for the program itself, attributes",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """What this program says of itself."""

    logs: LogsConfig = key(LogsConfig, "The program's own log.")
    metrics: MetricsConfig = key(MetricsConfig, "The program's own metrics.")
    traces: TracesConfig = key(TracesConfig, "The program's own spans: there are none.")
    resource: ResourceConfig = key(ResourceConfig, "Attributes of its own telemetry.")
