"""otlp_http: what it does with each answer of a server."""

import email.utils
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from aiohttp import web

from heliograph.component.batch import DELIVERED, Fate
from heliograph.component.errors import ConfigError, Permanent, Retryable, StartError
from heliograph.component.ids import Kind, Signal
from heliograph.config.decode import from_plain
from heliograph.exporters.otlp_http import FACTORY
from heliograph.net.http.client import retry_after
from heliograph.net.http.status import encode_status, encode_status_json
from heliograph.otlp.check import check
from heliograph.otlp.messages import response_class
from heliograph.testing.exporter import NO_QUEUE, ExporterUnderTest
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.samples import sample
from heliograph.testing.settings import settings
from heliograph.testing.wait import until

PARTS = [sample("logs", "shop", 8).SerializeToString()]


class Server:
    """Records requests and answers by `answer`."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.BaseRequest, bytes]] = []
        self.answer: Callable[[bytes], web.Response] = lambda body: web.Response(status=200)
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request, body))
        return self.answer(body)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    runner = web.ServerRunner(web.Server(server.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


def exporter(server: Server, **keys: Any) -> ExporterUnderTest:
    """One that sends once and raises what went wrong."""
    return ExporterUnderTest("otlp_http", "logs", {"endpoint": server.url, "compression": "none", **NO_QUEUE, **keys})


def items_in(body: bytes) -> int:
    """Log records in a request."""
    return check("logs", body)[1]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_temporary_statuses_are_retryable(status: int, server: Server) -> None:
    """With Retry-After as a number, and with the server's message."""
    said = encode_status(14, "come back later")
    server.answer = lambda body: web.Response(
        status=status, body=said, content_type="application/x-protobuf", headers={"Retry-After": "7"}
    )
    async with exporter(server) as ours:
        with pytest.raises(Retryable, match=f"/v1/logs answered {status}: come back later") as caught:
            await ours.send(PARTS)
    assert caught.value.after == 7


@pytest.mark.parametrize(("status", "code"), [(400, 3), (500, 2), (501, 2)])
async def test_other_statuses_are_permanent(status: int, code: int, server: Server) -> None:
    """With the endpoint, the status and what the server said, in JSON."""
    said = encode_status_json(code, "never")
    server.answer = lambda body: web.Response(status=status, body=said, content_type="application/json")
    async with exporter(server) as ours:
        with pytest.raises(Permanent, match=f"/v1/logs answered {status}: never") as caught:
            await ours.send(PARTS)
    assert caught.value.code == code


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_wrong_key_or_path_loses_nothing(status: int, server: Server) -> None:
    """It is waited out, with what to look at."""
    server.answer = lambda body: web.Response(status=status, text="no")
    async with exporter(server) as ours:
        with pytest.raises(Retryable, match=f"/v1/logs answered {status}.*kept.*check endpoint, headers") as caught:
            await ours.send(PARTS)
        assert caught.value.after == 10


def test_retry_after_is_a_number_or_a_date() -> None:
    """RFC 9110; what cannot be read is as if it were not there."""
    now = time.time()
    assert retry_after("30", now) == 30
    assert retry_after(email.utils.formatdate(now + 60, usegmt=True), now) == pytest.approx(60, abs=1)
    assert retry_after(email.utils.formatdate(now - 60, usegmt=True), now) == 0
    for text in (None, "", "soon", "-1", "9" * 50, "²"):
        assert retry_after(text, now) is None


async def test_partial_success_is_counted_as_rejected(server: Server) -> None:
    """The rejected items are dropped{rejected}, the rest is sent."""
    response = response_class("logs")()
    response.partial_success.rejected_log_records = 3
    response.partial_success.error_message = "too old"
    server.answer = lambda body: web.Response(body=response.SerializeToString(), content_type="application/x-protobuf")
    async with exporter(server) as ours:
        assert (await ours.send(PARTS)).fate is Fate.DROPPED
        account = ours.ledger[Signal.LOGS]
        assert (account.sent, dict(account.dropped)) == (5, {"rejected": 3})


async def test_a_refused_connection_names_the_url() -> None:
    """Retryable."""
    keys = {"endpoint": "http://127.0.0.1:1", **NO_QUEUE}
    async with ExporterUnderTest("otlp_http", "logs", keys) as ours:
        with pytest.raises(Retryable, match=r"http://127\.0\.0\.1:1/v1/logs: cannot connect: Connection refused"):
            await ours.send(PARTS)


async def test_tls_where_plain_http_is_spoken_is_said_in_those_words(server: Server) -> None:
    """Not as the system's error of the same number ("Operation not permitted")."""
    keys = {"endpoint": server.url.replace("http:", "https:")}
    async with ExporterUnderTest("otlp_http", "logs", {**keys, **NO_QUEUE}) as ours:
        with pytest.raises(Retryable, match=r"/v1/logs: TLS: .*; is TLS spoken there"):
            await ours.send(PARTS)


async def test_a_connection_that_the_server_closes_is_replaced(server: Server) -> None:
    """The second request finds its connection closed without an answer, as a server does that counts it as idle."""

    def answer(body: bytes) -> web.Response:
        transport = server.requests[-1][0].transport
        if len(server.requests) == 2 and transport is not None:
            transport.close()
        return web.Response()

    server.answer = answer
    async with exporter(server) as ours:
        for _ in range(3):
            assert await ours.send(PARTS) == DELIVERED
    assert len(server.requests) == 4


