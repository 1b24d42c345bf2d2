"""Dead letters and the real Elasticsearch of the lab."""

import uuid
from pathlib import Path

import aiohttp
import orjson
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from tests.exporters.elasticsearch.conftest import Start
from tests.exporters.elasticsearch.test_elasticsearch import search
from tests.exporters.elasticsearch.test_redrive import Letters

from heliograph.exporters.elasticsearch.bulk import ItemAnswer
from heliograph.exporters.elasticsearch.letters import waiting

pytestmark = [pytest.mark.elasticsearch, pytest.mark.timeout(180)]


async def test_redrive_indexes_each_letter_once_and_keeps_the_wrong_ones(
    tmp_path: Path, elasticsearch_url: str
) -> None:
    """Equal letters are so many documents; what is still wrong stays with the server's reason."""
    index = f"logs-redrive.otel-{uuid.uuid4().hex[:8]}"
    letters = Letters(tmp_path, elasticsearch_url)
    action = orjson.dumps({"create": {"_index": index, "require_data_stream": True}})
    lines = [
        action + b'\n{"@timestamp":"%b","body":{"text":"again"}}\n' % time
        for time in (b"2026-11-23T00:00:00Z", b"2026-11-23T00:00:00Z", b"no time")
    ]
    letters.writer.write([(line, ItemAnswer(404, "index_not_found_exception")) for line in lines], 10**18)
    code, out, _ = await letters.run("redrive")
    assert (code, out.splitlines()[0]) == (0, "2 sent, 0 were there already, 1 stay")
    assert letters.reasons == ["400 document_parsing_exception"]
    assert (await search(elasticsearch_url, index))["total"]["value"] == 2


async def test_what_no_template_is_for_becomes_no_plain_index(
    tmp_path: Path, elasticsearch_url: str, start: Start
) -> None:
    """Elasticsearch answers index_not_found_exception (404), by which a missing template is recognised."""
    index = f"nowhere-{uuid.uuid4().hex[:8]}"
    pair = KeyValue(key="elasticsearch.index", value=AnyValue(string_value=index))
    part = ResourceLogs(scope_logs=[ScopeLogs(log_records=[LogRecord(attributes=[pair])])]).SerializeToString()
    exporter = await start("logs", endpoint=elasticsearch_url)
    await exporter.send([part])
    assert exporter.account.dead_lettered == 1
    (letter,) = waiting(tmp_path / "dead" / "elasticsearch_es_logs.ndjson")
    assert letter.reason == "404 index_not_found_exception"
    async with aiohttp.ClientSession() as session, session.head(f"{elasticsearch_url}/{index}") as response:
        assert response.status == 404
