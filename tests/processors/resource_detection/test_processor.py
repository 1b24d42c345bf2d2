"""What is detected, how it is merged into resources, and that it equals the upstream Collector's."""

import asyncio
import json
import os
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph.component.batch import Batch
from heliograph.component.errors import ConfigError
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.otlp.attributes import from_any_value
from heliograph.processors.resource_detection import FACTORY
from heliograph.processors.resource_detection.config import ResourceDetectionConfig, SystemAttributes
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer

VARIABLE = "OTEL_RESOURCE_ATTRIBUTES"


@pytest.fixture
def environment() -> Iterator[Callable[[str], None]]:
    before = os.environ.get(VARIABLE)

    def set_(value: str) -> None:
        os.environ[VARIABLE] = value

    yield set_
    if before is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = before


def logs(*attributes: tuple[str, str], schema_url: str = "") -> bytes:
    message = ResourceLogs(schema_url=schema_url)
    for name, value in attributes:
        message.resource.attributes.add(key=name).value.string_value = value
    message.scope_logs.add().log_records.add().body.string_value = "x"
    return bytes(message.SerializeToString())


async def process(config: dict[str, Any], *parts: bytes) -> tuple[list[ResourceLogs], TestHost]:
    sink = SinkConsumer()
    made = settings("processor", "resource_detection", "logs", outputs={Signal.LOGS: sink})
    processor = FACTORY.create(made, from_plain(ResourceDetectionConfig, config))
    async with TestHost() as host:
        await processor.start(host)
        await processor.consume(Batch(Signal.LOGS, parts, len(parts)))
        await processor.shutdown(0)
    return sink.messages, host


def attributes(message: ResourceLogs) -> dict[str, Any]:
    return {pair.key: from_any_value(pair.value) for pair in message.resource.attributes}


async def test_env(environment: Callable[[str], None]) -> None:
    environment("a=b, c=d%20e ,service.name=x,n=5")
    (message,), host = await process({}, logs(("service.name", "mine"), ("k", "v")))
    assert attributes(message) == {"k": "v", "a": "b", "c": "d e", "service.name": "x", "n": "5"}
    assert message.scope_logs[0].log_records[0].body.string_value == "x"
    assert host.status is Status.OK


async def test_override_false_keeps_what_came_in(environment: Callable[[str], None]) -> None:
    environment("service.name=x,n=5")
    (message,), _ = await process({"override": False}, logs(("service.name", "mine")))
    assert attributes(message) == {"service.name": "mine", "n": "5"}


async def test_first_detector_wins(environment: Callable[[str], None]) -> None:
    environment("host.name=from-env")
    (message,), _ = await process({"detectors": ["env", "system"]}, logs())
    assert attributes(message)["host.name"] == "from-env"
    assert attributes(message)["os.type"] == "linux"


async def test_a_broken_variable_is_named_and_not_used(environment: Callable[[str], None]) -> None:
    environment("a=b,junk")
    (message,), host = await process({}, logs(("k", "v")))
    assert attributes(message) == {"k": "v"}
    assert host.status is Status.RECOVERABLE_ERROR
    assert "'junk'" in host.reports[-1][1]


async def test_schema_url_is_kept_when_there_is_one() -> None:
    messages, _ = await process({"detectors": ["system"]}, logs(schema_url="mine"), logs())
    assert [message.schema_url for message in messages] == ["mine", "https://opentelemetry.io/schemas/1.40.0"]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"detectors": ["heroku"]}, "'heroku' is not supported"),
        ({"ec2": {"tags": ["("]}}, "tags"),
        ({"detectors": ["sytem"]}, "unknown detector"),
        ({"detectors": []}, "at least one"),
        ({"vultr": {}}, "vultr"),
        ({"system": {"resource_attributes": {"host.nam": {"enabled": True}}}}, "host.nam"),
        ({"system": {"hostname_sources": ["bogus"]}}, "bogus"),
    ],
)
def test_refused_configuration(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        from_plain(ResourceDetectionConfig, config)


@pytest.mark.peer
async def test_the_same_as_upstream(
    upstream_collector: Callable[[str], Any], free_port: Callable[[], int], tmp_path: Path
) -> None:
    """Every attribute of the system detector has the value that the upstream Collector finds on this machine. Its
    interfaces may change between the two looks: then both look again."""
    for last in (False, False, True):
        mine, theirs = await _both(upstream_collector, free_port(), tmp_path / f"{free_port()}.json")
        if mine == theirs or last:
            break
    assert mine == theirs
    assert all(re.fullmatch(r"([0-9A-F]{2}-){5}[0-9A-F]{2}", address) for address in mine["host.mac"])


async def _both(start: Callable[[str], Any], port: int, output: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes that we and the upstream Collector find."""
    config = {
        "detectors": ["system"],
        "system": {"resource_attributes": {name: {"enabled": True} for name in SystemAttributes.DEFAULTS}},
    }
    collector = start(
        json.dumps(
            {
                "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
                "processors": {"resource_detection": config},
                "exporters": {"file": {"path": str(output)}},
                "service": {
                    "telemetry": {"metrics": {"level": "none"}},
                    "pipelines": {
                        "logs": {"receivers": ["otlp"], "processors": ["resource_detection"], "exporters": ["file"]}
                    },
                },
            }
        )
    )
    await asyncio.to_thread(_send_one_log, port, output)
    collector.stop()
    (found,) = json.loads(await asyncio.to_thread(output.read_text))["resourceLogs"]
    theirs = {pair["key"]: _plain(pair["value"]) for pair in found["resource"]["attributes"]}
    (message,), _ = await process(config, logs())
    assert message.schema_url == found["schemaUrl"]
    return attributes(message), theirs


def _send_one_log(port: int, output: Path) -> None:
    body = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"}}]}]}]}'
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/logs", body, {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(request).close()
    end = time.monotonic() + 10
    while not output.exists() or not output.read_text().endswith("\n"):
        assert time.monotonic() < end
        time.sleep(0.02)


def _plain(value: dict[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    if kind == "arrayValue":
        return [_plain(item) for item in inner["values"]]
    return int(inner) if kind == "intValue" else inner
