"""otlp_grpc: endpoints, what it does with each status, balancing, and messages that are too large."""

from collections.abc import Callable
from typing import Any

import grpc.aio
import pytest

from heliograph.component.batch import DELIVERED, Context, Fate
from heliograph.component.errors import ConfigError, Overloaded, Permanent, Retryable, StartError
from heliograph.component.ids import Signal
from heliograph.config.decode import from_plain
from heliograph.exporters.otlp_grpc import FACTORY
from heliograph.otlp.check import check
from heliograph.otlp.messages import response_class
from heliograph.testing.exporter import NO_QUEUE, ExporterUnderTest
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.samples import sample

PARTS = [sample("logs", "shop", 8).SerializeToString()]
EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


class Peer:
    """A server of the official gRPC library. answer: gets the message and the call's context."""

    def __init__(self, answer: Callable[[bytes, Any], Any]) -> None:
        self.answer = answer
        self.metadata: list[dict[str, Any]] = []
        self.taken: list[bytes] = []
        self.port = 0

    async def __aenter__(self) -> "Peer":
        async def export(message: bytes, context: Any) -> bytes:
            self.metadata.append(dict(context.invocation_metadata()))
            answer = await self.answer(message, context)
            self.taken.append(message)
            return answer or b""

        handler = grpc.method_handlers_generic_handler(
            EXPORT.split("/")[1], {"Export": grpc.unary_unary_rpc_method_handler(export)}
        )
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((handler,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop(0)


async def take(message: bytes, context: Any) -> bytes:
    """Everything."""
    return b""


def aborts(code: grpc.StatusCode, text: str) -> Callable[[bytes, Any], Any]:
    """Nothing."""

    async def answer(message: bytes, context: Any) -> None:
        await context.abort(code, text)

    return answer


def exporter(port: int, **keys: Any) -> ExporterUnderTest:
    """One that sends once and raises what went wrong."""
    config = {"endpoint": f"127.0.0.1:{port}", "tls": {"insecure": True}, **NO_QUEUE, **keys}
    return ExporterUnderTest("otlp_grpc", "logs", config)


@pytest.mark.parametrize(
    "name", ["CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"]
)
async def test_statuses_that_may_pass_are_retryable(name: str) -> None:
    """Upstream's list; the message names endpoint, status and what the server said."""
    async with Peer(aborts(grpc.StatusCode[name], "not now")) as peer, exporter(peer.port) as ours:
        with pytest.raises(Retryable, match=f"127.0.0.1:{peer.port}: {name}: not now"):
            await ours.send(PARTS)


@pytest.mark.parametrize(
    "name",
    ["INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED"],
)
async def test_other_statuses_are_permanent(name: str) -> None:
    """Also RESOURCE_EXHAUSTED without RetryInfo."""
    code = grpc.StatusCode[name]
    async with Peer(aborts(code, "never")) as peer, exporter(peer.port) as ours:
        with pytest.raises(Permanent, match=f"{name}: never") as caught:
            await ours.send(PARTS)
    assert caught.value.code == code.value[0]


@pytest.mark.parametrize("name", ["UNAUTHENTICATED", "PERMISSION_DENIED"])
async def test_a_wrong_key_loses_nothing(name: str) -> None:
    """It is waited out, with what to look at."""
    async with Peer(aborts(grpc.StatusCode[name], "no such key")) as peer, exporter(peer.port) as ours:
        with pytest.raises(Retryable, match=f"{name}: no such key; the data is kept.*check headers, auth") as caught:
            await ours.send(PARTS)
        assert caught.value.after == 10
        peer.answer = take
        assert await ours.send(PARTS) == DELIVERED


async def test_backpressure_of_our_receiver_reaches_our_exporter_with_its_time() -> None:
    """RESOURCE_EXHAUSTED with RetryInfo is retryable after that time."""
    async with OTLPServer({"grpc": {}}) as server:
        server.sinks[Signal.LOGS].refuse = [Overloaded("full", 2.5)]
        async with exporter(server.ports["grpc"]) as ours:
            with pytest.raises(Retryable, match="RESOURCE_EXHAUSTED: full") as caught:
                await ours.send(PARTS)
            assert caught.value.after == 2.5
            assert await ours.send(PARTS) == DELIVERED


async def test_partial_success_is_counted_as_rejected() -> None:
    """The rejected items are dropped{rejected}, the rest is sent."""
    response = response_class("logs")()
    response.partial_success.rejected_log_records = 3

    async def answer(message: bytes, context: Any) -> bytes:
        body: bytes = response.SerializeToString()
        return body

    async with Peer(answer) as peer, exporter(peer.port) as ours:
        assert (await ours.send(PARTS)).fate is Fate.DROPPED
        account = ours.ledger[Signal.LOGS]
        assert (account.sent, dict(account.dropped)) == (5, {"rejected": 3})


async def test_a_message_that_is_too_large_is_cut_until_it_fits() -> None:
    """A receiver with a limit of 1 MiB gets 3 MB of logs in pieces, every record once."""
    message = sample("logs", "shop", 30)
    for record in message.scope_logs[0].log_records:
        record.body.string_value = "x" * 100_000
    async with (
        OTLPServer({"grpc": {"max_recv_msg_size_mib": 1}}) as server,
        exporter(server.ports["grpc"], compression="none") as ours,
    ):
        assert await ours.send([message.SerializeToString()]) == DELIVERED
        sink = server.sinks[Signal.LOGS]
        assert sink.items == 30
        times = [r.time_unix_nano for m in sink.messages for s in m.scope_logs for r in s.log_records]
        assert sorted(times) == [record.time_unix_nano for record in message.scope_logs[0].log_records]


async def test_calls_carry_what_is_configured() -> None:
    """Metadata, user agent, and what a client authenticator adds is not needed without one."""
    async with Peer(take) as peer, exporter(peer.port, headers={"X-Tenant": "acme"}) as ours:
        await ours.send(PARTS, Context(peer="1.2.3.4"))
        assert peer.metadata[0]["x-tenant"] == "acme"
        assert str(peer.metadata[0]["user-agent"]).startswith("Heliograph/")
        assert check("logs", peer.taken[0])[1] == 8


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:{}", "dns:///127.0.0.1:{}", "127.0.0.1:{}"])
async def test_schemes_do_not_matter_when_insecure(endpoint: str) -> None:
    """Plain text with `tls::insecure`, whatever stands in front."""
    async with (
        OTLPServer({"grpc": {}}) as server,
        exporter(0, endpoint=endpoint.format(server.ports["grpc"])) as ours,
    ):
        assert await ours.send(PARTS) == DELIVERED


async def test_without_insecure_tls_is_used_even_for_http() -> None:
    """As upstream: `http://` alone does not switch TLS off, and `https://` switches it on."""
    async with OTLPServer({"grpc": {}}) as server:
        port = server.ports["grpc"]
        for keys in (
            {"endpoint": f"http://127.0.0.1:{port}", "tls": {}},
            {"endpoint": f"https://127.0.0.1:{port}", "tls": {"insecure": True}},
        ):
            async with exporter(0, **keys) as ours:
                with pytest.raises(Retryable, match="TLS"):
                    await ours.send(PARTS)


async def test_credentials_are_not_sent_in_plain_text() -> None:
    """`auth` with `tls::insecure` does not start."""

    class Tokens:
        async def headers(self, context: Context) -> dict[str, str]:
            return {"authorization": "Bearer t"}

    ours = exporter(1, auth={"authenticator": "tokens"})
    ours.host.extensions["tokens"] = Tokens()
    with pytest.raises(StartError, match="plain text"):
        await ours.__aenter__()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "must not be empty"),
        ({"endpoint": "gateway"}, "has no port"),
        ({"endpoint": "gateway:http"}, "invalid port 'http'"),
        ({"endpoint": "unix:///tmp/x"}, "scheme unix:// is not supported"),
        ({"endpoint": "x:1", "compression": "lz4"}, "lz4"),
        ({"endpoint": "x:1", "balancer_name": "grpclb"}, "round_robin"),
        ({"endpoint": "x:1", "write_buffer_size": 1}, "remove this key"),
        ({"endpoint": "x:1", "tls": {"min_version": "1.3", "max_version": "1.2"}}, "above max_version"),
    ],
)
def test_mistakes_in_the_configuration_are_named(keys: dict[str, Any], problem: str) -> None:
    """Each by its key."""
    with pytest.raises(ConfigError, match=problem):
        from_plain(FACTORY.config, keys)
