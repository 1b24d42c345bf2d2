"""A cluster that lacks Elastic's OpenTelemetry templates: named in log and health; the documents wait."""

from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from tests.exporters.elasticsearch.conftest import Start

from heliograph.component.lifecycle import Status
from heliograph.testing.bulk_server import Answer, BulkServer
from heliograph.testing.clock import ManualClock
from heliograph.testing.wait import until

LACKING = Answer(item=lambda *_: (404, "index_not_found_exception"))
FAST = {"initial_interval": "5ms", "max_interval": "10ms"}


def log(**attributes: str) -> bytes:
    """A ResourceLogs with one log."""
    pairs = [
        KeyValue(key=key.replace("__", "."), value=AnyValue(string_value=text)) for key, text in attributes.items()
    ]
    return ResourceLogs(scope_logs=[ScopeLogs(log_records=[LogRecord(attributes=pairs)])]).SerializeToString()


async def test_documents_wait_for_a_missing_template(
    start: Start, server: BulkServer, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named with what to do, in the log once and in health; then the documents arrive and health is well."""
    exporter = await start("logs", retry=FAST)
    server.answers.extend([LACKING] * 4)
    await exporter.send([log(), log()])
    await until(lambda: exporter.account.sent == 2)
    assert len(server.stored) == 2
    assert (exporter.account.dead_lettered, exporter.account.difference) == (0, 0)
    assert all(action["require_data_stream"] for request in server.requests for action, _ in request.documents)
    troubles = [message for health, message in exporter.host.reports if health is Status.RECOVERABLE_ERROR]
    assert troubles
    assert all("logs-otel@template" in message and "8.16" in message for message in troubles)
    assert exporter.host.reports[-1][0] is Status.OK
    assert sum(record.getMessage().startswith("Elasticsearch has no index") for record in caplog.records) == 1


async def test_a_template_that_does_not_come_stays_in_health(start: Start, server: BulkServer) -> None:
    """After an hour the documents still wait and health still names the template; the first document that is taken
    ends it."""
    clock = ManualClock()
    exporter = await start("logs", clock=clock)
    server.always = LACKING
    for _ in range(60):
        await exporter.send([log()])
        await until(lambda: clock.sleeping > 0)
        await clock.advance(60)
    assert (exporter.account.dead_lettered, exporter.account.waiting) == (0, 60)
    status, message = exporter.host.reports[-1]
    assert status is Status.RECOVERABLE_ERROR
    assert "logs-otel@template" in message
    server.always = Answer()
    await until(lambda: clock.sleeping > 0)
    await clock.advance(60)
    await until(lambda: exporter.account.sent == 60)
    assert exporter.host.reports[-1][0] is Status.OK
    assert exporter.account.difference == 0


async def test_an_index_that_a_record_asks_for_holds_up_nobody(start: Start, server: BulkServer) -> None:
    """It has no template and never will: a dead letter at once, and the exporter is well."""
    exporter = await start("logs", retry=FAST)
    server.answers.append(LACKING)
    await exporter.send([log(elasticsearch__index="nowhere")])
    assert (len(server.requests), exporter.account.dead_lettered) == (1, 1)
    assert all(health is not Status.RECOVERABLE_ERROR for health, _ in exporter.host.reports)


def version(number: str, flavor: str = "default") -> tuple[int, object]:
    """What a cluster says of itself."""
    return 200, {"version": {"number": number, "build_flavor": flavor}}


def templates(**priorities: int) -> tuple[int, object]:
    """A list of templates by name, for logs of every dataset or of OpenTelemetry's only."""
    found = [
        {
            "name": name.replace("__", "@"),
            "index_template": {
                "index_patterns": ["logs-*.otel-*" if "otel" in name else "logs-*-*"],
                "priority": priority,
            },
        }
        for name, priority in priorities.items()
    ]
    return 200, {"index_templates": found}


FORBIDDEN = (403, {"error": {"type": "security_exception", "reason": "not for you"}, "status": 403})


@pytest.mark.parametrize(
    "cluster",
    [
        {"/_index_template": FORBIDDEN, "/": version("8.15.5")},
        {"/_index_template": (200, {}), "/": version("8.15.5")},
        {"/_index_template": FORBIDDEN, "/": version("7.17.0")},
        {"/_index_template": templates(logs=100), "/": version("9.2.0")},
        {"/_index_template": templates(logs=300, logs__otel=200)},
    ],
    ids=["by version", "no templates", "version 7", "removed", "overridden"],
)
async def test_a_cluster_that_would_take_them_under_another_template(
    start: Start, server: BulkServer, cluster: dict[str, Any]
) -> None:
    """It would index logs by its own `logs` template: it is sent none of them, and other indices are not held up; when
    it is mended the documents arrive."""
    clock = ManualClock()
    server.cluster = cluster
    exporter = await start("logs", clock=clock, retry=FAST)
    await exporter.send([log(), log(elasticsearch__index="mine"), log()])
    assert [action["_index"] for action, _ in server.stored] == ["mine"]
    assert (exporter.account.sent, exporter.account.waiting) == (1, 2)
    status, message = exporter.host.reports[-1]
    assert status is Status.RECOVERABLE_ERROR
    assert "logs-otel@template" in message
    await clock.advance(60)
    assert len(server.stored) == 1
    server.cluster = {"/_index_template": templates(logs=100, logs__otel=200)}
    await until(lambda: clock.sleeping > 0)
    await clock.advance(60)
    await until(lambda: exporter.account.sent == 3)
    assert exporter.host.reports[-1][0] is Status.OK
    assert exporter.account.difference == 0


@pytest.mark.parametrize(
    "cluster",
    [
        {"/_index_template": FORBIDDEN, "/": version("8.16.0")},
        {"/_index_template": FORBIDDEN, "/": version("9.2.0-SNAPSHOT")},
        {"/_index_template": FORBIDDEN, "/": version("8.11.0", "serverless")},
        {"/_index_template": FORBIDDEN, "/": FORBIDDEN},
        {"/_index_template": (200, [1]), "/": (200, {"version": None})},
        {"/_index_template": templates(logs=100, my_otel=150), "/": version("8.12.0")},
        {},
    ],
    ids=["8.16", "snapshot", "serverless", "forbidden", "nonsense", "own template", "no answers"],
)
async def test_a_cluster_that_has_them_or_does_not_say(
    start: Start, server: BulkServer, cluster: dict[str, Any]
) -> None:
    """The documents are sent at once."""
    server.cluster = cluster
    exporter = await start("logs", retry=FAST)
    await exporter.send([log()])
    assert (len(server.stored), exporter.account.sent) == (1, 1)
