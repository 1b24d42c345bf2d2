"""Keys of the `file` exporter, as upstream's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from heliograph.component.config import Duration, key

_OCTAL = re.compile(r"(?:0o?)?[0-7]{3,4}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationConfig:
    """When the file is renamed and a new one begun, and which old ones are deleted."""

    max_megabytes: int = key(100, "The file is renamed before it exceeds this size in MiB. 0: 100.")
    max_days: int = key(0, "Old files are deleted after this many times 24 hours. 0: never.")
    max_backups: int = key(100, "How many old files are kept. 0: all.")
    localtime: bool = key(False, "Local time instead of UTC in the names of old files.")

    def check(self) -> Iterator[tuple[str, str]]:
        for name in ("max_megabytes", "max_days", "max_backups"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionParams:
    """How much is compressed."""

    level: int = key(0, "Level of zstd, 1 (fast) to 22 (small). 0: 3.")

    def check(self) -> Iterator[tuple[str, str]]:
        if not 0 <= self.level <= 22:
            yield "level", "must be between 0 and 22"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileConfig:
    """Writes what comes to a file."""

    path: str = key(..., "Where to write.")
    append: bool = key(False, "Keep what is in the file at start instead of emptying it.")
    format: Literal["json", "proto"] = key("json", "json: an OTLP/JSON object a line. proto: length and protobuf.")
    rotation: RotationConfig | None = key(None, "Begin new files by size. Absent: one file that grows.")
    compression: Literal["", "zstd"] = key("", "zstd compresses each request; all formats are then length-prefixed.")
    compression_params: CompressionParams = key(CompressionParams, "How much is compressed.")
    flush_interval: Duration = key(
        Duration(1), "Data is in the file at the latest after this time; it always is at once."
    )
    create_directory: bool = key(False, "Make the directory when it is missing.")
    directory_permissions: str = key("", 'Permissions of a directory that is made, octal, less the umask. "": 0755.')
    UNSUPPORTED = {
        "encoding": "write format: json or format: proto",
        "group_by": "write one exporter for each file, behind pipelines of their own",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.path:
            yield "path", "must not be empty"
        if self.append and self.rotation is not None:
            yield "append", "not together with rotation, which keeps what is in the file anyway: remove append"
        if self.append and self.compression:
            yield "append", "not together with compression"
        if self.flush_interval < 0:
            yield "flush_interval", "must not be negative"
        if self.directory_permissions and not _OCTAL.match(self.directory_permissions):
            yield "directory_permissions", f'must be octal such as "0755", found {self.directory_permissions!r}'

    @property
    def directory_mode(self) -> int:
        """directory_permissions as a number."""
        return int((self.directory_permissions or "0755").removeprefix("0o"), 8)
