"""Documents that the server will never take, kept in a file of JSON lines: nothing is thrown away unseen.

One file for each exporter and signal, appended to, made when the first document comes. Each line holds when, why, where
the document should have gone and the document itself, so that a person can correct and send it again:

    {"@timestamp":"...","exporter":"elasticsearch","status":400,"error":{"type":"...","reason":"..."},
     "action":{"create":{"_index":"..."}},"document":{...}}

The file never grows beyond its limit: the first failures tell most, later ones are dropped and counted. It is locked
while it is written: `heliograph dead-letters redrive` takes it away under a running collector (see redrive.py).
"""

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson

from heliograph.component.ids import ComponentId
from heliograph.exporters.elasticsearch.bulk import ItemAnswer

_NO_FILE_NAME = re.compile(r"[^\w.-]+")


def file_name(id: ComponentId, signal: str) -> str:
    """The name of the file of an exporter and signal."""
    return _NO_FILE_NAME.sub("_", f"{id.type}{f'_{id.name}' if id.name else ''}_{signal}") + ".ndjson"


def owner(id: ComponentId, signal: str) -> str:
    """In whose name a storage extension keeps the folder of the file."""
    return f"exporter_{id.type}{f'_{id.name}' if id.name else ''}_{signal}_dead_letters"


class Full(OSError):
    """The file has its greatest size."""


class DeadLetters:
    """The file of one exporter and signal. `write` blocks: call it in a thread."""

    def __init__(self, path: Path, exporter: str, max_size: int) -> None:
        self.path = path
        self._exporter = exporter
        self._max_size = max_size

    def write(self, letters: Sequence[tuple[bytes, ItemAnswer]], now_ns: int) -> int:
        """Append documents (action and document lines, why they were rejected), and make sure they are on disk.

        Returns how many, from the first on, were kept. Raises OSError when none can be.
        """
        when = datetime.fromtimestamp(now_ns / 1e9, UTC).isoformat().encode()
        head = b'{"@timestamp":"%b","exporter":%b,"status":' % (when, orjson.dumps(self._exporter))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with appending(self.path) as file:
            size = before = file.tell()
            kept = 0
            try:
                for lines, answer in letters:
                    action, document = lines.rstrip(b"\n").split(b"\n", 1)
                    error = orjson.dumps({"type": answer.type, "reason": answer.reason})
                    entry = b'%b%d,"error":%b,"action":%b,"document":%b}\n' % (
                        head, answer.status, error, action, document,
                    )  # fmt: skip
                    if size + len(entry) > self._max_size:
                        break
                    file.write(entry)
                    size += len(entry)
                    kept += 1
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), before)
                raise
        if kept == 0 and letters:
            raise Full(f"{self.path} has reached its limit of {self._max_size} bytes")
        return kept


@contextmanager
def appending(path: Path) -> Iterator[BinaryIO]:
    """The file that has this name, open for appending and locked: nobody takes it away meanwhile. Raises OSError."""
    while True:
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                same = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
            except FileNotFoundError:
                same = False
            if not same:
                continue
            yield file
            return
