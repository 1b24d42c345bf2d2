"""How far each file was read and acknowledged, kept by a storage extension.

One small JSON value for each file under `file/<identity>`, written only when it changed. `started` marks that the
receiver ran before: then a file that is not known is new and read from its start, whatever `start_at` says, as
upstream does.
"""

import json
from collections.abc import Iterable

from heliograph.component.storage import KeyValue
from heliograph.receivers.file_log.file import LogFile

_PREFIX = "file/"
_STARTED = "started"


class Checkpoint:
    """The values of one receiver. store: None keeps nothing."""

    def __init__(self, store: KeyValue | None) -> None:
        self._store = store

    @property
    def keeps(self) -> bool:
        """Whether there is a storage behind it."""
        return self._store is not None

    def load(self) -> tuple[bool, list[LogFile]]:
        """Whether the receiver ran before, and what it knew. Values that cannot be read are left out."""
        if self._store is None:
            return False, []
        started = False
        files: list[LogFile] = []
        for key, value in list(self._store.items()):
            if key == _STARTED:
                started = True
            elif key.startswith(_PREFIX) and (file := _file(key.removeprefix(_PREFIX), value)) is not None:
                files.append(file)
        return started, files

    def mark_started(self) -> None:
        """From now on this receiver ran before."""
        if self._store is not None:
            self._store.set(_STARTED, b"1")

    def save(self, files: Iterable[LogFile]) -> None:
        """Write those that changed."""
        store = self._store
        if store is None:
            return
        for file in files:
            if not file.identity:
                continue
            state = (file.safe, file.identity, file.fingerprint_length, file.path)
            if state != file.saved:
                store.set(_PREFIX + file.identity, _value(file))
                file.saved = state

    def forget(self, file: LogFile) -> None:
        """Remove a file that is not coming back."""
        if self._store is not None and file.saved is not None:
            self._store.delete(_PREFIX + file.saved[1])
            file.saved = None

    def close(self) -> None:
        """Release the storage."""
        if self._store is not None:
            self._store.close()
            self._store = None


def _value(file: LogFile) -> bytes:
    return json.dumps(
        {
            "path": file.path,
            "device": file.key[0],
            "inode": file.key[1],
            "offset": file.safe,
            "records": file.safe_number,
            "tail": file.safe_tail.hex(),
            "head": [file.fingerprint_length, file.fingerprint.hex()],
            "generation": file.generation,
            "gzip": file.is_gzip,
        },
        separators=(",", ":"),
    ).encode()


def _file(identity: str, value: bytes) -> LogFile | None:
    try:
        fields = json.loads(value)
        file = LogFile(str(fields["path"]), (int(fields["device"]), int(fields["inode"])))
        file.identity = identity
        file.position = file.safe = int(fields["offset"])
        file.number = file.safe_number = int(fields["records"])
        file.tail = file.safe_tail = bytes.fromhex(fields["tail"])
        file.fingerprint_length = int(fields["head"][0])
        file.fingerprint = bytes.fromhex(fields["head"][1])
        file.generation = int(fields["generation"])
        file.is_gzip = bool(fields["gzip"])
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    file.saved = (file.safe, identity, file.fingerprint_length, file.path)
    file.restored = True
    return file
