"""Mapping modes other than otel, where they are not upstream's: test_upstream.py has what is the same."""

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from tests.exporters.elasticsearch.conftest import Start

from heliograph.testing.bulk_server import BulkServer
from heliograph.testing.telemetry import Telemetry


@pytest.mark.parametrize(
    ("mode", "signal", "why"),
    [
        ("ecs", "logs", "is not done here"),
        ("nope", "logs", "does not exist"),
        ("raw", "logs", "is not in mapping::allowed_modes"),
        ("bodymap", "traces", "is not possible for traces"),
        ("none", "metrics", "is not possible for metrics"),
    ],
)
async def test_modes_that_cannot_be_are_written_as_otel_and_told_once(
    mode: str, signal: str, why: str, start: Start, server: BulkServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Upstream refuses the whole request for each of these; here it is written in mode otel, with one warning."""
    exporter = await start(signal, mapping={"allowed_modes": ["otel", "none", "bodymap"]})
    for _ in range(3):
        await exporter.send(Telemetry(5).parts(signal), metadata={"x-elastic-mapping-mode": (mode,)})
    assert server.raw_documents
    assert all(b'"require_data_stream":true' in action for action, _ in server.raw_documents)
    assert sum(f"mapping mode {mode!r} {why}" in record.getMessage() for record in caplog.records) == 1


async def test_bodymap_counts_logs_without_a_map(start: Start, server: BulkServer) -> None:
    """Upstream skips them silently; the ledger has them."""
    exporter = await start("logs")
    records = [LogRecord(body=AnyValue(string_value="text")), LogRecord()]
    part = ResourceLogs(scope_logs=[ScopeLogs(log_records=records)]).SerializeToString()
    await exporter.send([part], metadata={"x-elastic-mapping-mode": ("bodymap",)})
    assert server.raw_documents == []
    assert exporter.account.dropped == {"no_map_body": 2}
    assert exporter.account.difference == 0
