"""OTLP/JSON to protobuf and back; what is no OTLP/JSON is malformed, however deep or odd."""

import json
import math

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from heliograph.otlp.errors import MalformedPayload
from heliograph.otlp.json import request_from_json, request_to_json

SPAN = {
    "traceId": "0102030405060708090A0b0c0d0e0f10",
    "spanId": "1112131415161718",
    "name": "GET /",
    "kind": 2,
    "startTimeUnixNano": "1700000000123456789",
    "attributes": [{"key": "traceId", "value": {"stringValue": "not hexadecimal"}}],
}


def test_ids_are_hexadecimal_and_attribute_values_are_not() -> None:
    text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}).encode()
    body = request_from_json("traces", text)
    (span,) = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert span.trace_id == bytes(range(1, 17))
    assert span.start_time_unix_nano == 1700000000123456789
    assert span.attributes[0].value.string_value == "not hexadecimal"
    again = json.loads(request_to_json("traces", body))
    found = again["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert found["traceId"] == SPAN["traceId"].lower()  # type: ignore[attr-defined]
    assert request_from_json("traces", json.dumps(again).encode()) == body


def test_odd_numbers() -> None:
    points = [{"asDouble": "NaN"}, {"asDouble": "-Infinity"}, {"asInt": "9007199254740993"}, {"asInt": 5}]
    request = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": points}}]}]}]}
    body = request_from_json("metrics", json.dumps(request).encode())
    found = ExportMetricsServiceRequest.FromString(body).resource_metrics[0].scope_metrics[0].metrics[0].gauge
    values = [getattr(point, point.WhichOneof("value")) for point in found.data_points]
    assert math.isnan(values[0])
    assert values[1:] == [-math.inf, 9007199254740993, 5]


def test_unknown_fields_are_ignored() -> None:
    body = request_from_json("logs", b'{"resourceLogs":[{"new":{"a":[1]},"scopeLogs":[{"logRecords":[{}]}]}],"x":null}')
    assert len(ExportLogsServiceRequest.FromString(body).resource_logs[0].scope_logs[0].log_records) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"resourceLogs":5}',
        b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"zz"}]}]}]}',
        b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"0102"}]}]}]}',
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":'
        + b'{"arrayValue":{"values":[' * 2_000
        + b"{}"
        + b"]}}" * 2_000
        + b"}]}]}]}",
        b'{"resourceLogs":"\xff"}',
    ],
)
def test_malformed(text: bytes) -> None:
    with pytest.raises(MalformedPayload):
        request_from_json("logs", text)


def span_with(fields: str) -> bytes:
    return b'{"resourceSpans":[{"scopeSpans":[{"spans":[{%s}]}]}]}' % fields.encode()


@pytest.mark.parametrize(("value", "kind"), [("2", 2), ('"SPAN_KIND_SERVER"', 2), ("99", 99), ("-3", -3), ("null", 0)])
def test_enums_by_number_or_name(value: str, kind: int) -> None:
    """A name, a number, and a number that a later version of OTLP may know."""
    request = ExportTraceServiceRequest.FromString(request_from_json("traces", span_with(f'"kind":{value}')))
    assert request.resource_spans[0].scope_spans[0].spans[0].kind == kind


@pytest.mark.parametrize("value", ['"NONSENSE"', '""', '"2"', "2.5", "true", "[2]", '{"a":1}', "99999999999"])
def test_enums_that_are_none_are_refused(value: str) -> None:
    """As upstream: they would otherwise be dropped without a word."""
    with pytest.raises(MalformedPayload, match=r"kind|range"):
        request_from_json("traces", span_with(f'"kind":{value}'))
    with pytest.raises(MalformedPayload, match=r"code|range"):
        request_from_json("traces", span_with(f'"status":{{"code":{value}}}'))


def test_unknown_fields_hold_anything() -> None:
    """What looks like an id or an enum in a field that OTLP does not have is not judged."""
    assert request_from_json("traces", span_with('"new":{"traceId":"zz","kind":"NONSENSE"}')) == request_from_json(
        "traces", span_with("")
    )
