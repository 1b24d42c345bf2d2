"""What a checker must know of OTLP's messages, as one table of bytes.

`MESSAGES` says for each message the kind of each field, by number. `TABLE` is made of it: a row of 256 entries for each
message, indexed by the tag (all of OTLP's tags are below 256, once decoded), so that one look-up answers both "which
field" and "is the wire type right". An entry is one of the actions below, or FIRST_ROW + the row of the message inside.

Rows at and above COUNTED are the messages that are counted: spans, log records, data points.
Source: opentelemetry-proto 1.10, files trace.proto, metrics.proto, logs.proto, resource.proto, common.proto; a test
compares this with the official descriptors.
"""

from typing import Final

MALFORMED: Final = 0  # no field has number 0, and wire types 3, 4, 6, 7 are not taken
SKIP_VARINT: Final = 1
SKIP_FIXED64: Final = 2
SKIP_FIXED32: Final = 3
SKIP_BYTES: Final = 4
TEXT: Final = 5
PACKED_FIXED64: Final = 6
PACKED_VARINT: Final = 7
WRONG_TYPE: Final = 8
FIRST_ROW: Final = 16

_KINDS: Final = {
    "varint": (0, SKIP_VARINT),
    "fixed64": (1, SKIP_FIXED64),
    "fixed32": (5, SKIP_FIXED32),
    "bytes": (2, SKIP_BYTES),
    "text": (2, TEXT),
}

MESSAGES: Final[dict[str, dict[int, str]]] = {
    "ExportTraceServiceRequest": {1: "ResourceSpans"},
    "ResourceSpans": {1: "Resource", 2: "ScopeSpans", 3: "text"},
    "ScopeSpans": {1: "InstrumentationScope", 2: "Span", 3: "text"},
    "ExportLogsServiceRequest": {1: "ResourceLogs"},
    "ResourceLogs": {1: "Resource", 2: "ScopeLogs", 3: "text"},
    "ScopeLogs": {1: "InstrumentationScope", 2: "LogRecord", 3: "text"},
    "ExportMetricsServiceRequest": {1: "ResourceMetrics"},
    "ResourceMetrics": {1: "Resource", 2: "ScopeMetrics", 3: "text"},
    "ScopeMetrics": {1: "InstrumentationScope", 2: "Metric", 3: "text"},
    "Metric": {
        1: "text",
        2: "text",
        3: "text",
        5: "Gauge",
        7: "Sum",
        9: "Histogram",
        10: "ExponentialHistogram",
        11: "Summary",
        12: "KeyValue",
    },
    "Gauge": {1: "NumberDataPoint"},
    "Sum": {1: "NumberDataPoint", 2: "varint", 3: "varint"},
    "Histogram": {1: "HistogramDataPoint", 2: "varint"},
    "ExponentialHistogram": {1: "ExponentialHistogramDataPoint", 2: "varint"},
    "Summary": {1: "SummaryDataPoint"},
    "Resource": {1: "KeyValue", 2: "varint", 3: "EntityRef"},
    "EntityRef": {1: "text", 2: "text", 3: "text", 4: "text"},
    "InstrumentationScope": {1: "text", 2: "text", 3: "KeyValue", 4: "varint"},
    "KeyValue": {1: "text", 2: "AnyValue", 3: "varint"},
    "AnyValue": {
        1: "text",
        2: "varint",
        3: "varint",
        4: "fixed64",
        5: "ArrayValue",
        6: "KeyValueList",
        7: "bytes",
        8: "varint",
    },
    "ArrayValue": {1: "AnyValue"},
    "KeyValueList": {1: "KeyValue"},
    "Event": {1: "fixed64", 2: "text", 3: "KeyValue", 4: "varint"},
    "Link": {1: "bytes", 2: "bytes", 3: "text", 4: "KeyValue", 5: "varint", 6: "fixed32"},
    "Status": {2: "text", 3: "varint"},
    "Exemplar": {2: "fixed64", 3: "fixed64", 4: "bytes", 5: "bytes", 6: "fixed64", 7: "KeyValue"},
    "Buckets": {1: "varint", 2: "packed varint"},
    "ValueAtQuantile": {1: "fixed64", 2: "fixed64"},
    # counted from here on
    "Span": {
        1: "bytes",
        2: "bytes",
        3: "text",
        4: "bytes",
        5: "text",
        6: "varint",
        7: "fixed64",
        8: "fixed64",
        9: "KeyValue",
        10: "varint",
        11: "Event",
        12: "varint",
        13: "Link",
        14: "varint",
        15: "Status",
        16: "fixed32",
    },
    "LogRecord": {
        1: "fixed64",
        2: "varint",
        3: "text",
        5: "AnyValue",
        6: "KeyValue",
        7: "varint",
        8: "fixed32",
        9: "bytes",
        10: "bytes",
        11: "fixed64",
        12: "text",
    },
    "NumberDataPoint": {
        2: "fixed64",
        3: "fixed64",
        4: "fixed64",
        5: "Exemplar",
        6: "fixed64",
        7: "KeyValue",
        8: "varint",
    },
    "HistogramDataPoint": {
        2: "fixed64",
        3: "fixed64",
        4: "fixed64",
        5: "fixed64",
        6: "packed fixed64",
        7: "packed fixed64",
        8: "Exemplar",
        9: "KeyValue",
        10: "varint",
        11: "fixed64",
        12: "fixed64",
    },
    "ExponentialHistogramDataPoint": {
        1: "KeyValue",
        2: "fixed64",
        3: "fixed64",
        4: "fixed64",
        5: "fixed64",
        6: "varint",
        7: "fixed64",
        8: "Buckets",
        9: "Buckets",
        10: "varint",
        11: "Exemplar",
        12: "fixed64",
        13: "fixed64",
        14: "fixed64",
    },
    "SummaryDataPoint": {
        2: "fixed64",
        3: "fixed64",
        4: "fixed64",
        5: "fixed64",
        6: "ValueAtQuantile",
        7: "KeyValue",
        8: "varint",
    },
}

ROWS: Final[dict[str, int]] = {name: row for row, name in enumerate(MESSAGES)}
COUNTED: Final[int] = ROWS["Span"]

REQUEST_ROWS: Final[dict[str, int]] = {
    "traces": ROWS["ExportTraceServiceRequest"],
    "metrics": ROWS["ExportMetricsServiceRequest"],
    "logs": ROWS["ExportLogsServiceRequest"],
}


def _row(fields: dict[int, str]) -> bytes:
    row = bytearray(256)
    unknown = {0: SKIP_VARINT, 1: SKIP_FIXED64, 2: SKIP_BYTES, 5: SKIP_FIXED32}
    for number in range(1, 32):
        for wire, action in unknown.items():
            row[number << 3 | wire] = action
    for number, kind in fields.items():
        for wire in range(8):
            row[number << 3 | wire] = WRONG_TYPE
        if kind == "packed fixed64":
            row[number << 3 | 1] = SKIP_FIXED64
            row[number << 3 | 2] = PACKED_FIXED64
        elif kind == "packed varint":
            row[number << 3 | 0] = SKIP_VARINT
            row[number << 3 | 2] = PACKED_VARINT
        elif kind in _KINDS:
            wire, action = _KINDS[kind]
            row[number << 3 | wire] = action
        else:
            row[number << 3 | 2] = FIRST_ROW + ROWS[kind]
    return bytes(row)


TABLE: Final[bytes] = b"".join([_row(fields) for fields in MESSAGES.values()])
"""256 entries for each message, in the order of MESSAGES."""
