"""The `resource` processor: each action, memory of results, and the request's context."""

import hashlib
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph.component.batch import Batch, Context
from heliograph.component.errors import ConfigError
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.otlp.attributes import encode_attributes, from_any_value
from heliograph.otlp.wire import field
from heliograph.processors.resource import FACTORY
from heliograph.processors.resource.config import ResourceConfig
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer


async def _run(actions: list[dict[str, Any]], given: dict[str, Any], context: Context | None = None) -> dict[str, Any]:
    sink = SinkConsumer()
    config = from_plain(ResourceConfig, {"attributes": actions})
    processor = FACTORY.create(settings("processor", "resource", "logs", {"logs": sink}), config)
    part = field(1, encode_attributes(given)) + field(2, field(2, field(5, b"\x0a\x04line")))
    await processor.consume(Batch(Signal.LOGS, [part], 1, context=context or Context()))  # type: ignore[attr-defined]
    message = ResourceLogs.FromString(sink.parts[0])
    assert message.scope_logs[0].log_records[0].body.string_value == "line"
    return {pair.key: from_any_value(pair.value) for pair in message.resource.attributes}


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "insert when absent": ({"action": "insert", "key": "a", "value": 1}, {}, {"a": 1}),
    "insert leaves what is there": ({"action": "insert", "key": "a", "value": 1}, {"a": "x"}, {"a": "x"}),
    "update when present": ({"action": "update", "key": "a", "value": [1, "b"]}, {"a": "x"}, {"a": [1, "b"]}),
    "update leaves what is absent": ({"action": "update", "key": "a", "value": 1}, {}, {}),
    "upsert, upper case, a map": ({"action": "UPSERT", "key": "a", "value": {"k": True}}, {"a": 1}, {"a": {"k": True}}),
    "from another attribute": (
        {"action": "insert", "key": "b", "from_attribute": "a"},
        {"a": 2.5},
        {"a": 2.5, "b": 2.5},
    ),
    "from an absent one": ({"action": "upsert", "key": "b", "from_attribute": "z"}, {"b": 1}, {"b": 1}),
    "default": ({"action": "upsert", "key": "b", "from_attribute": "z", "default_value": "d"}, {"b": 1}, {"b": "d"}),
    "delete": ({"action": "delete", "key": "a"}, {"a": 1, "b": 2}, {"b": 2}),
    "delete by pattern": ({"action": "delete", "pattern": "^k8s\\."}, {"k8s.a": 1, "k8s.b": 1, "c": 2}, {"c": 2}),
    "hash of text": ({"action": "hash", "key": "a"}, {"a": "abc"}, {"a": _sha(b"abc")}),
    "hash of a number": ({"action": "hash", "key": "a"}, {"a": 5}, {"a": _sha((5).to_bytes(8, "little"))}),
    "hash by pattern": ({"action": "hash", "pattern": "b"}, {"a": "x", "b": True}, {"a": "x", "b": _sha(b"\x01")}),
    "extract": (
        {"action": "extract", "key": "u", "pattern": "^(?P<host>[^:]+):(?<port>\\d+)$"},
        {"u": "shop:80", "port": 1},
        {"u": "shop:80", "port": "80", "host": "shop"},
    ),
    "extract without a match": ({"action": "extract", "key": "u", "pattern": "(?P<n>\\d)"}, {"u": "x"}, {"u": "x"}),
    "convert to int": ({"action": "convert", "key": "a", "converted_type": "int"}, {"a": "42"}, {"a": 42}),
    "convert keeps what is no number": (
        {"action": "convert", "key": "a", "converted_type": "int"},
        {"a": "4x"},
        {"a": "4x"},
    ),
    "convert to double": ({"action": "convert", "key": "a", "converted_type": "double"}, {"a": True}, {"a": 1.0}),
    "convert to string": ({"action": "convert", "key": "a", "converted_type": "string"}, {"a": 1e21}, {"a": "1e+21"}),
    "convert a map": (
        {"action": "convert", "key": "a", "converted_type": "string"},
        {"a": {"z": [1, 2.5], "b": "<"}},
        {"a": '{"b":"<","z":[1,2.5]}'},
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_action(name: str) -> None:
    action, given, expected = CASES[name]
    assert await _run([action], given) == expected


async def test_actions_run_in_order() -> None:
    actions = [
        {"action": "insert", "key": "b", "from_attribute": "a"},
        {"action": "delete", "key": "a"},
        {"action": "hash", "key": "b"},
    ]
    assert await _run(actions, {"a": "abc"}) == {"b": _sha(b"abc")}


async def test_values_come_from_the_request() -> None:
    context = Context("10.0.0.7", "grpc", {"x-tenant": ("blue", "green")}, {"subject": "me"})
    actions = [
        {"action": "insert", "key": key, "from_context": key}
        for key in ("metadata.X-Tenant", "x-tenant", "auth.subject", "client.address", "metadata.none", "auth.none")
    ]
    assert await _run(actions, {}, context) == {
        "metadata.X-Tenant": "blue;green",
        "x-tenant": "blue;green",
        "auth.subject": "me",
        "client.address": "10.0.0.7",
    }


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        ({"action": "rename", "key": "a"}, "unsupported action"),
        ({"action": "insert", "value": 1}, "key is needed"),
        ({"action": "insert", "key": "a"}, "one of value"),
        ({"action": "insert", "key": "a", "value": 1, "from_attribute": "b"}, "only one of"),
        ({"action": "insert", "key": "a", "value": 1, "pattern": "x"}, "does not use it"),
        ({"action": "delete"}, "at least one of key and pattern"),
        ({"action": "delete", "pattern": "("}, "invalid regular expression"),
        ({"action": "extract", "key": "a"}, "is needed"),
        ({"action": "extract", "key": "a", "pattern": "(x)"}, "without a name"),
        ({"action": "convert", "key": "a", "converted_type": "bool"}, "must be one of"),
    ],
)
def test_a_wrong_action_is_refused_with_what_is_wrong(action: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        from_plain(ResourceConfig, {"attributes": [action]})


def test_no_action_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one action"):
        from_plain(ResourceConfig, {})
