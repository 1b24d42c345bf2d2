"""Counters, gauges and histograms of this process, exposed in Prometheus text form.

Why not prometheus_client: upstream's names (`otelcol_receiver_accepted_spans`, no `_total`) must come out as
they are, so that dashboards written for the Collector work, and that library forces the suffix on counters.
Everything runs on one event loop: there are no locks.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

Labels = tuple[tuple[str, str], ...]


class Counter:
    """A number that only grows, for one set of labels."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, amount: float) -> None:
        """Add a non-negative amount."""
        self.value += amount


class Histogram:
    """Counts of observations by upper bound, for one set of labels."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum: float = 0

    def observe(self, value: float) -> None:
        """Note one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class _Family:
    __slots__ = ("help", "kind", "series")

    def __init__(self, kind: str, help: str) -> None:
        self.kind = kind
        self.help = help
        self.series: dict[Labels, Counter | Histogram | Callable[[], float]] = {}


class Metrics:
    """All metrics of a process. Asking twice for the same name and labels gives the same series."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def counter(self, name: str, help: str, labels: Mapping[str, str]) -> Counter:
        """A series of a counter family, starting at 0."""
        series = self._series("counter", name, help).setdefault(_labels(labels), Counter())
        assert isinstance(series, Counter)
        return series

    def histogram(self, name: str, help: str, labels: Mapping[str, str], bounds: Sequence[float]) -> Histogram:
        """A series of a histogram family."""
        series = self._series("histogram", name, help).setdefault(_labels(labels), Histogram(bounds))
        assert isinstance(series, Histogram)
        return series

    def gauge(self, name: str, help: str, labels: Mapping[str, str], read: Callable[[], float]) -> None:
        """A series of a gauge family, read when somebody looks."""
        self._series("gauge", name, help)[_labels(labels)] = read

    def counted(self, name: str, help: str, labels: Mapping[str, str], read: Callable[[], float]) -> None:
        """A series of a counter family whose number is kept elsewhere, read when somebody looks."""
        self._series("counter", name, help)[_labels(labels)] = read

    def value(self, name: str, labels: Mapping[str, str]) -> float:
        """The value of a counter or gauge; 0 when it does not exist."""
        family = self._families.get(name)
        series = None if family is None else family.series.get(_labels(labels))
        if series is None or isinstance(series, Histogram):
            return 0
        return series.value if isinstance(series, Counter) else series()

    def exposition(self) -> str:
        """All of it in the Prometheus text format 0.0.4."""
        lines: list[str] = []
        for name in sorted(self._families):
            family = self._families[name]
            lines.append(f"# HELP {name} {family.help}")
            lines.append(f"# TYPE {name} {family.kind}")
            for labels, series in sorted(family.series.items(), key=lambda item: item[0]):
                if isinstance(series, Histogram):
                    lines.extend(_histogram_lines(name, labels, series))
                    continue
                value = series.value if isinstance(series, Counter) else series()
                lines.append(f"{name}{_braces(labels)} {_number(value)}")
        return "\n".join(lines) + "\n"

    def _series(self, kind: str, name: str, help: str) -> dict[Labels, Counter | Histogram | Callable[[], float]]:
        return self._families.setdefault(name, _Family(kind, help)).series


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _braces(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _histogram_lines(name: str, labels: Labels, series: Histogram) -> list[str]:
    lines: list[str] = []
    running = 0
    for bound, count in zip((*series.bounds, float("inf")), series.counts, strict=True):
        running += count
        text = "+Inf" if bound == float("inf") else _number(bound)
        lines.append(f"{name}_bucket{_braces((*labels, ('le', text)))} {running}")
    lines.append(f"{name}_sum{_braces(labels)} {_number(series.sum)}")
    lines.append(f"{name}_count{_braces(labels)} {running}")
    return lines
