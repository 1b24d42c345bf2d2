"""Which file is which: new, known, renamed, truncated, a copy of a known one, gone.

A file is known by device and inode, and checked by its fingerprint and the bytes before the position. Content that is
found again under another inode (a copy made by copytruncate, a gzip file made by rotation, a file moved between file
systems) continues where the known file stood, if that one is gone or was replaced; while it is still there and
unchanged, the new one waits two seconds after its last change and is then a file of its own.

A file is looked at (stat) in each round while it changes, and then after a tenth of the time in which nothing happened
to it, at least every _IDLE_STAT_SECONDS. As long as the paths are the same only files whose time has come are touched;
whatever is unexpected there, and _WHOLE_SECONDS, lead to a look at all of them.
"""

import fcntl
import math
import os
import time
from collections.abc import Iterable
from heapq import heapify, heapreplace

from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.receivers.file_log.file import LogFile
from heliograph.receivers.file_log.identity import fingerprint
from heliograph.receivers.file_log.operators.base import Logger

SETTLE_SECONDS = 2.0
GONE_SECONDS = 10.0
ARCHIVE = 2048
ARCHIVE_SECONDS = 8 * 86_400.0  # a weekly rotation that compresses one time later
_IDLE_STAT_SECONDS = 4.0
_WHOLE_SECONDS = 5.0
_ADOPT_AT_ONCE = 256


