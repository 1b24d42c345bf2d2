"""The extension: a directory, and in it a SQLite file or a folder for each owner."""

import os
import re
from pathlib import Path

from heliograph.component.errors import StartError
from heliograph.component.factory import Settings
from heliograph.component.lifecycle import Host, Status
from heliograph.extensions.file_storage.config import FileStorageConfig
from heliograph.extensions.file_storage.key_value import SqliteKeyValue

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


def file_name(owner: str) -> str:
    """The owner's name with every character that is unsafe in a file name written as ~ and its number in hexadecimal,
    as upstream does it, so that two owners never meet."""
    return _UNSAFE.sub(lambda found: f"~{ord(found[0]):04X}", owner)


class FileStorage:
    """Component and Storage (component/storage.py)."""

    def __init__(self, settings: Settings, config: FileStorageConfig) -> None:
        self._config = config
        self._name = f"extension {settings.id}"
        self._log = settings.telemetry.log
        self._directory = Path(config.directory)
        self._open: list[SqliteKeyValue] = []

    @property
    def fsync(self) -> bool:
        """Whether every write must reach the disk."""
        return self._config.fsync

    async def start(self, host: Host) -> None:
        """Check or make the directory. Raises StartError."""
        directory = self._directory
        if self._config.create_directory:
            self._make(directory)
        if not directory.exists():
            raise StartError(
                f"{self._name}: directory {directory} does not exist: make it, set `directory` to one that does, or "
                "set `create_directory: true`"
            )
        if not directory.is_dir():
            raise StartError(f"{self._name}: directory {directory} is not a directory: set `directory` to one")
        if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
            raise StartError(f"{self._name}: directory {directory} cannot be read and written by user {os.geteuid()}")
        if self._config.compaction.on_rebound:
            host.spawn(self._compact_on_rebound(host), f"{self._name} compaction")
        host.report(Status.OK)

    async def shutdown(self, deadline: float) -> None:
        """Close what its owners left open."""
        for values in self._open:
            values.close()
        self._open.clear()

    def key_value(self, owner: str) -> SqliteKeyValue:
        """Open (or make) the owner's values. Raises StartError."""
        config = self._config
        values = SqliteKeyValue(
            self._directory / f"{file_name(owner)}.sqlite",
            timeout=config.timeout,
            fsync=config.fsync,
            recreate=config.recreate,
            compact=config.compaction.on_start,
            log=self._log,
        )
        self._open.append(values)
        return values

    def directory(self, owner: str) -> Path:
        """The owner's own folder, made when missing. Raises StartError."""
        path = self._directory / f"{file_name(owner)}.d"
        self._make(path)
        return path

    def _make(self, path: Path) -> None:
        try:
            path.mkdir(mode=self._config.mode, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"{self._name}: cannot make {path}: {error.strerror}") from error

    async def _compact_on_rebound(self, host: Host) -> None:
        """Upstream's rule: once a file has grown past the upper threshold, compact it when what is used falls below
        the lower one."""
        compaction = self._config.compaction
        needed = compaction.rebound_needed_threshold_mib << 20
        trigger = compaction.rebound_trigger_threshold_mib << 20
        grown: set[SqliteKeyValue] = set()
        while True:
            await host.clock.sleep(compaction.check_interval)
            for values in self._open:
                allocated, used = values.space()
                if allocated > needed:
                    grown.add(values)
                if values in grown and used < trigger:
                    grown.discard(values)
                    values.compact()
