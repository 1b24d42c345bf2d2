"""headers_setter: actions, sources, and what the three exporters send with it for whom."""

from pathlib import Path
from typing import Any

import pytest

from heliograph import catalog
from heliograph.component.auth import ClientAuth, HeaderEditor
from heliograph.component.batch import NO_CONTEXT, Batch, Completion, Context, Outcome
from heliograph.component.errors import ConfigError, Permanent, StartError
from heliograph.component.ids import Kind, Signal
from heliograph.config.decode import from_plain
from heliograph.testing.bulk_server import BulkServer
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.settings import settings
from heliograph.testing.telemetry import Telemetry
from heliograph.testing.wait import until

TENANT = [{"key": "X-Tenant", "from_context": "X-Tenant", "default_value": "nobody"}]


async def started(headers: list[dict[str, Any]], host: TestHost | None = None, **keys: Any) -> Any:
    """An extension, started."""
    factory = catalog.factory(Kind.EXTENSION, "headers_setter")
    config = from_plain(factory.config, {"headers": headers, **keys})
    extension: Any = factory.create(settings("extension", "headers_setter"), config)
    await extension.start(host or TestHost())
    return extension


async def test_actions_work_in_turn_on_the_headers_that_are_there() -> None:
    """insert only what is missing, update only what is there, upsert, delete; an empty value is one."""
    extension = await started(
        [
            {"action": "insert", "key": "Here", "value": "inserted"},
            {"action": "insert", "key": "New", "value": "inserted"},
            {"action": "update", "key": "Old", "value": "updated"},
            {"action": "update", "key": "Missing", "value": "updated"},
            {"action": "upsert", "key": "Both", "value": "upserted"},
            {"key": "Neither", "value": ""},
            {"action": "delete", "key": "Gone"},
            {"action": "update", "key": "New", "value": "inserted and updated"},
        ]
    )
    assert isinstance(extension, HeaderEditor)
    assert isinstance(extension, ClientAuth)
    before = {"here": "1", "old": "1", "both": "1", "gone": "1", "other": "1"}
    after = {"here": "1", "old": "updated", "both": "upserted", "other": "1", "neither": ""}
    assert await extension.edit(before, NO_CONTEXT) == {**after, "new": "inserted and updated"}
    assert before["old"] == "1", "what was given is left alone"


async def test_values_come_from_who_sent_the_data_and_from_files(tmp_path: Path) -> None:
    """Request header (any case), authenticator, file that changes; defaults; several values are none."""
    file, clock = tmp_path / "value", ManualClock()
    file.write_text("one\n")
    extension = await started(
        [
            {"key": "tenant", "from_context": "X-Tenant", "default_value": "d1"},
            {"key": "user", "from_attribute": "username", "default_value": "d2"},
            {"key": "plain", "from_context": "x-none"},
            {"key": "file", "value_file": str(file)},
        ],
        TestHost(clock=clock),
    )
    assert await extension.headers(NO_CONTEXT) == {"tenant": "d1", "user": "d2", "plain": "", "file": "one"}
    file.write_text("another")
    await clock.advance(1.1)
    context = Context(metadata={"x-tenant": ("acme",)}, auth={"username": "ada"})
    assert await extension.headers(context) == {"tenant": "acme", "user": "ada", "plain": "", "file": "another"}
    with pytest.raises(Permanent, match="2 values"):
        await extension.headers(Context(metadata={"x-tenant": ("acme", "evil")}))


async def test_another_authenticator_may_come_first() -> None:
    """additional_auth: its headers are seen by the actions, and they are a secret."""
    factory = catalog.factory(Kind.EXTENSION, "bearertokenauth")
    bearer: Any = factory.create(settings("extension", "bearertokenauth"), from_plain(factory.config, {"token": "t"}))
    host = TestHost(extensions={"bearertokenauth": bearer})
    await bearer.start(host)
    actions = [{"action": "insert", "key": "authorization", "value": "other"}, {"key": "a", "value": "b"}]
    extension = await started(actions, host, additional_auth="bearertokenauth")
    assert await extension.edit({"x": "y"}, NO_CONTEXT) == {"x": "y", "authorization": "Bearer t", "a": "b"}
    assert extension.needs_tls
    assert not (await started(actions)).needs_tls
    with pytest.raises(StartError):
        await started(actions, additional_auth="missing")


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ([], "missing headers"),
        ([{"value": "x"}], "missing header name"),
        ([{"key": "x"}], "missing header source"),
        ([{"key": "x", "value": "a", "from_context": "b"}], "only one source"),
        ([{"key": "x", "value": "a", "action": "replace"}], "action"),
    ],
)
def test_mistakes_in_the_configuration_are_named(headers: list[dict[str, Any]], problem: str) -> None:
    """Upstream's rules."""
    with pytest.raises(ConfigError, match=problem):
        from_plain(catalog.factory(Kind.EXTENSION, "headers_setter").config, {"headers": headers})


