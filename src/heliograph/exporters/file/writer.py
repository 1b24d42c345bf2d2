"""A file that is written by one whole request after another, and rotated between them.

Every write goes to the operating system at once: what was acknowledged survives a killed process. Exporters (and the
signals of one exporter) that name the same path share one open file. Names of rotated files are upstream's:
`data.json` becomes `data-2022-09-14T05-02-14.173.json`.
"""

import os
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from heliograph.component.clock import Clock
from heliograph.exporters.file.config import RotationConfig

_MIB = 1 << 20
_STAMP = "%Y-%m-%dT%H-%M-%S"


class Writer:
    """An open file. Raises OSError as the file does."""

    def __init__(self, path: Path, *, append: bool, rotation: RotationConfig | None, clock: Clock) -> None:
        self._path = path
        self._rotation = rotation
        self._limit = 0 if rotation is None else (rotation.max_megabytes or 100) * _MIB
        self._clock = clock
        keep = append or rotation is not None
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if keep else os.O_TRUNC), 0o644)
        self._size = os.fstat(self._file).st_size
        self.users = 0

    def write(self, data: bytes) -> None:
        """Append all of `data`, or nothing of it."""
        if self._limit and self._size and self._size + len(data) > self._limit:
            self._rotate()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, memoryview(data)[written:])
        except OSError:
            if written:
                with suppress(OSError):
                    os.ftruncate(self._file, self._size)
            raise
        self._size += written

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _rotate(self) -> None:
        path = self._path
        os.close(self._file)
        os.rename(path, path.with_name(f"{path.stem}-{self._stamp()}{path.suffix}"))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = 0
        self._delete_old()

    def _now(self) -> datetime:
        assert self._rotation is not None
        utc = datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC)
        return utc.astimezone() if self._rotation.localtime else utc

    def _stamp(self) -> str:
        """The time to the millisecond; moved on when a file has it already."""
        now = self._now()
        while True:
            stamp = f"{now.strftime(_STAMP)}.{now.microsecond // 1000:03d}"
            if not self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}").exists():
                return stamp
            now += timedelta(milliseconds=1)

    def _delete_old(self) -> None:
        rotation = self._rotation
        assert rotation is not None
        form = re.compile(
            re.escape(self._path.stem) + r"-(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3})" + re.escape(self._path.suffix)
        )
        old = sorted(
            ((found[1], path) for path in self._path.parent.iterdir() if (found := form.fullmatch(path.name))),
            reverse=True,
        )
        oldest = ""
        if rotation.max_days:
            oldest = (self._now() - timedelta(days=rotation.max_days)).strftime(_STAMP)
        for number, (stamp, path) in enumerate(old):
            if (rotation.max_backups and number >= rotation.max_backups) or stamp < oldest:
                path.unlink(missing_ok=True)


_OPEN: dict[Path, Writer] = {}
"""The files that this process has open: a file is the process's, whoever names it."""


def acquire(path: Path, *, append: bool, rotation: RotationConfig | None, clock: Clock) -> Writer:
    """The writer of a path, shared with whoever has it open; give it back with `release`."""
    path = path.absolute()
    writer = _OPEN.get(path)
    if writer is None:
        writer = _OPEN[path] = Writer(path, append=append, rotation=rotation, clock=clock)
    writer.users += 1
    return writer


def release(path: Path) -> None:
    """Give a writer back; the last one closes the file."""
    path = path.absolute()
    writer = _OPEN[path]
    writer.users -= 1
    if not writer.users:
        del _OPEN[path]
        writer.close()