class Tracker:
    """All files of a receiver. archive: what is known of content that is no longer there as it was."""

    def __init__(self, config: FileLogConfig, log: Logger, most_archived: int = ARCHIVE) -> None:
        self._most_archived = most_archived
        self._config = config
        self._log = log
        self._head = int(config.fingerprint_size)
        self.files: dict[tuple[int, int], LogFile] = {}
        self.by_path: dict[str, LogFile] = {}
        self.gone: list[LogFile] = []
        self.archive: list[LogFile] = []
        self.forgotten: list[LogFile] = []
        self._busy: set[LogFile] = set()
        self._paths: list[str] | None = None
        self._whole: list[str] | None = None
        self._fresh: list[tuple[str, os.stat_result]] = []
        self._due: list[tuple[float, str]] = []
        self._next_whole = 0.0
        self._troubled: dict[str, str] = {}
        self._contents: dict[tuple[int, bytes], LogFile] = {}
        self._lengths: set[int] = set()
        self._neighbours: dict[str, list[LogFile]] = {}

    def restore(self, files: Iterable[LogFile]) -> None:
        """Take over what a checkpoint knew."""
        for file in files:
            other = self.files.get(file.key)
            if other is not None and other.generation > file.generation:
                self._archive(file)
                continue
            if other is not None:
                self._archive(other)
            self.files[file.key] = file

    def look(self, paths: list[str], now: float, wall: float, skip: bool) -> bool:
        """Look at all paths; False when new files are left for the next call. now: monotonic seconds, wall: seconds
        since the epoch; skip: files that were never seen begin at their end."""
        if self._fresh and now < self._next_whole:
            self._take_in(now, wall, skip)
            return self._looked(paths if paths is self._whole else None, now)
        if paths is self._paths and now < self._next_whole and self._look_at_due(now):
            self._retire(now)
            return True
        fresh: list[tuple[str, os.stat_result]] = []
        present: dict[str, LogFile] = {}
        for path in paths:
            known = self.by_path.get(path)
            if known is not None and now < known.next_stat:
                present[path] = known
                continue
            try:
                status = os.stat(path)
            except OSError as error:
                self._trouble(path, error)
                continue
            file = self.files.get((status.st_dev, status.st_ino))
            if file is None:
                if status.st_size:
                    fresh.append((path, status))
                continue
            if self._seen(file, path, status, now):
                present[path] = file
        if self.by_path.keys() != present.keys():
            taken = set(map(id, present.values()))
            for path, file in self.by_path.items():
                if path not in present and id(file) not in taken:
                    self._left(file, now)
        for file in [file for file in self.files.values() if file.restored]:
            # the checkpoint knew it and no path leads to it: renamed beside where it was, compressed, or gone
            file.restored = False
            if not self._renamed(file, now):
                del self.files[file.key]
                self._archive(file)
        self.by_path = present
        for path, file in present.items():
            if file.path != path and present.get(file.path) is not file:
                file.path = path
        if fresh:
            self._index()
        fresh.reverse()
        self._fresh = fresh
        self._busy = {file for file in self.by_path.values() if file.pending}
        self._next_whole, self._whole = now + _WHOLE_SECONDS, paths
        self._take_in(now, wall, skip)
        return self._looked(paths, now)

    def _take_in(self, now: float, wall: float, skip: bool) -> None:
        """Some of the new files; the others stay for the next call, so that very many are no long look at all of them
        for each few."""
        for _ in range(min(_ADOPT_AT_ONCE, len(self._fresh))):
            path, status = self._fresh.pop()
            added = self._adopt(path, status, now, wall, skip)
            if added is not None:
                self.by_path[path] = added
                self._busy.add(added)

    def _looked(self, paths: list[str] | None, now: float) -> bool:
        """The end of a look: False when new files are left. paths: None when they are others than those looked at."""
        self._retire(now)
        self._paths = None
        if self._fresh:
            return False
        if paths is not None:
            self._paths, soon = paths, math.nextafter(now, math.inf)
            self._due = [
                (max(known.next_stat, soon) if (known := self.by_path.get(path)) else soon, path) for path in paths
            ]
            heapify(self._due)
        return True

    def _look_at_due(self, now: float) -> bool:
        """Look at the files whose time has come; False when something is not as it was, and all must be looked at."""
        due, soon = self._due, math.nextafter(now, math.inf)
        while due and due[0][0] <= now:
            path = due[0][1]
            file = self.by_path.get(path)
            try:
                status = os.stat(path)
            except OSError:
                return False
            if self.files.get((status.st_dev, status.st_ino)) is not file:
                return False
            if file is None:
                if status.st_size:
                    return False
                heapreplace(due, (soon, path))
                continue
            if file.restored or file.gone_since or not self._seen(file, path, status, now):
                return False
            if file.pending:
                self._busy.add(file)
            heapreplace(due, (max(file.next_stat, soon), path))
        return True

    def pending(self) -> list[LogFile]:
        """Files that are where they were and have something to read, in the order of their paths."""
        if not self._busy:
            return []
        found = [file for file in self.by_path.values() if file in self._busy and file.pending]
        self._busy = set(found)
        return found

    def _seen(self, file: LogFile, path: str, status: os.stat_result, now: float) -> bool:
        changed = status.st_size != file.size or status.st_mtime_ns != file.modified
        file.gone_since = 0.0
        if file in self.gone:
            self.gone.remove(file)
        if file.restored:
            file.restored = False
            file.path = path
            if not self._still(file):
                if file.fd < 0:
                    return False
                self.replace(file)
        elif changed and (
            (file.size > status.st_size and not file.is_gzip and status.st_size < file.position)
            or (file.fd >= 0 and not self._same_head(file))
        ):
            self.replace(file)
            if self._config.on_truncate == "read_new":
                file.position = file.safe = status.st_size
        if changed:
            file.active = now
        file.size, file.modified = status.st_size, status.st_mtime_ns
        idle = now - file.active
        file.next_stat = 0.0 if changed or file.pending else now + min(idle / 10, _IDLE_STAT_SECONDS)
        return True

    def _renamed(self, file: LogFile, now: float) -> bool:
        """Whether a file that was rotated out of the patterns while nobody watched is still in its folder; then what
        is left of it is read like the rest of any file that was renamed."""
        folder = os.path.dirname(file.path)
        try:
            with os.scandir(folder) as entries:
                paths = [entry.path for entry in entries if entry.inode() == file.key[1]]
            status = os.stat(paths[0]) if paths else None
        except OSError:
            return False
        if status is None or (status.st_dev, status.st_ino) != file.key:
            return False
        file.path = paths[0]
        if not self._still(file):
            file.close()
            return False
        file.size, file.modified, file.active = status.st_size, status.st_mtime_ns, now
        file.gone_since = now
        self.gone.append(file)
        return True

    def _same_head(self, file: LogFile) -> bool:
        try:
            return file.same_head(os.pread(file.fd, file.fingerprint_length, 0)) if not file.is_gzip else True
        except OSError:
            return True

    def _still(self, file: LogFile) -> bool:
        """Whether a file known from a checkpoint still has the content that was read."""
        if not self.open(file):
            return False
        try:
            head = file.read(self._head, 0)
            size = os.fstat(file.fd).st_size
            if not file.same_head(head) or (size < file.position and not file.is_gzip):
                return False
            file.note_head(head, self._head)
        except OSError as error:
            self._trouble(file.path, error)
            return False
        return True

    def replace(self, file: LogFile) -> None:
        """The content of a file was replaced: keep what was known of the old one, begin the new one."""
        ghost = file.ghost()
        ghost.saved, file.saved = file.saved, None  # what is kept of it goes when the ghost is forgotten
        if ghost.fingerprint_length:
            self._archive(ghost)
        elif ghost.saved is not None:
            self.forgotten.append(ghost)
        file.start_again()
        self._busy.add(file)

    def _adopt(self, path: str, status: os.stat_result, now: float, wall: float, skip: bool) -> LogFile | None:
        key = (status.st_dev, status.st_ino)
        already = self.files.get(key)
        if already is not None:
            return already
        file = LogFile(path, key)
        if not self.open(file):
            return None
        try:
            head = file.read(self._head, 0)
        except OSError as error:
            self._trouble(path, error)
            file.close()
            return None
        if not head:
            file.close()
            return None
        if skip and not file.is_gzip:
            file.position = file.safe = status.st_size
            file.note_head(head, self._head)
            file.fix_identity(head)
        else:
            young = wall - max(status.st_mtime, status.st_ctime) < SETTLE_SECONDS
            known = self._known_content(head)
            if known is not None and not self._continues(known, file):
                present = known in self.gone or (known.key in self.files and self.files[known.key] is known)
                if present and (file.is_gzip or young):
                    file.close()
                    return None
            elif known is None and young and len(head) < self._head and self._prefix_of_sibling(path, head):
                file.close()
                return None
            file.note_head(head, self._head)
        self._untrouble(path)
        file.size, file.modified, file.active = status.st_size, status.st_mtime_ns, now
        self.files[key] = file
        self._contents.setdefault((file.fingerprint_length, file.fingerprint), file)
        self._lengths.add(file.fingerprint_length)
        self._neighbours.setdefault(os.path.dirname(path), []).append(file)
        return file

    def _index(self) -> None:
        """Make ready for telling what new files are: known content by its fingerprint, open files by folder. What is
        no longer where it was counts first."""
        self._contents = {
            (known.fingerprint_length, known.fingerprint): known
            for known in (*self.files.values(), *self.gone, *self.archive)
            if known.fingerprint_length
        }
        self._lengths = {length for length, _ in self._contents}
        self._neighbours = {}
        for path, known in self.by_path.items():
            self._neighbours.setdefault(os.path.dirname(path), []).append(known)

    def _known_content(self, head: bytes) -> LogFile | None:
        for length in sorted(self._lengths, reverse=True):
            if length <= len(head):
                found = self._contents.get((length, fingerprint(head[:length])))
                if found is not None:
                    return found
        return None

    def _continues(self, known: LogFile, file: LogFile) -> bool:
        """Take over position and identity of content that is no longer where it was."""
        if known not in self.archive:
            return False
        try:
            start = known.position - len(known.tail)
            if not file.is_gzip and (
                os.fstat(file.fd).st_size < known.position or file.read(len(known.tail), start) != known.tail
            ):
                return False
        except OSError:
            return False
        self.archive.remove(known)
        self._contents.pop((known.fingerprint_length, known.fingerprint), None)
        saved = known.saved
        known.hand_over(file)
        file.saved = saved
        return True

    def _prefix_of_sibling(self, path: str, head: bytes) -> bool:
        for other in self._neighbours.get(os.path.dirname(path), ()):
            if other.fd >= 0 and not other.is_gzip:
                try:
                    if os.pread(other.fd, len(head), 0) == head:
                        return True
                except OSError:
                    continue
        return False

    def open(self, file: LogFile) -> bool:
        """Open a file by its path, if it is still the same inode. Trouble is logged once for each file."""
        if file.fd >= 0:
            return True
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._trouble(file.path, error)
            return False
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != file.key:
                os.close(fd)
                return False
            if self._config.acquire_fs_lock:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if self._config.file_cache_advise:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        except OSError as error:
            os.close(fd)
            self._trouble(file.path, error)
            return False
        compression = self._config.compression
        file.open(fd, compression == "gzip" or (compression == "auto" and file.path.endswith(".gz")))
        return True

    def trouble(self, file: LogFile, error: OSError) -> None:
        """Say once that a file cannot be read."""
        self._trouble(file.path, error)

    def _trouble(self, path: str, error: OSError) -> None:
        text = error.strerror or str(error)
        if isinstance(error, FileNotFoundError) or self._troubled.get(path) == text:
            return
        if len(self._troubled) > 10_000:
            self._troubled.clear()
        self._troubled[path] = text
        self._log.error("cannot read %s: %s; other files go on", path, text)

    def troubled(self, paths: Iterable[str]) -> dict[str, str]:
        """Which of these paths cannot be read, and why."""
        if self._troubled:
            there = set(paths)
            self._troubled = {path: text for path, text in self._troubled.items() if path in there}
        return self._troubled

    def _untrouble(self, path: str) -> None:
        if self._troubled.pop(path, None) is not None:
            self._log.info("%s can be read again", path)

    def _left(self, file: LogFile, now: float) -> None:
        """The path does not lead to this file any more: read on what is open."""
        if self.files.get(file.key) is not file:
            return
        if file.fd < 0:
            del self.files[file.key]
            self._archive(file)
        elif file not in self.gone:
            file.gone_since = now
            self.gone.append(file)

    def _retire(self, now: float) -> None:
        for file in list(self.gone):
            try:
                size = os.fstat(file.fd).st_size
            except OSError:
                size = file.size
            if size != file.size:
                file.size, file.gone_since = size, now
            if not file.pending and now - file.gone_since >= GONE_SECONDS:
                self.gone.remove(file)
                self.files.pop(file.key, None)
                file.close()
                self._archive(file)
        while self.archive and now - self.archive[0].gone_since > ARCHIVE_SECONDS and not self.archive[0].tickets:
            self.forgotten.append(self.archive.pop(0))

    def _archive(self, file: LogFile) -> None:
        file.close()
        file.view = None
        file.gone_since = time.monotonic()
        self.archive.append(file)
        while len(self.archive) > self._most_archived:
            for number, old in enumerate(self.archive):
                if not old.tickets:
                    self.forgotten.append(self.archive.pop(number))
                    break
            else:
                return

    def limit_open(self, most: int) -> None:
        """Close files that were read whole, the longest idle first, until at most so many are open."""
        if len(self.files) <= most:
            return
        opened = [file for file in self.files.values() if file.fd >= 0]
        if len(opened) <= most:
            return
        for file in sorted(opened, key=lambda file: file.active)[: len(opened) - most]:
            if not file.pending and not file.gone_since:
                file.close()

    def close(self) -> None:
        """Close everything."""
        for file in (*self.files.values(), *self.gone):
            file.close()
