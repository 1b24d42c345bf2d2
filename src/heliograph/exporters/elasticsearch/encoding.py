"""A batch into documents without holding up the event loop: some milliseconds of work, then others may run."""

import asyncio
from datetime import datetime
from time import perf_counter
from typing import Any

from google.protobuf.message import DecodeError

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.documents import Documents
from heliograph.exporters.elasticsearch.logs import LogEncoder
from heliograph.exporters.elasticsearch.metrics import Groups, MetricEncoder
from heliograph.exporters.elasticsearch.modes import OTEL, Modes
from heliograph.exporters.elasticsearch.plain import PlainEncoder
from heliograph.exporters.elasticsearch.record import Options, RecordEncoder
from heliograph.exporters.elasticsearch.spans import SpanEncoder
from heliograph.otlp.messages import resource_message_class

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
            own_ids=config.own_ids.enabled,
        )
        self._logstash = config.logstash_format
        self._metrics = MetricEncoder(options.metrics_index) if signal is Signal.METRICS else None
        self._modes = Modes(signal, config.mapping.allowed_modes)
        self._plain = PlainEncoder(signal, options)
        self._records: RecordEncoder = LogEncoder(options) if signal is Signal.LOGS else SpanEncoder(options)

    async def encode(self, batch: Batch, now_ns: int, mode: bytes = b"") -> Documents:
        """The batch's documents. mode: what the request asks for, a scope may ask for another. Raises
        MalformedPayload."""
        date = b""
        if self._logstash.enabled:
            today = datetime.fromtimestamp(now_ns / 1e9).astimezone().strftime(self._logstash.date_format)
            date = (self._logstash.prefix_separator + today).encode()
        if self._metrics is not None:
            self._metrics.set_date(date)
            return await self._of_metrics(self._metrics, batch, mode)
        self._records.set_date(date)
        return await self._of_records(batch, date, mode)

    async def _of_records(self, batch: Batch, date: bytes, mode: bytes) -> Documents:
        documents = Documents()
        encoder = self._records
        pace = _Pace()
        for part in batch.parts:
            message: Any = None
            for number, section in enumerate(encoder.sections(part)):
                count = len(section.starts)
                asked = section.origin.mapping_mode
                chosen = self._modes.choose(asked, mode, documents) if asked or mode else OTEL
                if chosen != OTEL:
                    message = message or _message(batch.signal, part)
                    if message is None:
                        documents.note(f"mapping mode {chosen.decode()!r}: a text is no UTF-8: written in mode otel")
                        chosen = OTEL
                for first in range(0, count, RECORDS_AT_ONCE):
                    last = min(first + RECORDS_AT_ONCE, count)
                    if chosen == OTEL:
                        encoder.encode(section, first, last, documents)
                    else:
                        scope, records = _scope(message, batch.signal, number)
                        self._plain.encode(chosen, message.resource, scope, records[first:last], date, documents)
                    await pace.after(last - first)
        return documents

    async def _of_metrics(self, encoder: MetricEncoder, batch: Batch, mode: bytes) -> Documents:
        documents = Documents()
        groups = Groups()
        pace = _Pace()
        for part in batch.parts:
            for section in encoder.sections(part):
                if section.origin.mapping_mode or mode:
                    self._modes.choose(section.origin.mapping_mode, mode, documents)
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


def _message(signal: Signal, part: bytes) -> Any:
    """The part as a message; None where a text in it is no UTF-8."""
    try:
        return resource_message_class(signal.value).FromString(part)
    except DecodeError:
        return None


def _scope(message: Any, signal: Signal, number: int) -> tuple[Any, Any]:
    """A scope and its records."""
    if signal is Signal.LOGS:
        logs = message.scope_logs[number]
        return logs.scope, logs.log_records
    spans = message.scope_spans[number]
    return spans.scope, spans.spans
