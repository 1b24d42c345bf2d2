"""Which files to read: include and exclude patterns, age, and the order of `ordering_criteria`.

Patterns are those of github.com/bmatcuk/doublestar, which upstream uses: `*` and `?` stay within a name, `**` stands
for any folders, `[a-z]`, `{one,two}`. Folders are listed again only when their modification time changed, so that
looking at thousands of folders where nothing happens costs one stat call each, and that after a tenth of the time in
which nothing happened there, at least every second.
"""

import errno
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import Any

from heliograph.receivers.file_log.config import FileLogConfig, OrderingConfig, SortConfig
from heliograph.receivers.file_log.operators.layout import Layout, LayoutError, to_go, zone_by_name
from heliograph.receivers.file_log.operators.regex import compile_text

_MAGIC = re.compile(r"[*?\[{]")
_RACY_SECONDS = 2.0
_IDLE_FOLDER_SECONDS = 1.0


def alternatives(pattern: str) -> list[str]:
    """`a{b,c}` -> [ab, ac]."""
    start = pattern.find("{")
    if start < 0:
        return [pattern]
    depth, pieces, last = 0, [], start + 1
    for position in range(start, len(pattern)):
        character = pattern[position]
        if character == "{":
            depth += 1
        elif character == "," and depth == 1:
            pieces.append(pattern[last:position])
            last = position + 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                pieces.append(pattern[last:position])
                tails = alternatives(pattern[position + 1 :])
                return [
                    pattern[:start] + middle + tail
                    for piece in pieces
                    for middle in alternatives(piece)
                    for tail in tails
                ]
    return [pattern]


def segment_regex(segment: str) -> str:
    """One part of a path between slashes as a regular expression."""
    out, position = "", 0
    while position < len(segment):
        character = segment[position]
        position += 1
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[" and (end := segment.find("]", position + 1)) > 0:
            inner = segment[position:end].replace("\\", "\\\\")
            out += "[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]"
            position = end + 1
        elif character == "\\" and position < len(segment):
            out += re.escape(segment[position])
            position += 1
        else:
            out += re.escape(character)
    return out


def path_regex(pattern: str) -> "re.Pattern[str]":
    """A whole pattern as a regular expression for paths."""
    out = ""
    segments = pattern.split("/")
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "**":
            out += ".*" if last else "(?:[^/]+/)*"
        else:
            out += segment_regex(segment) + ("" if last else "/")
    return re.compile(out, re.DOTALL)


class _Folder:
    __slots__ = ("due", "files", "folders", "listed", "modified")

    def __init__(self) -> None:
        self.modified = -1
        self.listed = 0.0
        self.due = 0.0
        self.files: list[str] = []
        self.folders: list[str] = []


