"""A batch into documents without holding up the event loop: some milliseconds of work, then others may run."""

import asyncio
from datetime import datetime
from time import perf_counter

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.documents import Documents
from heliograph.exporters.elasticsearch.logs import LogEncoder
from heliograph.exporters.elasticsearch.metrics import Groups, MetricEncoder
from heliograph.exporters.elasticsearch.record import Options, RecordEncoder
from heliograph.exporters.elasticsearch.spans import SpanEncoder

RECORDS_AT_ONCE = 50
"""Records between two looks at the clock."""
SECONDS_AT_ONCE = 0.01


class _Pace:
    """Says when it is time to let others run."""

    __slots__ = ("_done", "_until")

    def __init__(self) -> None:
        self._done = 0
        self._until = perf_counter() + SECONDS_AT_ONCE

    async def after(self, records: int) -> None:
        """Note work that was done, and let others run when it was enough."""
        self._done += records
        if self._done < RECORDS_AT_ONCE:
            return
        self._done = 0
        if perf_counter() >= self._until:
            await asyncio.sleep(0)
            self._until = perf_counter() + SECONDS_AT_ONCE


class BatchEncoder:
    """Encodes batches of one signal; several may be in work at the same time."""

    def __init__(self, config: ElasticsearchConfig, signal: Signal) -> None:
        options = Options(
            logs_index=config.logs_index.encode(),
            traces_index=config.traces_index.encode(),
            metrics_index=config.metrics_index.encode(),
            logs_dynamic_id=config.logs_dynamic_id.enabled,
            traces_dynamic_id=config.traces_dynamic_id.enabled,
            logs_dynamic_pipeline=config.logs_dynamic_pipeline.enabled,
        )
        self._logstash = config.logstash_format
        self._metrics = MetricEncoder(options.metrics_index) if signal is Signal.METRICS else None
        self._records: RecordEncoder = LogEncoder(options) if signal is Signal.LOGS else SpanEncoder(options)

    async def encode(self, batch: Batch, now_ns: int) -> Documents:
        """The batch's documents. Raises MalformedPayload."""
        date = b""
        if self._logstash.enabled:
            today = datetime.fromtimestamp(now_ns / 1e9).astimezone().strftime(self._logstash.date_format)
            date = (self._logstash.prefix_separator + today).encode()
        if self._metrics is not None:
            self._metrics.set_date(date)
            return await _metrics(self._metrics, batch)
        self._records.set_date(date)
        return await _records(self._records, batch)


async def _records(encoder: RecordEncoder, batch: Batch) -> Documents:
    documents = Documents()
    pace = _Pace()
    for part in batch.parts:
        for section in encoder.sections(part):
            _check_mode(section.origin.mapping_mode, documents)
            count = len(section.starts)
            for first in range(0, count, RECORDS_AT_ONCE):
                last = min(first + RECORDS_AT_ONCE, count)
                encoder.encode(section, first, last, documents)
                await pace.after(last - first)
    return documents


async def _metrics(encoder: MetricEncoder, batch: Batch) -> Documents:
    documents = Documents()
    groups = Groups()
    pace = _Pace()
    for part in batch.parts:
        for section in encoder.sections(part):
            _check_mode(section.origin.mapping_mode, documents)
            for number in range(len(section.starts)):
                metric = encoder.metric(section, number, documents)
                count = len(metric.points)
                for first in range(0, count, RECORDS_AT_ONCE):
                    last = min(first + RECORDS_AT_ONCE, count)
                    encoder.group(metric, first, last, section.origin, groups, documents)
                    await pace.after(last - first)
                await pace.after(1)
    complete = groups.all()
    for first in range(0, len(complete), RECORDS_AT_ONCE):
        encoder.finish(complete[first : first + RECORDS_AT_ONCE], documents)
        await pace.after(RECORDS_AT_ONCE)
    return documents


def _check_mode(mode: bytes, documents: Documents) -> None:
    if mode and mode.lower() != b"otel":
        name = mode[:50].decode("utf-8", "replace")
        documents.note(f"a scope asks for mapping mode {name!r}, which is not done here: written in mode otel")
