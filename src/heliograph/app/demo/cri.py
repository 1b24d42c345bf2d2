"""Container logs as containerd writes them: `<time> <stream> <P|F> <text>`, long lines in parts, rotated by rename.

Source: kubernetes, pkg/kubelet/kuberuntime/logs (CRI log format) and the folder layout of /var/log/pods.
"""

import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

PART = 16 * 1024
ROTATE = 4 * 1024 * 1024


class ContainerLog:
    """The log file of one container. Thread-safe."""

    def __init__(self, pods: Path, namespace: str, pod: str, uid: str, container: str) -> None:
        self._folder = pods / f"{namespace}_{pod}_{uid}" / container
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / "0.log"
        self._file = self._path.open("ab")
        self._lock = threading.Lock()

    def write(self, stream: str, text: str) -> None:
        """One line of the container's output. stream: "stdout" or "stderr"."""
        data = text.encode()
        with self._lock:
            for begin in range(0, max(len(data), 1), PART):
                part = data[begin : begin + PART]
                tag = b"F" if begin + PART >= len(data) else b"P"
                stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.{time.time_ns() % 10**9:09d}Z {stream} ".encode()
                self._file.write(stamp + tag + b" " + part + b"\n")
            self._file.flush()
            if self._file.tell() > ROTATE:
                self._rotate()

    def _rotate(self) -> None:
        self._file.close()
        self._path.rename(self._folder / f"0.log.{datetime.now(UTC):%Y%m%d-%H%M%S}")
        self._file = self._path.open("ab")


class ContainerLogHandler(logging.Handler):
    """Writes log records to a container's log: errors to stderr, everything else to stdout."""

    def __init__(self, log: ContainerLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a traceback is lines of its own, as it is in a real container."""
        stream = "stderr" if record.levelno >= logging.ERROR else "stdout"
        for line in self.format(record).splitlines():
            self._log.write(stream, line)
