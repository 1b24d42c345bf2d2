"""recombine: several consecutive entries become one, told apart by an expression for the first or the last of them.

Source: pkg/stanza/operator/transformer/recombine. Entries are kept apart by `source_identifier`; where an entry does
not have it, by the file it came from (upstream throws all such files into one). Entries held back hold back the
checkpoint.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from heliograph.component.config import ByteSize, Duration, key
from heliograph.receivers.file_log.operators.base import Logger, Operator, OperatorConfig, check_condition, check_field
from heliograph.receivers.file_log.operators.entry import Entry, Field
from heliograph.receivers.file_log.operators.expression import compile_condition


@dataclass(frozen=True, slots=True, kw_only=True)
class RecombineConfig(OperatorConfig):
    """Joins consecutive entries."""

    combine_field: str = key("", "Text field whose values are joined; required.")
    combine_with: str = key("\n", "What stands between the values.")
    is_first_entry: str = key("", "Expression that is true for the first entry of a record; this or is_last_entry.")
    is_last_entry: str = key("", "Expression that is true for the last entry of a record; this or is_first_entry.")
    overwrite_with: str = key("oldest", "Which entry gives the other fields: oldest or newest.")
    max_batch_size: int = key(1000, "Most entries in a record; 0 for no limit.")
    max_unmatched_batch_size: int = key(100, "Most entries joined before the expression was true once; 0 for no limit.")
    max_sources: int = key(1000, "Most sources at a time; all records are let go when there are more.")
    max_log_size: ByteSize = key(ByteSize(0), "Bytes after which a record is let go; 0 for no limit.")
    force_flush_period: Duration = key(Duration(5.0), "Longest time that an entry is held back.")
    source_identifier: str = key('attributes["log.file.path"]', "Field that tells sources apart.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from OperatorConfig.check(self)
        yield from check_field("combine_field", self.combine_field)
        yield from check_field("source_identifier", self.source_identifier)
        if bool(self.is_first_entry) == bool(self.is_last_entry):
            yield "is_first_entry", "set either is_first_entry or is_last_entry"
        for name, text in (("is_first_entry", self.is_first_entry), ("is_last_entry", self.is_last_entry)):
            if text:
                yield from check_condition(name, text)
        if self.overwrite_with not in ("", "oldest", "newest"):
            yield "overwrite_with", f"{self.overwrite_with!r} is not one of oldest, newest"


class _Batch:
    __slots__ = ("base", "count", "first", "matched", "since", "size", "texts")

    def __init__(self, entry: Entry) -> None:
        self.base = entry
        self.first = entry
        self.since = time.monotonic_ns()  # a wall clock that jumps neither cuts nor holds a record
        self.count = 0
        self.size = 0
        self.matched = False
        self.texts: list[str] = []


class Recombine(Operator):
    """recombine."""

    def __init__(self, config: RecombineConfig, log: Logger) -> None:
        super().__init__(config, log)
        self._matches = compile_condition(config.is_first_entry or config.is_last_entry)
        self._by_first = bool(config.is_first_entry)
        self._field = Field.parse(config.combine_field)
        self._source = Field.parse(config.source_identifier)
        self._with = config.combine_with
        self._newest = config.overwrite_with == "newest"
        self._most, self._most_unmatched = config.max_batch_size, config.max_unmatched_batch_size
        self._most_sources, self._most_bytes = config.max_sources, int(config.max_log_size)
        self._patience = int(config.force_flush_period * 1e9)
        self._batches: dict[object, _Batch] = {}

    def process(self, entry: Entry) -> None:
        try:
            if self._condition is not None and not self._condition(entry):
                self.write(entry)
                return
            matched = self._matches(entry)
        except ValueError as error:
            self.failed(entry, error)
            return
        source = self._source.get(entry)
        if not isinstance(source, str) or not source:
            source = id(entry.source)
        if matched and self._by_first:
            self._let_go(source)
        self._add(source, entry, matched)
        if matched and not self._by_first:
            self._let_go(source)

    def _add(self, source: object, entry: Entry, matched: bool) -> None:
        batch = self._batches.get(source)
        if batch is None:
            if len(self._batches) >= self._most_sources > 0:
                self.complain(f"operator {self.id}: more than {self._most_sources} sources: raise max_sources")
                self.flush(0, True)
            batch = self._batches[source] = _Batch(entry)
        elif self._newest:
            batch.base = entry
        batch.count += 1
        batch.matched = batch.matched or matched
        value = self._field.get(entry)
        if isinstance(value, str):
            batch.texts.append(value)
            batch.size += len(value) + (len(self._with) if batch.size else 0)
        else:
            self.complain(f"operator {self.id}: the entry has no text in {self._field}")
        if (
            0 < self._most_bytes < batch.size
            or 0 < self._most <= batch.count
            or (not batch.matched and 0 < self._most_unmatched <= batch.count)
        ):
            self._let_go(source)

    def _let_go(self, source: object) -> None:
        batch = self._batches.pop(source, None)
        if batch is None:
            return
        try:
            texts = batch.texts
            # nothing is put before the first text that is not empty, as upstream joins
            while len(texts) > 1 and not texts[0]:
                texts = texts[1:]
            self._field.set(batch.base, self._with.join(texts))
        except ValueError as error:
            self.failed(batch.base, error)
            return
        self.write(batch.base)

    def flush(self, now: int, everything: bool) -> None:
        for source, batch in list(self._batches.items()):
            if everything or now - batch.since >= self._patience:
                self._let_go(source)

    def held(self) -> Iterator[Entry]:
        for batch in self._batches.values():
            yield batch.first