class Finder:
    """Bound to one configuration. `find` gives the paths that are there now. denied: folders that may not be looked
    into -> why."""

    def __init__(self, config: FileLogConfig) -> None:
        self._patterns = [pattern for text in config.include for pattern in alternatives(os.path.normpath(text))]
        self._excluded = [path_regex(pattern) for text in config.exclude for pattern in alternatives(text)]
        self._age = config.exclude_older_than
        self._ordering = config.ordering_criteria
        self._folders: dict[str, _Folder] = {}
        self._compiled: dict[str, re.Pattern[str]] = {}
        self._literals: dict[str, bool] = {}
        self._paths: list[str] | None = None
        self.denied: dict[str, str] = {}

    def find(self) -> list[str]:
        """Paths, without repetition; sorted, or in the order that the configuration asks for. The same list object as
        before when nothing can have changed: not to be altered."""
        if self._paths is not None and self._unchanged():
            return self._paths
        self._literals = {}
        self.denied = {}
        paths = self._look()
        # times of files, and what an order makes of them, change without a folder changing
        self._paths = None if self._age or self._ordering.sort_by else paths
        return paths

    def _unchanged(self) -> bool:
        """Whether every folder that was looked into, and every path without a pattern, is as it was."""
        now = time.time()
        for path, folder in self._folders.items():
            if folder.due > now >= folder.listed:
                continue
            try:
                modified = os.stat(path).st_mtime_ns
            except OSError:
                modified = -1
            if modified != folder.modified or folder.listed - modified / 1e9 <= _RACY_SECONDS:
                return False
            folder.due = now + min((now - modified / 1e9) / 10, _IDLE_FOLDER_SECONDS)
        return all(_is_file(path) is was for path, was in self._literals.items())

    def _look(self) -> list[str]:
        found: dict[str, None] = {}
        seen: set[str] = set()
        for pattern in self._patterns:
            parts = pattern.split("/")
            start = "/" if pattern.startswith("/") else "."
            for path in self._walk(start, [part for part in parts if part], seen):
                found[path] = None
        for gone in [name for name in self._folders if name not in seen]:
            del self._folders[gone]
        paths = [path for path in found if not any(regex.fullmatch(path) for regex in self._excluded)]
        if self._age:
            oldest = time.time() - self._age
            paths = [path for path in paths if _modified(path) >= oldest]
        return ordered(sorted(paths), self._ordering) if self._ordering.sort_by else sorted(paths)

    def _walk(self, folder: str, parts: list[str], seen: set[str]) -> Iterator[str]:
        part, rest = parts[0], parts[1:]
        if part == "**":
            below = self._list(folder, seen)
            if rest:
                yield from self._walk(folder, rest, seen)
            else:
                yield from (_join(folder, name) for name in below.files)
            for name in below.folders:
                if not os.path.islink(_join(folder, name)):
                    yield from self._walk(_join(folder, name), parts, seen)
            return
        if not _MAGIC.search(part):
            path = _join(folder, part)
            if rest:
                yield from self._walk(path, rest, seen)
                return
            there = self._literals[path] = _is_file(path)
            if there:
                yield path
            elif not os.access(folder, os.X_OK) and os.path.isdir(folder):
                self.denied[folder] = os.strerror(errno.EACCES)
            return
        regex = self._compiled.get(part)
        if regex is None:
            regex = self._compiled[part] = re.compile(segment_regex(part), re.DOTALL)
        below = self._list(folder, seen)
        for name in below.folders if rest else below.files:
            if regex.fullmatch(name):
                if rest:
                    yield from self._walk(_join(folder, name), rest, seen)
                else:
                    yield _join(folder, name)

    def _list(self, path: str, seen: set[str]) -> _Folder:
        folder = self._folders.get(path)
        if folder is None:
            folder = self._folders[path] = _Folder()
        if path in seen:
            return folder
        seen.add(path)
        now = time.time()
        try:
            modified = os.stat(path).st_mtime_ns
            # a change within the clock's grain after a listing would not show: young folders are listed again
            if modified == folder.modified and folder.listed - modified / 1e9 > _RACY_SECONDS:
                return folder
            folder.modified, folder.listed, folder.due = modified, now, 0.0
            folder.files, folder.folders = [], []
            with os.scandir(path) as entries:
                for entry in entries:
                    try:
                        (folder.folders if entry.is_dir() else folder.files).append(entry.name)
                    except OSError:
                        continue
        except OSError as error:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                self.denied[path] = error.strerror or str(error)
            folder.modified, folder.listed = -1, now
            folder.files, folder.folders = [], []
        return folder


def _join(folder: str, name: str) -> str:
    if folder == ".":
        return name
    return f"/{name}" if folder == "/" else f"{folder}/{name}"


def _is_file(path: str) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def ordered(paths: list[str], ordering: OrderingConfig) -> list[str]:
    """The first `top_n` paths of each group in the configured order; paths that the expression does not match, or
    whose part cannot be read, are left out."""
    groups: dict[tuple[str, ...], list[str]] = {}
    grouping = compile_text(ordering.group_by) if ordering.group_by else None
    for path in paths:
        found = grouping.search(path) if grouping else None
        groups.setdefault(tuple(value or "" for value in found.groups()) if found else (), []).append(path)
    regex = compile_text(ordering.regex) if ordering.regex else None
    result: list[str] = []
    for group in groups.values():
        chosen = group
        for sort in reversed(ordering.sort_by):
            keyed = [(value, path) for path in chosen if (value := _sort_value(path, sort, regex)) is not None]
            descending = sort.sort_type == "mtime" or not sort.ascending
            chosen = [path for _, path in sorted(keyed, key=lambda pair: pair[0], reverse=descending)]
        result.extend(chosen[: ordering.top_n or 1])
    return result


def _sort_value(path: str, sort: SortConfig, regex: "re.Pattern[str] | None") -> Any:
    if sort.sort_type == "mtime":
        return _modified(path)
    match = regex.search(path) if regex else None
    text = match.groupdict().get(sort.regex_key) if match else None
    if text is None:
        return None
    try:
        if sort.sort_type == "numeric":
            return int(text)
        if sort.sort_type == "timestamp":
            return Layout(to_go(sort.layout)).read(text, zone_by_name(sort.location or "UTC"), {}, time.time_ns())
    except (LayoutError, ValueError):
        return None
    return text
