"""Credentials in files, read again when the file changes.

The file is looked at when its content is asked for, at most once a second, through symbolic links: Kubernetes replaces
a mounted secret by switching a link. When it cannot be read, the last content stays in use and the log says so once.
"""

import logging
import os

from heliograph.component.clock import Clock
from heliograph.component.errors import StartError

LARGEST = 1 << 20
"""Bytes; a greater file is no credential."""
_EVERY = 1.0


class CredentialFile:
    """The text of a file. `label` names it in messages: the key and the path."""

    def __init__(self, key: str, path: str, clock: Clock, log: "logging.LoggerAdapter[logging.Logger]") -> None:
        """Read it for the first time. Raises StartError."""
        self.label = f"{key} {path}"
        self._path = path
        self._clock = clock
        self._log = log
        self._failing = False
        self._next_look = clock.monotonic() + _EVERY
        self.version = 0
        try:
            self._identity = self._look()
            self._text = self._read()
        except (OSError, ValueError) as error:
            raise StartError(f"{self.label} cannot be read: {_reason(error)}") from None

    def text(self) -> str:
        """The content; `version` grows whenever it changed."""
        now = self._clock.monotonic()
        if now >= self._next_look:
            self._next_look = now + _EVERY
            try:
                identity = self._look()
                if identity != self._identity:
                    text = self._read()
                    self._identity = identity
                    self.version += text != self._text
                    self._text = text
                self._failing = False
            except (OSError, ValueError) as error:
                if not self._failing:
                    self._log.error("%s cannot be read again, the last content is used: %s", self.label, _reason(error))
                self._failing = True
        return self._text

    def _look(self) -> tuple[int, ...]:
        status = os.stat(self._path)
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns

    def _read(self) -> str:
        with open(self._path, encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes")
        return text


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
