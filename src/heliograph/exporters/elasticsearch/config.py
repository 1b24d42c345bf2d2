"""Configuration of the elasticsearch exporter: upstream's keys and defaults, and one of ours (`dead_letters`).

Where upstream would lose data the same keys mean a little more here: see `retry`, and docs/adr/0004.
Source: config.go and config.schema.yaml of exporter/elasticsearchexporter 0.156.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from heliograph.component.config import ByteSize, Duration, Secret, key
from heliograph.delivery.config import BatchConfig, BatchSizer, QueueConfig, RetryConfig, duplicates
from heliograph.exporters.elasticsearch.modes import KNOWN, canonical
from heliograph.net.address import is_url
from heliograph.net.config import Compression, CompressionParams, HTTPClientConfig

_FLUSH_TIMEOUT = Duration(10)
_MAX_SIZE = 5_000_000
_CONSUMERS = 10
_NO_OP = "documents are always routed dynamically: remove it"
_NEEDED_IN_ANSWER = ("items.*.status", "items.*.error.type")
DEFAULT_FILTER_PATH = "items.*._index,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkBatch(BatchConfig):
    """Joins requests; sizes are those of the OTLP data. A bulk request is never greater than max_size either."""

    flush_timeout: Duration = key(_FLUSH_TIMEOUT, "Time after which a batch is sent whatever its size.")
    sizer: BatchSizer | None = key("bytes", "Unit of min_size and max_size: items or bytes.")
    min_size: int = key(1_000_000, "A batch is sent as soon as it has this size.")
    max_size: int = key(_MAX_SIZE, "A batch is never greater; what is greater is split. 0: no limit.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkQueue(QueueConfig):
    """What waits between the pipeline and the sending."""

    num_consumers: int = key(_CONSUMERS, "How many bulk requests are sent at the same time.")
    queue_size: int = key(10, "How much the queue holds, in units of sizer; what is being sent counts too.")
    block_on_overflow: bool = key(
        True, "true waits for room in a full queue; false refuses, the sender keeps the data."
    )
    batch: BulkBatch | None = key(BulkBatch, "Join requests into batches.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkCompression(CompressionParams):
    """How hard gzip tries."""

    level: int = key(1, "1 (fast) to 9; 0 or -1 for the default.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkRetry:
    """When documents are sent again. Whole requests and single documents that get 429 or any 5xx, and requests that
    get no answer, 401 or 403, are always worth another attempt; nothing is given up unless max_retries is set."""

    enabled: bool = key(True, "false: one attempt; what failed then is kept as dead letters.")
    max_requests: int = key(0, "Attempts in all.", deprecated="use max_retries (one less)")
    max_retries: int = key(0, "Give up after this many further attempts and keep dead letters; 0: never give up.")
    initial_interval: Duration = key(Duration(0.1), "Wait after the first failure; it doubles with each.")
    max_interval: Duration = key(Duration(60), "No wait is longer, unless the server asks for it by Retry-After.")
    retry_on_status: list[int] = key(lambda: [429], "More statuses worth another attempt.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.max_requests and self.max_retries:
            yield "max_requests", "must not be given together with max_retries"
        for name in ("max_requests", "max_retries", "initial_interval", "max_interval"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"

    @property
    def attempts(self) -> int:
        """Attempts in all; 0: no limit."""
        if not self.enabled:
            return 1
        return self.max_requests or (self.max_retries + 1 if self.max_retries else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushConfig:
    """Old names of keys of sending_queue::batch; used where those have their defaults."""

    bytes: int = key(0, "Use sending_queue::batch::max_size.", deprecated="use sending_queue::batch::max_size")
    interval: Duration = key(
        Duration(0), "Use sending_queue::batch::flush_timeout.", deprecated="use sending_queue::batch::flush_timeout"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingConfig:
    """The document's form: `otel` unless a scope or a request asks for another one."""

    mode: str = key("otel", "No effect.", deprecated="scopes and requests choose the mode, else it is otel: remove it")
    allowed_modes: list[str] = key(
        lambda: sorted(KNOWN),
        "Modes that scopes and requests may ask for; otel must be among them. A request asks by "
        "X-Elastic-Mapping-Mode, which a queue that batches keeps only where metadata_keys names it.",
    )

    def check(self) -> Iterator[tuple[str, str]]:
        mode = canonical(self.mode)
        if mode != "otel":
            known = "is not done here" if mode == "ecs" else "has no effect here" if mode in KNOWN else "does not exist"
            yield (
                "mode",
                f"mapping mode {self.mode!r} {known}: remove the key; a scope chooses by its attribute "
                "elastic.mapping.mode, a request by X-Elastic-Mapping-Mode, and all else is written in mode otel",
            )
        for name in self.allowed_modes:
            if canonical(name) not in KNOWN:
                yield "allowed_modes", f"unknown mapping mode {name!r}; known: {', '.join(KNOWN)}"
        if "otel" not in (canonical(name) for name in self.allowed_modes):
            yield "allowed_modes", "what asks for nothing is written in mode otel: add otel"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverConfig:
    """Ask the cluster for its nodes."""

    on_start: bool = key(False, "Ask at start.")
    interval: Duration = key(Duration(0), "Ask again after this time; 0: never.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.interval < 0:
            yield "interval", "must not be negative; 0 never asks"


_DATE = frozenset("aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%")
"""Letters of strftime's directives (POSIX and glibc)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogstashFormat:
    """Indices with a date at their end."""

    enabled: bool = key(False, "Append the date to the index.")
    prefix_separator: str = key("-", "What stands between index and date.")
    date_format: str = key("%Y.%m.%d", "The date, in strftime's notation, local time.")

    def check(self) -> Iterator[tuple[str, str]]:
        unknown = [name for name in re.findall(r"%(.?)", self.date_format) if name not in _DATE]
        if unknown:
            yield "date_format", f"no directive of strftime: {', '.join(f'%{name}' for name in unknown)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """On or off."""

    enabled: bool = key(False, "Whether it is done.")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOpSwitch:
    """Something that upstream once did not do."""

    enabled: bool = key(False, "No effect.", deprecated=_NO_OP)


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """What is written to our own log at level debug. It may hold sensitive data."""

    log_request_body: bool = key(False, "Log bodies of requests.")
    log_response_body: bool = key(False, "Log bodies of answers.")
    log_failed_docs_input: bool = key(False, "Log documents that the server rejected.")
    log_failed_docs_input_rate_limit: Duration = key(Duration(1), "At most one such document in this time; 0: all.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterConfig:
    """Where documents are kept that the server will never take: a file of JSON lines with reason and document."""

    enabled: bool = key(True, "false drops them; they are counted by reason.")
    directory: str = key(
        "", "Folder of the files. Empty: that of the storage extension of sending_queue, else ./dead-letters."
    )
    max_size: ByteSize = key(ByteSize(100 * 1024 * 1024), "The file is never greater; what comes then is dropped.")

    def check(self) -> Iterator[tuple[str, str]]:
        if self.max_size < 0:
            yield "max_size", "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockedIndexConfig:
    """Where documents wait for an index that takes none for now (blocked, read-only, full disk, closed, forbidden,
    without shards or template) while others go on: in files beside the queue on disk, else beside the dead letters."""

    max_size: ByteSize = key(
        ByteSize(256 * 1024 * 1024),
        "The files are never greater, all indices together; what comes then becomes dead letters, or waits in the "
        "queue when no other index takes documents. 0: they wait in the queue, and hold up the rest.",
    )

    def check(self) -> Iterator[tuple[str, str]]:
        if self.max_size < 0:
            yield "max_size", "must not be negative"


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticsearchConfig(HTTPClientConfig):
    """Writes OTel-native documents to Elasticsearch data streams by bulk requests."""

    endpoint: str = key("", "URL of Elasticsearch. Exactly one of endpoint, endpoints, cloudid, or $ELASTICSEARCH_URL.")
    endpoints: list[str] = key(list, "URLs of its nodes, used in turn.")
    cloudid: str = key("", "Cloud ID of an Elastic Cloud deployment.")
    user: str = key("", "User for basic authentication.")
    password: Secret = key(Secret(""), "Password for basic authentication.")
    api_key: Secret = key(Secret(""), "API key, in its encoded form.")
    timeout: Duration = key(Duration(90), "Longest time of a request; 0: none.")
    compression: Compression = key("gzip", "gzip or none.")
    compression_params: BulkCompression = key(BulkCompression, "Parameters of the compression.")
    sending_queue: BulkQueue = key(BulkQueue, "What waits to be sent.")
    retry: BulkRetry = key(BulkRetry, "When documents are sent again.")
    flush: FlushConfig = key(FlushConfig, "Old names of sending_queue::batch.", deprecated="use sending_queue::batch")
    num_workers: int = key(
        0, "Old name of sending_queue::num_consumers.", deprecated="use sending_queue::num_consumers"
    )
    logs_index: str = key("", "Send all logs and span events to this index.")
    metrics_index: str = key("", "Send all metrics to this index.")
    traces_index: str = key("", "Send all spans to this index.")
    logs_dynamic_index: NoOpSwitch = key(NoOpSwitch, "No effect.")
    metrics_dynamic_index: NoOpSwitch = key(NoOpSwitch, "No effect.")
    traces_dynamic_index: NoOpSwitch = key(NoOpSwitch, "No effect.")
    logs_dynamic_id: Switch = key(Switch, "Attribute elasticsearch.document_id of a log is the document's id.")
    traces_dynamic_id: Switch = key(Switch, "Attribute elasticsearch.document_id of a span is the document's id.")
    logs_dynamic_pipeline: Switch = key(Switch, "Attribute elasticsearch.ingest_pipeline of a log names its pipeline.")
    own_ids: Switch = key(
        Switch,
        "In mode otel, logs and spans that bring no id get one made of the request's bytes: sent again they are stored "
        "once. Without it, Elasticsearch makes the ids, which is a little cheaper for it.",
    )
    pipeline: str = key("", "Ingest pipeline for all documents.")
    logstash_format: LogstashFormat = key(LogstashFormat, "Indices with a date.")
    mapping: MappingConfig = key(MappingConfig, "The document's form.")
    discover: DiscoverConfig = key(DiscoverConfig, "Ask the cluster for its nodes.")
    include_source_on_error: bool | None = key(
        None, "Whether answers quote rejected documents; needs Elasticsearch 8.18."
    )
    bulk_response_filter_path: str = key("", f"What answers hold; empty: {DEFAULT_FILTER_PATH}")
    suppress_conflict_errors: bool = key(
        False, "No effect: a document that is there already (409) counts as delivered and is never logged."
    )
    metadata_keys: list[str] = key(list, "Request headers; requests whose values differ are batched separately.")
    telemetry: TelemetryConfig = key(TelemetryConfig, "What is written to our own log.")
    dead_letters: DeadLetterConfig = key(DeadLetterConfig, "Where rejected documents are kept.")
    blocked_index: BlockedIndexConfig = key(BlockedIndexConfig, "Where documents wait for an index that takes none.")

    def check(self) -> Iterator[tuple[str, str]]:
        yield from HTTPClientConfig.check(self)
        given = [name for name in ("endpoint", "endpoints", "cloudid") if getattr(self, name)]
        if len(given) > 1:
            yield given[1], f"exactly one of endpoint, endpoints and cloudid is possible, and {given[0]} is given too"
        elif not given and not os.environ.get("ELASTICSEARCH_URL"):
            yield "endpoint", "exactly one of endpoint, endpoints, cloudid must be given, or $ELASTICSEARCH_URL be set"
        else:
            yield from self._check_urls(given[0] if given else "endpoint")
        if self.compression not in ("none", "gzip"):
            yield "compression", f"must be gzip or none, not {self.compression!r}"
        for signal in ("logs", "metrics", "traces"):
            if getattr(self, f"{signal}_index") and getattr(self, f"{signal}_dynamic_index").enabled:
                yield f"{signal}_index", f"must not be given together with {signal}_dynamic_index"
        if self.num_workers < 0:
            yield "num_workers", f"must not be negative: {self.num_workers}"
        for name in duplicates(self.metadata_keys):
            yield "metadata_keys", f"duplicate entry {name!r} (upper and lower case are the same)"
        paths = self.bulk_response_filter_path
        if paths and not all(any(_covers(path, part) for path in paths.split(",")) for part in _NEEDED_IN_ANSWER):
            yield "bulk_response_filter_path", f"must hold {' and '.join(_NEEDED_IN_ANSWER)}: the exporter reads them"

    def _check_urls(self, name: str) -> Iterator[tuple[str, str]]:
        try:
            urls = self.urls()
        except ValueError as error:
            yield name, str(error)
            return
        for url in urls:
            if not is_url(url):
                yield name, f"{url!r} is no http:// or https:// URL"

    def urls(self) -> list[str]:
        """Where to send: what is configured, or $ELASTICSEARCH_URL. Raises ValueError for a broken cloudid."""
        if self.endpoint:
            return [self.endpoint]
        if self.endpoints:
            return list(self.endpoints)
        if self.cloudid:
            return [_cloud_url(self.cloudid)]
        return [url.strip() for url in os.environ.get("ELASTICSEARCH_URL", "").split(",")]

    def queue(self) -> QueueConfig:
        """The sending queue with what the old keys and metadata_keys say."""
        queue: QueueConfig = self.sending_queue
        if self.num_workers > 0 and queue.num_consumers == _CONSUMERS:
            queue = replace(queue, num_consumers=self.num_workers)
        batch = queue.batch
        if batch is None:
            return queue
        if self.flush.interval > 0 and batch.flush_timeout == _FLUSH_TIMEOUT:
            batch = replace(batch, flush_timeout=self.flush.interval)
        if self.flush.bytes > 0 and batch.max_size == _MAX_SIZE and queue.batch_sizer == "bytes":
            batch = replace(batch, max_size=self.flush.bytes, min_size=min(batch.min_size, self.flush.bytes))
        if self.metadata_keys and not batch.partition.metadata_keys:
            names = [name.lower() for name in self.metadata_keys]
            batch = replace(batch, partition=replace(batch.partition, metadata_keys=names))
        return replace(queue, batch=batch)

    def pauses(self) -> RetryConfig:
        """How long delivery waits between attempts; when to give up is decided by the sender."""
        return RetryConfig(
            enabled=True,
            initial_interval=self.retry.initial_interval,
            randomization_factor=0.25,
            multiplier=2.0,
            max_interval=self.retry.max_interval,
            max_elapsed_time=Duration(0),
        )

    @property
    def max_bulk_bytes(self) -> int:
        """Bytes of NDJSON in one bulk request."""
        queue = self.queue()
        batch = queue.batch
        if batch is None or not batch.enabled or queue.batch_sizer != "bytes" or batch.max_size <= 0:
            return _MAX_SIZE
        return batch.max_size


def _covers(path: str, wanted: str) -> bool:
    """Whether a filter path lets a field through: wildcards by segment, a prefix means all below."""
    have, want = path.strip().split("."), wanted.split(".")
    if "**" in have:
        return True
    return len(have) <= len(want) and all(part in ("*", name) for part, name in zip(have, want, strict=False))


def _cloud_url(cloudid: str) -> str:
    """The address in a Cloud ID: `name:base64(host$elasticsearch$kibana)`. Raises ValueError."""
    _, colon, encoded = cloudid.partition(":")
    try:
        host, *rest = base64.b64decode(encoded, validate=True).decode().split("$")
    except (binascii.Error, UnicodeDecodeError):
        colon, host, rest = "", "", []
    if not colon or not host or not rest or not rest[0]:
        raise ValueError("this is no Cloud ID: it looks like `name:base64`, copy it from the Elastic Cloud console")
    return f"https://{rest[0]}.{host}"
