"""The keys of file_log: upstream's, one of ours (`record_uid`), and those refused by name.

Source: pkg/stanza/fileconsumer (config, matcher, attrs, split, trim), pkg/stanza/adapter, consumerretry.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from heliograph.component.config import ByteSize, Duration, key
from heliograph.component.ids import ComponentId
from heliograph.receivers.file_log.operators import AnyOperator, check_outputs
from heliograph.receivers.file_log.operators.layout import LayoutError, to_go, zone_by_name
from heliograph.receivers.file_log.operators.lexer import ExpressionError
from heliograph.receivers.file_log.operators.regex import RegexError, compile_bytes, compile_text
from heliograph.receivers.file_log.template import Template

_ENCODINGS = {
    "": "utf-8",
    "utf8": "utf-8",
    "utf-8-raw": "utf-8",
    "utf8-raw": "utf-8",
    "ascii": "utf-8",
    "us-ascii": "utf-8",
    "utf16": "utf-16-le",
    "utf-16": "utf-16-le",
    "utf16-le": "utf-16-le",
    "utf16le": "utf-16-le",
    "utf16-be": "utf-16-be",
    "utf16be": "utf-16-be",
}


def codec(encoding: str) -> str | None:
    """Python's name of an encoding, "nop" for bytes, None when there is none. ASCII is read as UTF-8, as upstream
    does; utf-8-raw too, since text that is no UTF-8 is no OTLP."""
    name = encoding.lower()
    if name == "nop":
        return "nop"
    name = _ENCODINGS.get(name, name)
    try:
        found = codecs.lookup(name)
        "".encode(found.name)
    except (LookupError, TypeError, ValueError):
        return None
    return found.name


@dataclass(frozen=True, slots=True, kw_only=True)
class MultilineConfig:
    """Records of more than one line."""

    line_start_pattern: str = key("", "Regular expression (RE2) that matches the beginning of a record.")
    line_end_pattern: str = key("", "Regular expression (RE2) that matches the end of a record.")
    omit_pattern: bool = key(False, "Leave out what the expression matched.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.line_start_pattern and self.line_end_pattern:
            yield "line_start_pattern", "set only one of line_start_pattern and line_end_pattern"
        for name, pattern in (
            ("line_start_pattern", self.line_start_pattern),
            ("line_end_pattern", self.line_end_pattern),
        ):
            try:
                compile_bytes(pattern, "m")
            except RegexError as error:
                yield name, str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class SortConfig:
    """One order of files."""

    sort_type: str = key("", "numeric, alphabetical, timestamp or mtime.")
    regex_key: str = key("", "Named group of ordering_criteria::regex to sort by.")
    ascending: bool = key(False, "Smallest first.")
    layout: str = key("", "strptime layout, for timestamp.")
    location: str = key("UTC", "Time zone, for timestamp.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.sort_type not in ("numeric", "alphabetical", "timestamp", "mtime"):
            yield "sort_type", f"{self.sort_type!r} is not one of numeric, alphabetical, timestamp, mtime"
        if self.sort_type != "mtime" and not self.regex_key:
            yield "regex_key", "is required"
        if self.sort_type == "timestamp":
            try:
                if not self.layout:
                    yield "layout", "is required"
                to_go(self.layout)
            except LayoutError as error:
                yield "layout", str(error)
            try:
                zone_by_name(self.location or "UTC")
            except LayoutError as error:
                yield "location", str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderingConfig:
    """Reads only the first files in some order."""

    regex: str = key("", "Expression with named groups, matched with the path; other files are left out.")
    top_n: int = key(1, "How many files to read (of each group).")
    group_by: str = key("", "Expression with named groups; files are ordered within each group.")
    sort_by: list[SortConfig] = key(list, "Orders, the most important first.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.top_n < 0:
            yield "top_n", "must not be negative"
        for name, pattern in (("regex", self.regex), ("group_by", self.group_by)):
            try:
                compile_text(pattern)
            except RegexError as error:
                yield name, str(error)
        if not self.regex and any(sort.sort_type != "mtime" for sort in self.sort_by):
            yield "regex", "is required to sort by a part of the path"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryConfig:
    """When a batch is offered again that the pipeline refuses for now. A file is its own queue: unless these keys say
    otherwise it is offered until it is taken."""

    enabled: bool = key(True, "false: a batch that is refused for now is dropped (and counted), not offered again.")
    initial_interval: Duration = key(Duration(1.0), "First wait.")
    max_interval: Duration = key(Duration(30.0), "Longest wait.")
    max_elapsed_time: Duration = key(
        Duration(0.0), "Drop (and count) a batch that was refused for this long; 0: it is never given up."
    )

    def check(self) -> Iterator[tuple[str, str]]:
        for name in ("initial_interval", "max_interval", "max_elapsed_time"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLogConfig:
    """Reads and parses log files."""

    include: list[str] = key(list, "Patterns of paths to read (`*`, `?`, `[...]`, `{a,b}`, `**`); required.")
    exclude: list[str] = key(list, "Patterns of paths not to read.")
    exclude_older_than: Duration = key(
        Duration(0.0), "Leave out files that were not written for this long; 0 for none."
    )
    ordering_criteria: OrderingConfig = key(OrderingConfig, "Read only the first files in some order.")
    start_at: str = key("end", "Where to start in files that are there at the first start: beginning or end.")
    poll_interval: Duration = key(Duration(0.2), "How often to look for new data.")
    max_concurrent_files: int = key(1024, "Most files held open at a time.")
    max_batches: int = key(0, "Most groups of max_concurrent_files / 2 files to read in one poll; 0 for no limit.")
    fingerprint_size: ByteSize = key(ByteSize(1000), "First bytes of a file by which it is known again.")
    initial_buffer_size: ByteSize = key(
        ByteSize(16 * 1024), "Kept for compatibility: the buffer's size follows the data."
    )
    file_cache_advise: bool = key(False, "Tell the system that files are read from start to end (posix_fadvise).")
    max_log_size: ByteSize = key(ByteSize(1024 * 1024), "Longest record; see max_log_size_behavior.")
    max_log_size_behavior: str = key("split", "split a longer record into several, or truncate it.")
    encoding: str = key("utf-8", "Encoding of the files; nop gives bytes.")
    multiline: MultilineConfig = key(MultilineConfig, "Records of more than one line.")
    preserve_leading_whitespaces: bool = key(False, "Keep white space at the start of a record.")
    preserve_trailing_whitespaces: bool = key(False, "Keep white space at the end of a record.")
    force_flush_period: Duration = key(
        Duration(0.5), "Send a record without its end after this long without new data; 0 for never."
    )
    compression: str = key("", "gzip, auto (gzip for names that end in .gz) or empty.")
    on_truncate: str = key(
        "ignore", "A file that became shorter: read_new skips to its end; else it is read from its start."
    )
    polls_to_archive: int = key(0, "Kept for compatibility: files that were read are known for long anyway.")
    delete_after_read: bool = key(False, "Delete each file when all of it was delivered.")
    acquire_fs_lock: bool = key(False, "Leave out files that somebody holds an exclusive lock (flock) on.")
    include_file_name: bool = key(True, "Attribute log.file.name.")
    include_file_path: bool = key(False, "Attribute log.file.path.")
    include_file_name_resolved: bool = key(False, "Attribute log.file.name_resolved, symbolic links followed.")
    include_file_path_resolved: bool = key(False, "Attribute log.file.path_resolved, symbolic links followed.")
    include_file_owner_name: bool = key(False, "Attribute log.file.owner.name.")
    include_file_owner_group_name: bool = key(False, "Attribute log.file.owner.group.name.")
    include_file_permissions: bool = key(False, "Attribute log.file.permissions, such as 644.")
    include_file_record_number: bool = key(False, "Attribute log.file.record_number, from 1.")
    include_file_record_offset: bool = key(False, "Attribute log.file.record_offset, in bytes.")
    record_uid: bool = key(False, "Attribute log.record.uid, the same whenever the same line is read again.")
    attributes: dict[str, Any] = key(dict, "Attributes of every record; text may hold EXPR(...).")
    resource: dict[str, Any] = key(dict, "Resource attributes of every record; text may hold EXPR(...).")
    operators: list[AnyOperator] = key(list, "What to do with each record, in order.")
    storage: ComponentId | None = key(None, "Extension that keeps how far each file was read.")
    retry_on_failure: RetryConfig = key(RetryConfig, "Waiting when the pipeline refuses a batch.")

    UNSUPPORTED = {
        "header": "header metadata is not read here; parse the lines with operators",
        "id": "the id of the receiver is its name in the configuration",
        "type": "the type of the receiver is its name in the configuration",
        "output": "records go to the operators, then to the pipelines",
    }

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.include:
            yield "include", "is required: name at least one pattern"
        if self.start_at not in ("beginning", "end"):
            yield "start_at", f"{self.start_at!r} is not one of beginning, end"
        if self.poll_interval <= 0:
            yield "poll_interval", "must be positive"
        for name in ("exclude_older_than", "force_flush_period"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
        if self.max_concurrent_files < 2:
            yield "max_concurrent_files", "must be at least 2"
        if self.max_batches < 0:
            yield "max_batches", "must not be negative"
        if self.fingerprint_size < 16:
            yield "fingerprint_size", "must be at least 16 bytes"
        if self.max_log_size <= 0:
            yield "max_log_size", "must be positive"
        if self.max_log_size_behavior not in ("split", "truncate"):
            yield "max_log_size_behavior", f"{self.max_log_size_behavior!r} is not one of split, truncate"
        if self.compression not in ("", "gzip", "auto"):
            yield "compression", f"{self.compression!r} is not one of gzip, auto"
        if self.on_truncate not in ("", "ignore", "read_whole_file", "read_new"):
            yield "on_truncate", f"{self.on_truncate!r} is not one of ignore, read_whole_file, read_new"
        if self.polls_to_archive < 0:
            yield "polls_to_archive", "must not be negative"
        if self.delete_after_read and self.start_at == "end":
            yield "delete_after_read", "cannot be used with start_at: end"
        name_of_codec = codec(self.encoding)
        if name_of_codec is None:
            yield "encoding", f"{self.encoding!r} is not known"
        patterned = self.multiline.line_start_pattern or self.multiline.line_end_pattern
        if patterned and name_of_codec == "nop":
            yield "multiline", "cannot be used with encoding: nop"
        for section in ("attributes", "resource"):
            for name, value in getattr(self, section).items():
                if isinstance(value, str):
                    try:
                        Template(value)
                    except ExpressionError as error:
                        yield f"{section}.{name}", str(error)
        yield from check_outputs(list(self.operators))  # type: ignore[arg-type]
