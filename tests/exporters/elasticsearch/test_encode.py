"""Documents from bytes: golden ones that one can read, and what holds for all input."""

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.component.batch import Batch
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.exporters.elasticsearch.config import ElasticsearchConfig
from heliograph.exporters.elasticsearch.discover import addresses
from heliograph.exporters.elasticsearch.documents import Documents
from heliograph.exporters.elasticsearch.encoding import BatchEncoder
from heliograph.exporters.elasticsearch.histogram import lower_bound
from heliograph.exporters.elasticsearch.json_text import float_text, json_string, plain_float
from heliograph.exporters.elasticsearch.logs import LogEncoder
from heliograph.exporters.elasticsearch.metrics import Groups, MetricEncoder
from heliograph.exporters.elasticsearch.record import Options, RecordEncoder
from heliograph.exporters.elasticsearch.spans import SpanEncoder
from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.messages import resource_message_class
from heliograph.testing.telemetry import Telemetry

GOLDEN = Path(__file__).with_name("golden")


def encode(signal: str, parts: list[bytes], encoder: Any = None) -> Documents:
    """The documents of parts."""
    documents = Documents()
    if signal == "metrics":
        encoder = encoder or MetricEncoder(b"")
        groups = Groups()
        for part in parts:
            for section in encoder.sections(part):
                for number in range(len(section.starts)):
                    metric = encoder.metric(section, number, documents)
                    encoder.group(metric, 0, len(metric.points), section.origin, groups, documents)
        encoder.finish(groups.all(), documents)
        return documents
    options = Options(logs_dynamic_id=True, traces_dynamic_id=True)
    encoder = encoder or (LogEncoder(options) if signal == "logs" else SpanEncoder(options))
    assert isinstance(encoder, RecordEncoder)
    for part in parts:
        for section in encoder.sections(part):
            encoder.encode(section, 0, len(section.starts), documents)
    return documents


@pytest.mark.parametrize("case", sorted(path.name.removesuffix(".otlp.json") for path in GOLDEN.glob("*.otlp.json")))
def test_golden(case: str) -> None:
    """<case>.otlp.json (a Resource* message by signal) gives exactly the lines of <case>.ndjson."""
    content = json.loads((GOLDEN / f"{case}.otlp.json").read_text())
    ((signal, message),) = content.items()
    part = ParseDict(message, resource_message_class(signal)()).SerializeToString()
    assert b"".join(encode(signal, [part]).lines).decode() == (GOLDEN / f"{case}.ndjson").read_text()


@pytest.mark.parametrize("signal", ["logs", "traces"])
def test_splitting_the_input_changes_no_document(signal: str) -> None:
    """However records are spread over resources and batches, the same documents come out."""
    source = random.Random(7)
    for seed in range(20):
        parts = Telemetry(seed).parts(signal)
        whole = sorted(encode(signal, parts).lines)
        pieces: list[bytes] = []
        field = {"logs": ("scope_logs", "log_records"), "traces": ("scope_spans", "spans")}[signal]
        for part in parts:
            message = resource_message_class(signal).FromString(part)
            for scope in getattr(message, field[0]):
                for record in getattr(scope, field[1]):
                    piece = type(message)(resource=message.resource, schema_url=message.schema_url)
                    inner = getattr(piece, field[0]).add(scope=scope.scope, schema_url=scope.schema_url)
                    getattr(inner, field[1]).append(record)
                    pieces.append(piece.SerializeToString())
        source.shuffle(pieces)
        assert sorted(line for piece in pieces for line in encode(signal, [piece]).lines) == whole


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
def test_memory_changes_no_document(signal: str) -> None:
    """An encoder that has seen everything before writes what a new one writes."""
    options = Options(logs_dynamic_id=True, traces_dynamic_id=True)
    used: Any = {"logs": LogEncoder, "traces": SpanEncoder}.get(signal, lambda _: MetricEncoder(b""))(options)
    for _ in range(2):
        for seed in range(20):
            parts = Telemetry(seed).parts(signal)
            assert encode(signal, parts, used).lines == encode(signal, parts).lines


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
def test_every_item_is_in_a_document_or_left_out(signal: str) -> None:
    """Items of documents and of what was left out add up to what came in."""
    for seed in range(30):
        parts = Telemetry(seed).parts(signal)
        documents = encode(signal, parts)
        expected = sum(items(signal, part) for part in parts)
        assert sum(documents.items) + sum(documents.left_out.values()) == expected


