"""The log of this process, in upstream's two forms.

console: `time <tab> level <tab> logger <tab> message <tab> {fields}`; json: one object a line with level, ts, logger,
msg and the fields. Times are UTC with milliseconds. Fields are those of the component (otelcol.component.id, .kind),
the configured initial fields, in the json form also the resource (a console line is for people, who know which
process they look at). A traceback follows a console line as text, in json it is the field stacktrace.

The same message (its text before arguments are filled in) is capped as upstream caps it: in each tick the first
`initial`, then every `thereafter`th.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from heliograph.component.errors import StartError

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "dpanic": logging.CRITICAL,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(frozen=True, slots=True)
class Sampling:
    """The cap of repeated messages. tick: seconds."""

    tick: float = 10.0
    initial: int = 10
    thereafter: int = 100


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How to log. resource: attributes of this process. sampling: None logs everything."""

    level: str = "info"
    encoding: str = "console"
    output_paths: Sequence[str] = ("stderr",)
    initial_fields: Mapping[str, Any] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)
    disable_caller: bool = False
    disable_stacktrace: bool = False
    sampling: Sampling | None = field(default_factory=Sampling)


class LineFormatter(logging.Formatter):
    """A record as a line of the console or the json form."""

    def __init__(self, options: LogOptions) -> None:
        super().__init__()
        self._json = options.encoding == "json"
        self._caller = not options.disable_caller
        self._stacktrace = not options.disable_stacktrace
        self._initial = dict(options.initial_fields)
        if self._json and options.resource:
            self._initial["resource"] = dict(options.resource)

    def format(self, record: logging.LogRecord) -> str:
        """One line; more when there is a traceback in the console form."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        level = _NAMES.get(record.levelno, "fatal" if record.levelno > logging.ERROR else "info")
        name = record.name.removeprefix("heliograph.") if self._caller else ""
        fields = self._initial | {key: value for key, value in vars(record).items() if key not in _OWN}
        trace = self.formatException(record.exc_info) if record.exc_info and self._stacktrace else ""
        if self._json:
            start = {"level": level, "ts": when} | ({"logger": name} if name else {}) | {"msg": record.getMessage()}
            return _dump(start | fields | ({"stacktrace": trace} if trace else {}))
        columns = [when, level, name, record.getMessage(), _dump(fields) if fields else ""]
        line = "\t".join(column for column in columns if column)
        return f"{line}\n{trace}" if trace else line


class SamplingFilter(logging.Filter):
    """Lets through what the cap allows."""

    def __init__(self, sampling: Sampling) -> None:
        super().__init__()
        self._sampling = sampling
        self._until = 0.0
        self._seen: dict[tuple[str, int, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Count one message of its kind in this tick."""
        if record.created >= self._until:
            self._until = record.created + self._sampling.tick
            self._seen.clear()
        kind = (record.name, record.levelno, str(record.msg))
        seen = self._seen[kind] = self._seen.get(kind, 0) + 1
        over = seen - self._sampling.initial
        return over <= 0 or bool(self._sampling.thereafter and over % self._sampling.thereafter == 0)


class Log:
    """The handlers of this process's log while it runs."""

    def __init__(self, options: LogOptions) -> None:
        """Raises StartError when a file cannot be opened."""
        self.options = options
        self._logger = logging.getLogger("heliograph")
        self._handlers: list[logging.Handler] = []
        self._files: list[TextIO] = []
        formatter = LineFormatter(options)
        for path in options.output_paths:
            handler = logging.StreamHandler(self._open(path))
            handler.setFormatter(formatter)
            if options.sampling is not None:
                handler.addFilter(SamplingFilter(options.sampling))
            self._handlers.append(handler)

    def install(self) -> None:
        """Log from now on through these handlers alone."""
        self._logger.handlers[:] = self._handlers
        self._logger.setLevel(LEVELS[self.options.level])
        self._logger.propagate = False
        outside = logging.getLogger()
        outside.handlers[:] = self._handlers
        outside.setLevel(logging.WARNING)

    def remove(self) -> None:
        """Undo `install` and close the files."""
        for logger in (self._logger, logging.getLogger()):
            for handler in self._handlers:
                logger.removeHandler(handler)
        self._logger.propagate = True
        for file in self._files:
            file.close()

    def _open(self, path: str) -> TextIO:
        if path in ("stderr", "stdout"):
            stream: TextIO = getattr(sys, path)
            return stream
        name = urlsplit(path).path if path.startswith("file://") else path
        try:
            file = Path(name).open("a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise StartError(
                f"cannot write the log to {name}: {error.strerror}; change service::telemetry::logs::output_paths"
            ) from error
        self._files.append(file)
        return file


def _dump(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, default=str, ensure_ascii=False)
