"""The same configuration and input through the upstream Collector and through us give the same attributes."""

import asyncio
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from heliograph.component.batch import Batch, Context
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.otlp.attributes import from_any_value
from heliograph.otlp.check import check
from heliograph.otlp.json import request_from_json, request_to_json
from heliograph.processors import attributes, resource
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer

pytestmark = pytest.mark.peer

_KEYS = (
    "text",
    "empty",
    "number",
    "negative",
    "ratio",
    "small",
    "large",
    "yes",
    "list",
    "map",
    "raw",
    "nothing",
    "digits",
)
ACTIONS: list[dict[str, Any]] = [
    *({"action": "insert", "key": f"copy.{key}", "from_attribute": key} for key in _KEYS),
    *({"action": "insert", "key": f"sha.{key}", "from_attribute": key} for key in _KEYS),
    {"action": "hash", "pattern": r"^sha\."},
    *({"action": "convert", "key": f"copy.{key}", "converted_type": "string"} for key in _KEYS),
    *({"action": "insert", "key": f"int.{key}", "from_attribute": key} for key in _KEYS),
    *({"action": "convert", "key": f"int.{key}", "converted_type": "int"} for key in _KEYS),
    *({"action": "insert", "key": f"double.{key}", "from_attribute": key} for key in _KEYS),
    *({"action": "convert", "key": f"double.{key}", "converted_type": "double"} for key in _KEYS),
    {"action": "upsert", "key": "number", "value": [1, "two", {"three": 3.5}]},
    {"action": "update", "key": "absent", "value": 1},
    {"action": "upsert", "key": "fallback", "from_attribute": "absent", "default_value": "d"},
    {"action": "extract", "key": "text", "pattern": r"^(?P<first>\w+) (?P<rest>.*)$"},
    {"action": "insert", "key": "tenant", "from_context": "metadata.x-tenant"},
    {"action": "insert", "key": "peer", "from_context": "client.address"},
    {"action": "delete", "pattern": "^yes$|^list"},
    {"action": "DELETE", "key": "map"},
]
CONTEXT = Context("127.0.0.1", "http", {"x-tenant": ("blue",)})


def _fill(target: Any) -> None:
    target.add(key="text").value.string_value = "GET /a<b>&c"
    target.add(key="empty").value.string_value = ""
    target.add(key="number").value.int_value = 5
    target.add(key="negative").value.int_value = -(1 << 62)
    target.add(key="ratio").value.double_value = 2.5
    target.add(key="small").value.double_value = 1.5e-7
    target.add(key="large").value.double_value = 1e21
    target.add(key="yes").value.bool_value = True
    values = target.add(key="list").value.array_value.values
    values.add().double_value = 3.0
    values.add().string_value = "x<y"
    pairs = target.add(key="map").value.kvlist_value.values
    pairs.add(key="z").value.bool_value = False
    pairs.add(key="a").value.bytes_value = b"\x01\x02"
    target.add(key="raw").value.bytes_value = b"\x00\xff"
    target.add(key="nothing").value.SetInParent()
    target.add(key="digits").value.string_value = "+17"


def _input() -> bytes:
    request = ExportLogsServiceRequest()
    part = request.resource_logs.add()
    _fill(part.resource.attributes)
    scope = part.scope_logs.add()
    for body, severity in (("first", 9), ("second", 17), ("third", 0)):
        record = scope.log_records.add(severity_number=severity, time_unix_nano=1)
        record.body.string_value = body
        _fill(record.attributes)
    body: bytes = request.SerializeToString()
    return body


CONFIGS: dict[str, Any] = {
    "resource": {"attributes": ACTIONS},
    "attributes": {
        "actions": ACTIONS,
        "include": {"log_severity_number": {"min": 1, "match_undefined": True}},
        "exclude": {"match_type": "regexp", "log_bodies": ["^sec"]},
    },
}


def _comparable(body: bytes) -> Any:
    message = ExportLogsServiceRequest.FromString(body)
    return [
        (
            {pair.key: _typed(from_any_value(pair.value)) for pair in part.resource.attributes},
            [
                {pair.key: _typed(from_any_value(pair.value)) for pair in record.attributes}
                for scope in part.scope_logs
                for record in scope.log_records
            ],
        )
        for part in message.resource_logs
    ]


def _differences(ours: Any, theirs: Any) -> list[Any]:
    """(key, ours, theirs) of each attribute that differs, for a message one can read."""
    flat = [[one for resource, records in side for one in (resource, *records)] for side in (ours, theirs)]
    assert len(flat[0]) == len(flat[1])
    return [
        (key, one.get(key), other.get(key))
        for one, other in zip(*flat, strict=True)
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _typed(value: Any) -> Any:
    return (type(value).__name__, value)


async def _ours(name: str, body: bytes) -> bytes:
    factory = {"resource": resource.FACTORY, "attributes": attributes.FACTORY}[name]
    sink = SinkConsumer()
    processor: Any = factory.create(
        settings("processor", name, "logs", {"logs": sink}), from_plain(factory.config, CONFIGS[name])
    )
    parts, items = check("logs", body)
    await processor.consume(Batch(Signal.LOGS, parts, items, context=CONTEXT))
    message = ExportLogsServiceRequest(resource_logs=sink.messages)
    serialized: bytes = message.SerializeToString()
    return serialized


@pytest.mark.parametrize("name", CONFIGS)
async def test_same_attributes_as_upstream(
    name: str, upstream_collector: Callable[[str], Any], free_port: Callable[[], int], tmp_path: Path
) -> None:
    port, output = free_port(), tmp_path / "out.json"
    upstream_collector(
        yaml.safe_dump(
            {
                "receivers": {
                    "otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}", "include_metadata": True}}}
                },
                "processors": {name: CONFIGS[name]},
                "exporters": {"file": {"path": str(output), "flush_interval": "50ms"}},
                "service": {
                    "telemetry": {"metrics": {"level": "none"}},
                    "pipelines": {"logs": {"receivers": ["otlp"], "processors": [name], "exporters": ["file"]}},
                },
            }
        )
    )
    body = _input()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/logs",
        request_to_json("logs", body),
        {"Content-Type": "application/json", "X-Tenant": "blue"},
    )
    with await asyncio.to_thread(urllib.request.urlopen, request) as answer:
        assert answer.status == 200
    end = time.monotonic() + 10
    while not (output.exists() and output.read_bytes().endswith(b"\n")):
        assert time.monotonic() < end, "upstream wrote nothing"
        await asyncio.sleep(0.02)
    theirs = request_from_json("logs", output.read_bytes())
    assert _differences(_comparable(await _ours(name, body)), _comparable(theirs)) == []