def items(signal: str, part: bytes) -> int:
    """Spans, log records or data points, by the official classes."""
    message = resource_message_class(signal).FromString(part)
    if signal == "logs":
        return sum(len(scope.log_records) for scope in message.scope_logs)
    if signal == "traces":
        return sum(len(scope.spans) for scope in message.scope_spans)
    total = 0
    for scope in message.scope_metrics:
        for metric in scope.metrics:
            kind = metric.WhichOneof("data")
            total += len(getattr(metric, kind).data_points) if kind else 0
    return total


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
def test_damaged_bytes_raise_one_error(signal: str) -> None:
    """Cut off or changed anywhere: documents that are JSON, or MalformedPayload; nothing else ever."""
    source = random.Random(3)
    for seed in range(40):
        (part,) = Telemetry(seed).parts(signal, resources=1, records=2)
        for _ in range(40):
            damaged = bytearray(part[: source.randrange(len(part) + 1)])
            for _ in range(source.randrange(3)):
                if damaged:
                    damaged[source.randrange(len(damaged))] = source.randrange(256)
            try:
                lines = encode(signal, [bytes(damaged)]).lines
            except MalformedPayload:
                continue
            for line in lines:
                for text in line.splitlines():
                    orjson.loads(text)


def test_values_nested_without_end_are_refused() -> None:
    """Deeper than the limit: MalformedPayload, no crash."""
    value = b"\x0a\x01x"
    for _ in range(5000):
        inner = b"\x0a" + length(value) + value
        value = b"\x2a" + length(inner) + inner
    body = b"\x2a" + length(value) + value
    record = b"\x12" + length(body) + body
    scope = b"\x12" + length(record) + record
    with pytest.raises(MalformedPayload, match="nested"):
        encode("logs", [scope])


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
async def test_a_big_batch_lets_others_run(signal: str) -> None:
    """No stretch of encoding takes the event loop for more than 50 ms of CPU."""
    parts = Telemetry(1).parts(signal, resources=2, records=600)
    encoder = BatchEncoder(from_plain(ElasticsearchConfig, {"endpoint": "http://localhost:9200"}), Signal(signal))
    batch = Batch(Signal(signal), parts, sum(items(signal, part) for part in parts))
    encoding = asyncio.ensure_future(encoder.encode(batch, 0))
    longest = 0.0
    turns = 0
    while not encoding.done():
        before = time.thread_time()
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
        turns += 1
    assert len((await encoding).lines) > 500
    assert turns > 3
    assert longest < 0.05


def length(data: bytes) -> bytes:
    """The varint of a length."""
    number, out = len(data), bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=500, deadline=None)
def test_doubles_read_back_the_same(value: float) -> None:
    """Both spellings keep every bit; the document's one is recognisable as a double."""
    text = float_text(value)
    assert float(text) == value
    assert b"." in text
    assert float(plain_float(value)) == value


@given(st.binary(max_size=40))
@settings(max_examples=500, deadline=None)
def test_strings_are_json_whatever_the_bytes(raw: bytes) -> None:
    """Text comes back as it was; a byte that is no UTF-8 is U+FFFD; nothing that ends a script or a line stays."""
    text = json_string(raw)
    expected = raw.decode("utf-8", "surrogateescape")
    expected = "".join("\ufffd" if "\udc80" <= letter <= "\udcff" else letter for letter in expected)
    assert json.loads(text) == expected
    assert not any(byte in text[1:-1] for byte in b"<>&\n")
    assert b"\xe2\x80\xa8" not in text


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_the_short_ways_of_strings_are_right(text: str) -> None:
    """The same for text alone, which mostly takes them."""
    assert json.loads(json_string(text.encode("utf-8", "surrogatepass"))) == "".join(
        "\ufffd" * 3 if "\ud800" <= letter <= "\udfff" else letter for letter in text
    )


@pytest.mark.parametrize(
    ("scale", "index"),
    [(-(1 << 31), 5), ((1 << 31) - 1, 5), (-70, 1 << 31), (20, 1 << 31), (63, 1), (64, -1), (0, -(1 << 31))],
)
def test_absurd_scales_cost_nothing(scale: int, index: int) -> None:
    """Whatever the wire says, a bound comes out at once."""
    assert lower_bound(index, scale) >= 0.0


def test_node_addresses() -> None:
    """Names before IP addresses; dedicated masters take no requests; anything else gives none."""
    nodes = {
        "a": {"roles": ["data", "ingest"], "http": {"publish_address": "es-1.example/10.0.0.1:9200"}},
        "b": {"roles": ["master"], "http": {"publish_address": "10.0.0.2:9200"}},
        "c": {"roles": ["master", "data"], "http": {"publish_address": "10.0.0.3:9200"}},
        "d": {"roles": ["data"]},
    }
    assert addresses(orjson.dumps({"nodes": nodes}), "https") == ["https://es-1.example:9200", "https://10.0.0.3:9200"]
    for body in (b"", b"[]", b'{"nodes":5}', b'{"nodes":{"a":5}}'):
        assert addresses(body, "http") == []
