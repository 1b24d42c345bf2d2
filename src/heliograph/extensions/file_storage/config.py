"""Keys of `file_storage`, as upstream's. What is kept is SQLite, not bbolt: files of an upstream Collector in the same
directory are left alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import Duration, key

_OCTAL = re.compile(r"(?:0o?)?[0-7]{3,4}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactionConfig:
    """When the files of key-value data give unused space back. Queues need none of it: they delete whole files."""

    on_start: bool = key(False, "Compact when a file is opened.")
    on_rebound: bool = key(False, "Compact while running, when much space was used and little of it still is.")
    rebound_needed_threshold_mib: int = key(100, "on_rebound: the file must have grown to this size (MiB).")
    rebound_trigger_threshold_mib: int = key(10, "on_rebound: and then less than this of it be used (MiB).")
    check_interval: Duration = key(Duration(5), "on_rebound: time between checks.")
    UNSUPPORTED = {
        "directory": "SQLite compacts beside the file itself: remove this key",
        "max_transaction_size": "SQLite compacts in one transaction: remove this key",
        "cleanup_on_start": "no temporary files are left behind: remove this key",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        if self.on_rebound and self.check_interval <= 0:
            yield "check_interval", "must be positive when on_rebound is true"
        for name in ("rebound_needed_threshold_mib", "rebound_trigger_threshold_mib"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStorageConfig:
    """A directory for the state of components."""

    directory: str = key("/var/lib/otelcol/file_storage", "Where the files are. It must exist, see create_directory.")
    timeout: Duration = key(Duration(1), "How long to wait for a file that another process has locked.")
    fsync: bool = key(False, "Bring every write to the disk before going on: survives a power loss, costs time.")
    create_directory: bool = key(False, "Make the directory when it is missing.")
    directory_permissions: str = key("0750", "Permissions of directories that are made, octal, less the umask.")
    compaction: CompactionConfig = key(CompactionConfig, "Giving unused space back.")
    recreate: bool = key(False, "Rename a damaged file to <name>.backup and begin anew, instead of refusing to start.")

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.directory:
            yield "directory", "must not be empty"
        if self.timeout < 0:
            yield "timeout", "must not be negative"
        if not _OCTAL.match(self.directory_permissions):
            yield "directory_permissions", f'must be octal such as "0750", found {self.directory_permissions!r}'

    @property
    def mode(self) -> int:
        """directory_permissions as a number."""
        return int(self.directory_permissions.removeprefix("0o"), 8)