async def test_a_batch_that_is_too_large_is_cut_until_it_fits(server: Server) -> None:
    """413 above three records: eight records arrive in pieces, each once."""
    taken: list[int] = []

    def answer(body: bytes) -> web.Response:
        items = items_in(body)
        if items > 3:
            return web.Response(status=413)
        taken.append(items)
        return web.Response()

    server.answer = answer
    async with exporter(server) as ours:
        assert await ours.send(PARTS) == DELIVERED
        assert taken == [2, 2, 2, 2]
        assert ours.ledger[Signal.LOGS].sent == 8


async def test_pieces_that_arrived_are_not_sent_again(server: Server) -> None:
    """The second half fails once: only it is tried again."""
    taken: list[bytes] = []
    failed: list[int] = []

    def answer(body: bytes) -> web.Response:
        if items_in(body) > 4:
            return web.Response(status=413)
        if taken and not failed:
            failed.append(1)
            return web.Response(status=503)
        taken.append(body)
        return web.Response()

    server.answer = answer
    retry = {"retry_on_failure": {"initial_interval": "10ms", "max_interval": "10ms"}}
    async with exporter(server, **retry) as ours:
        assert await ours.send(PARTS) == DELIVERED
    assert [items_in(body) for body in taken] == [4, 4]
    assert taken[0] != taken[1]


async def test_a_single_item_that_is_too_large_is_given_up(server: Server) -> None:
    """Alone: permanent. In a batch: rejected{too_large}, the others arrive."""
    one = [sample("logs", "shop", 1).SerializeToString()]
    server.answer = lambda body: web.Response(status=413)
    async with exporter(server) as ours:
        with pytest.raises(Permanent, match="a single item, which cannot be cut"):
            await ours.send(one)
    first = b"service.name"
    large = sample("logs", "x" * 20_000, 1).SerializeToString()
    server.answer = lambda body: web.Response(status=413 if len(body) > 20_000 and first in body else 200)
    async with exporter(server) as ours:
        assert (await ours.send([*PARTS, large])).reason == "rejected"
        account = ours.ledger[Signal.LOGS]
        assert (account.sent, dict(account.dropped)) == (8, {"too_large": 1})


async def test_requests_carry_what_is_configured(server: Server) -> None:
    """Headers, user agent, content type, encoding."""
    async with exporter(server, headers={"X-Tenant": "acme"}, compression="gzip") as ours:
        await ours.send(PARTS)
    headers = server.requests[0][0].headers
    assert (headers["X-Tenant"], headers["Content-Type"]) == ("acme", "application/x-protobuf")
    assert headers["Content-Encoding"] == "gzip"
    assert headers["User-Agent"].startswith("Heliograph/")


async def test_own_endpoints_of_signals_win(server: Server) -> None:
    """`logs_endpoint` is taken as it is; a signal without any endpoint cannot start."""
    keys = {"logs_endpoint": f"{server.url}/custom", **NO_QUEUE}
    async with ExporterUnderTest("otlp_http", "logs", keys) as ours:
        await ours.send(PARTS)
    assert server.requests[0][0].path == "/custom"
    with pytest.raises(StartError, match="set endpoint or traces_endpoint"):
        await ExporterUnderTest("otlp_http", "traces", keys).__aenter__()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "at least one endpoint must be specified"),
        ({"endpoint": "gateway:4318"}, "must be a valid URL"),
        ({"endpoint": "http://gate way:4318"}, "must be a valid URL"),
        ({"endpoint": "http://gateway:99999"}, "must be a valid URL"),
        ({"endpoint": "http://x", "compression": "br"}, "br"),
        ({"endpoint": "http://x", "compression": "gzip", "compression_params": {"level": 12}}, "not -1 to 9"),
        ({"endpoint": "http://x", "max_idle_conns": 5}, "max_conns_per_host"),
        ({"endpoint": "http://x", "tls": {"ca_file": "a", "ca_pem": "b"}}, "not both"),
    ],
)
def test_mistakes_in_the_configuration_are_named(keys: dict[str, Any], problem: str) -> None:
    """Each by its key."""
    with pytest.raises(ConfigError, match=problem):
        from_plain(FACTORY.config, keys)


async def test_backpressure_of_our_receiver_reaches_our_exporter_with_its_time() -> None:
    """Overloaded behind the receiver: Retryable here, with Retry-After, and nothing is lost."""
    from heliograph.component.errors import Overloaded

    async with OTLPServer({"http": {}}) as server:
        sink = server.sinks[Signal.LOGS]
        sink.refuse = [Overloaded("full", 3.0)]
        url = f"http://127.0.0.1:{server.ports['http']}"
        async with ExporterUnderTest("otlp_http", "logs", {"endpoint": url, **NO_QUEUE}) as ours:
            with pytest.raises(Retryable, match="429: full") as caught:
                await ours.send(PARTS)
            assert caught.value.after == 3
            assert await ours.send(PARTS) == DELIVERED
        assert sink.items == 8


async def test_the_queue_delivers_and_closes_the_ledger(server: Server) -> None:
    """With upstream's default queue."""
    async with ExporterUnderTest("otlp_http", "logs", {"endpoint": server.url}) as ours:
        assert [await ours.send(PARTS) for _ in range(5)] == [DELIVERED] * 5
        await until(lambda: ours.ledger[Signal.LOGS].sent == 40, "all to be counted")


def test_it_is_registered() -> None:
    """Under its canonical name, with upstream's deprecated alias."""
    parts: Sequence[object] = (FACTORY.kind, FACTORY.type, FACTORY.aliases)
    assert parts == (Kind.EXPORTER, "otlp_http", ("otlphttp",))
    made = FACTORY.create(
        settings("exporter", "otlp_http", "logs"), from_plain(FACTORY.config, {"endpoint": "http://x"})
    )
    assert hasattr(made, "consume")