class Exporting:
    """An exporter of logs with `headers_setter`, and batches of tenants for it."""

    def __init__(self, type_: str, extension: object, **keys: Any) -> None:
        factory = catalog.factory(Kind.EXPORTER, type_)
        plain = {"auth": {"authenticator": "headers_setter"}, "headers": {"x-fixed": "1", "x-gone": "1"}, **keys}
        made = settings("exporter", type_, Signal.LOGS)
        self.exporter: Any = factory.create(made, from_plain(factory.config, plain))
        self.host = TestHost(extensions={"headers_setter": extension})
        self.outcomes: list[Outcome] = []

    async def send(self, tenant: str, port: str) -> None:
        """A batch whose request headers differ from every other's."""
        parts = Telemetry(len(port)).parts("logs")
        context = Context(metadata={"x-tenant": (tenant,), "x-port": (port,)} if tenant else {"x-port": (port,)})
        completion = Completion(self.outcomes.append)
        await self.exporter.consume(Batch(Signal.LOGS, parts, 1, context=context, completion=completion))

    async def __aenter__(self) -> "Exporting":
        await self.exporter.start(self.host)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.exporter.shutdown(self.host.clock.monotonic() + 2)
        await self.host.close()


QUEUE = {"batch": {"flush_timeout": "20ms", "min_size": 1000000, "partition": {"metadata_keys": ["X-Tenant"]}}}
BY_ITEMS = {**QUEUE, "batch": {**QUEUE["batch"], "sizer": "items"}}
ACTIONS = [*TENANT, {"key": "x-gone", "action": "delete"}]


async def rounds(exporting: Exporting) -> None:
    """Two requests of each of two tenants and of nobody, interleaved, so that the queue joins them by tenant."""
    for port in ("1", "22"):
        for tenant in ("acme", "umbrella", ""):
            await exporting.send(tenant, port)
    await until(lambda: len(exporting.outcomes) == 6)


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_otlp_exporters_send_each_batch_in_its_tenants_name(transport: str) -> None:
    """Batched by tenant, the header arrives; configured headers can be deleted; no TLS is asked for."""
    setter = await started(ACTIONS)
    async with OTLPServer({transport: {"include_metadata": True}}) as server:
        port = server.ports[transport]
        keys = (
            {"endpoint": f"127.0.0.1:{port}", "tls": {"insecure": True}}
            if transport == "grpc"
            else {"endpoint": f"http://127.0.0.1:{port}"}
        )
        async with Exporting(f"otlp_{transport}", setter, sending_queue=BY_ITEMS, **keys) as exporting:
            await rounds(exporting)
        metadata = [batch.context.metadata for batch in server.sinks[Signal.LOGS].batches]
    assert sorted(each["x-tenant"] for each in metadata) == [("acme",), ("nobody",), ("umbrella",)]
    assert {each["x-fixed"] for each in metadata} == {("1",)}
    assert not any("x-gone" in each for each in metadata)


async def test_the_elasticsearch_exporter_sends_each_batch_in_its_tenants_name(tmp_path: Path) -> None:
    """The same, with metadata_keys of the exporter's own."""
    setter = await started(ACTIONS)
    queue = {"batch": {"flush_timeout": "20ms"}}
    async with BulkServer() as server:
        more: dict[str, Any] = {"dead_letters": {"directory": str(tmp_path)}, "metadata_keys": ["x-tenant"]}
        async with Exporting("elasticsearch", setter, endpoint=server.url, sending_queue=queue, **more) as exporting:
            await rounds(exporting)
        headers = [{name.lower(): value for name, value in request.headers.items()} for request in server.requests]
    assert sorted(each["x-tenant"] for each in headers) == ["acme", "nobody", "umbrella"]
    assert all(each["x-fixed"] == "1" and "x-gone" not in each for each in headers)
