"""OTLP over HTTP: what is taken, and the answer to everything that is not."""

import asyncio
import gzip
import io
import json
import os
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from heliograph.component.auth import Unauthenticated
from heliograph.component.errors import Overloaded, Permanent, Retryable
from heliograph.component.ids import Signal
from heliograph.net.compression import ENCODINGS, compress
from heliograph.net.http.status import decode_message
from heliograph.otlp.json import request_to_json
from heliograph.otlp.request import request
from heliograph.testing.memory import PeakMemory
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.telemetry import Telemetry
from heliograph.testing.wait import until

PROTOBUF, JSON = "application/x-protobuf", "application/json"
SIGNALS = ("traces", "metrics", "logs")
MIB = 1 << 20


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


def spans(count: int = 1) -> bytes:
    """A small valid request."""
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for number in range(count):
        scope.spans.add(name=f"span {number}", trace_id=b"t" * 16, span_id=b"s" * 8)
    return message.SerializeToString()


async def post(
    client: aiohttp.ClientSession, url: str, body: object, content_type: str = PROTOBUF, **headers: str
) -> tuple[int, bytes, aiohttp.ClientResponse]:
    """Status, body and response."""
    named = {"Content-Type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with client.post(url, data=body, headers=named) as response:
        return response.status, await response.read(), response


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("encoding", ["", *ENCODINGS])
async def test_protobuf_is_taken_as_it_is(signal: str, encoding: str, client: aiohttp.ClientSession) -> None:
    """Every signal and compression: the same bytes come out, and the answer is an empty partial success."""
    parts = Telemetry(5).parts(signal)
    async with OTLPServer() as server:
        extra = {"Content_Encoding": encoding} if encoding else {}
        body = compress(encoding, request(parts))
        status, answer, response = await post(client, server.url(signal), body, **extra)
        sink = server.sinks[Signal(signal)]
        assert (status, answer, response.content_type) == (200, b"\x0a\x00", PROTOBUF)
        assert sink.parts == parts
        assert sink.batches[0].context.peer == "127.0.0.1"
        assert sink.batches[0].context.transport == "http"
        assert sink.batches[0].context.metadata == {}


@pytest.mark.parametrize("signal", SIGNALS)
async def test_json_is_taken(signal: str, client: aiohttp.ClientSession) -> None:
    """JSON becomes the same messages, and is answered in JSON."""
    parts = Telemetry(6).parts(signal)
    async with OTLPServer() as server:
        body = request_to_json(signal, request(parts))
        status, answer, response = await post(client, server.url(signal), body, f"{JSON}; charset=utf-8")
        assert (status, answer, response.content_type) == (200, b'{"partialSuccess":{}}', JSON)
        assert server.sinks[Signal(signal)].items == sum(batch.items for batch in server.sinks[Signal(signal)].batches)
        assert len(server.sinks[Signal(signal)].messages) == len(parts)


async def test_an_empty_request_is_a_success_that_goes_no_further(client: aiohttp.ClientSession) -> None:
    """Nothing, and a resource without spans."""
    async with OTLPServer() as server:
        for body in (b"", request([ResourceSpans().SerializeToString()])):
            assert (await post(client, server.url("traces"), body))[:2] == (200, b"\x0a\x00")
        assert (await post(client, server.url("traces"), b"{}", JSON))[:2] == (200, b'{"partialSuccess":{}}')
        assert server.sinks[Signal.TRACES].batches == []


async def test_malformed_bodies_are_refused_in_the_format_of_the_request_and_counted(
    client: aiohttp.ClientSession,
) -> None:
    """Status 400, google.rpc.Status with code 3; the server goes on."""
    whole = spans(3)
    async with OTLPServer() as server:
        url = server.url("traces")
        status, answer, response = await post(client, url, whole[:-3])
        assert (status, response.content_type, answer[:2]) == (400, PROTOBUF, b"\x08\x03")
        assert decode_message(PROTOBUF, answer) != ""
        status, answer, response = await post(client, url, b'{"resourceSpans": [{', JSON)
        assert (status, response.content_type) == (400, JSON)
        error = json.loads(answer)
        assert error["code"] == 3
        assert error["message"]
        status, _, _ = await post(client, url, b"this is no gzip", Content_Encoding="gzip")
        assert status == 400
        assert server.malformed("http", "traces") == 3
        assert (await post(client, url, whole))[0] == 200


async def test_random_bodies_get_an_answer_each(client: aiohttp.ClientSession) -> None:
    """Random bytes, in both formats, to all signals: 200 or 400, never anything else."""
    source = random.Random(11)
    async with OTLPServer() as server:
        for number in range(300):
            body = source.randbytes(source.randrange(1, 200))
            content_type = PROTOBUF if number % 2 else JSON
            status, _, _ = await post(client, server.url(SIGNALS[number % 3]), body, content_type)
            assert status in (200, 400)
        assert sum(server.malformed("http", signal) for signal in SIGNALS) > 200


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status", "text"),
    [
        ("POST", "/v1/traces", "text/plain", 415, "415 unsupported media type, supported: ["),
        ("POST", "/v1/traces", "", 415, "415 unsupported media type"),
        ("GET", "/v1/traces", PROTOBUF, 405, "405 method not allowed, supported: [POST]"),
        ("OPTIONS", "/v1/traces", PROTOBUF, 405, "405 method not allowed"),
        ("POST", "/v1/traces/", PROTOBUF, 404, "404 page not found"),
        ("POST", "/v1/logs", PROTOBUF, 404, "404 page not found"),
        ("POST", "/v1development/profiles", PROTOBUF, 404, "404 page not found"),
    ],
)
async def test_wrong_requests_get_upstreams_answers(
    method: str, path: str, content_type: str, status: int, text: str, client: aiohttp.ClientSession
) -> None:
    """Media type, method, path, and a signal without a pipeline (logs, profiles)."""
    async with OTLPServer(signals=["traces"]) as server:
        url = f"http://127.0.0.1:{server.ports['http']}{path}"
        skip = [] if content_type else ["Content-Type"]
        headers = {"Content-Type": content_type} if content_type else {}
        async with client.request(method, url, data=spans(), headers=headers, skip_auto_headers=skip) as response:
            assert response.status == status
            assert (await response.text()).startswith(text)


@pytest.mark.parametrize("encoding", ["br", "identity", "GZIP"])
async def test_unknown_encodings_are_refused(encoding: str, client: aiohttp.ClientSession) -> None:
    """As upstream: 400 with the name."""
    async with OTLPServer() as server:
        status, answer, _ = await post(client, server.url("traces"), spans(), JSON, Content_Encoding=encoding)
        assert (status, json.loads(answer)["message"]) == (400, f"unsupported Content-Encoding: {encoding}")


async def test_only_listed_compression_algorithms_are_taken(client: aiohttp.ClientSession) -> None:
    """`compression_algorithms`."""
    async with OTLPServer({"http": {"compression_algorithms": ["gzip"]}}) as server:
        url = server.url("traces")
        assert (await post(client, url, compress("gzip", spans()), Content_Encoding="gzip"))[0] == 200
        assert (await post(client, url, compress("zstd", spans()), Content_Encoding="zstd"))[0] == 400


async def test_a_gzip_bomb_is_413_and_costs_no_memory(client: aiohttp.ClientSession) -> None:
    """1 GB of zeros in 1 MB."""
    bomb = b"".join([gzip.compress(bytes(64 * MIB), 9)] * 16)
    async with OTLPServer() as server:
        with PeakMemory() as memory:
            status, answer, _ = await post(client, server.url("traces"), bomb, Content_Encoding="gzip")
        assert status == 413
        assert "larger than 20971520 bytes" in decode_message(PROTOBUF, answer)
        assert memory.grown < 64 * MIB
        assert (await post(client, server.url("traces"), spans()))[0] == 200


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
async def test_a_200_mb_body_is_413_and_costs_no_memory(chunked: bool) -> None:
    """The answer comes before the body is through, and nothing of it is kept."""
    total, piece = 200 * MIB, bytes(256 * 1024)
    async with OTLPServer() as server:
        with PeakMemory() as memory:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
            length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"
            writer.write(
                f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n{length}\r\n\r\n".encode()
            )
            answered = asyncio.ensure_future(reader.readuntil(b"\r\n"))
            sent = 0
            try:
                while sent < total and not answered.done():
                    writer.write(b"40000\r\n" + piece + b"\r\n" if chunked else piece)
                    await writer.drain()
                    sent += len(piece)
            except ConnectionError:
                pass
            assert await answered == b"HTTP/1.1 413 Request Entity Too Large\r\n"
            writer.close()
        assert sent < total
        assert memory.grown < 64 * MIB
        async with aiohttp.ClientSession() as client:
            assert (await post(client, server.url("traces"), spans()))[0] == 200


async def test_bodies_in_flight_share_a_budget() -> None:
    """Many large bodies that stop half-way: together they hold no more than the budget, the others are told to come
    again, and room returns when they are gone."""
    async with OTLPServer() as server, aiohttp.ClientSession() as client:
        writers: list[asyncio.StreamWriter] = []
        first_lines: list[asyncio.Task[bytes]] = []
        with PeakMemory() as memory:
            for _ in range(12):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
                writer.write(
                    f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n"
                    f"Content-Length: {20 * MIB}\r\n\r\n".encode()
                )
                first_lines.append(asyncio.ensure_future(reader.readline()))
                for _ in range(15):
                    writer.write(bytes(MIB))
                    await asyncio.wait_for(writer.drain(), 10)
                writers.append(writer)
            await until(lambda: any(task.done() for task in first_lines), "a refusal")
            status, _, response = await post(client, server.url("traces"), io.BytesIO(bytes(20 * MIB)))
            assert (status, response.headers["Retry-After"]) == (429, "1")
        assert memory.grown < 250 * MIB
        refused = [task.result() for task in first_lines if task.done()]
        assert refused
        assert all(line.startswith(b"HTTP/1.1 429") for line in refused)
        for writer in writers:
            writer.transport.abort()
        await until(lambda: server.receiver._http.budget.used == 0, "the budget to be free")
        for task in first_lines:
            task.cancel()
        await asyncio.gather(*first_lines, return_exceptions=True)
        assert (await post(client, server.url("traces"), spans()))[0] == 200


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (Overloaded("the queue is full"), 429, 8, "1"),
        (Overloaded("the queue is full", 7.2), 429, 8, "8"),
        (Retryable("the backend is away", 30), 503, 14, "30"),
        (Retryable("the backend is away"), 503, 14, "1"),
        (Permanent("not that", 3), 400, 3, None),
        (Permanent("who are you", 16), 401, 16, None),
        (Permanent("you may not", 7), 403, 7, None),
        (Permanent("broken", 13), 500, 13, None),
    ],
)
async def test_refused_data_is_answered_so_that_the_sender_keeps_it_or_not(
    error: Exception, status: int, code: int, retry_after: str | None, client: aiohttp.ClientSession
) -> None:
    """Each delivery error has its status, code and Retry-After."""
    async with OTLPServer() as server:
        server.sinks[Signal.TRACES].refuse = error  # type: ignore[assignment]
        got, answer, response = await post(client, server.url("traces"), spans())
        assert (got, response.headers.get("Retry-After")) == (status, retry_after)
        assert answer[:2] == bytes([8, code])
        assert decode_message(PROTOBUF, answer) == str(error)


async def test_bytes_that_are_no_http_get_400_and_are_counted() -> None:
    """Random bytes to the port, many connections; the server goes on."""
    source = random.Random(3)
    async with OTLPServer() as server, aiohttp.ClientSession() as client:
        for _ in range(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
            writer.write(source.randbytes(400) + b"\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer == b"" or answer.splitlines()[0].endswith(b" 400 Bad Request")
            writer.close()
        assert server.malformed("http", "") >= 25
        assert (await post(client, server.url("traces"), spans()))[0] == 200


async def test_slow_headers_and_slow_bodies_lose_their_connection() -> None:
    """`read_header_timeout` and `read_timeout`."""
    keys = {"read_header_timeout": "200ms", "read_timeout": "400ms"}
    async with OTLPServer({"http": keys}) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        writer.write(
            f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\n"
            "Content-Length: 100\r\n\r\nabc".encode()
        )
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_who_never_sends_a_byte_loses_the_connection() -> None:
    """`read_header_timeout` counts from the connection; one with a finished request waits for `idle_timeout`."""
    async with OTLPServer({"http": {"read_header_timeout": "200ms", "idle_timeout": "1h"}}) as server:
        busy, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        writer.write(b"GET /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await busy.readline()).startswith(b"HTTP/1.1 405")
        silent, other = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        assert await asyncio.wait_for(silent.read(), 5) == b""
        writer.write(b"GET /v1/traces HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 405" in await asyncio.wait_for(busy.readuntil(b"HTTP/1.1 405"), 5)
        writer.close()
        other.close()


async def test_a_client_that_expects_100_continue_is_told_to_go_on() -> None:
    """As curl does for large bodies."""
    async with OTLPServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["http"])
        body = spans()
        writer.write(
            f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nExpect: 100-continue\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
        )
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_keys_of_the_server_are_kept(client: aiohttp.ClientSession) -> None:
    """Own paths, response headers, metadata, keep-alive off, the size limit."""
    keys = {
        "traces_url_path": "in/spans",
        "response_headers": {"X-From": "here"},
        "include_metadata": True,
        "keep_alives_enabled": False,
        "max_request_body_size": 1000,
    }
    async with OTLPServer({"http": keys}) as server:
        url = f"http://127.0.0.1:{server.ports['http']}/in/spans"
        status, _, response = await post(client, url, spans(), X_Tenant="acme")
        assert (status, response.headers["X-From"], response.headers["Connection"]) == (200, "here", "close")
        metadata = server.sinks[Signal.TRACES].batches[0].context.metadata
        assert metadata["x-tenant"] == ("acme",)
        assert (await post(client, server.url("traces"), spans()))[0] == 404
        assert (await post(client, url, os.urandom(1001)))[0] == 413


async def test_browsers_of_allowed_origins_may_send(client: aiohttp.ClientSession) -> None:
    """CORS: preflight and request, for an allowed and another origin."""
    cors = {"allowed_origins": ["https://*.shop.test"], "allowed_headers": ["X-Key"], "max_age": 60}
    async with OTLPServer({"http": {"cors": cors}}) as server:
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-key"}
        async with client.options(server.url("traces"), headers={"Origin": "https://a.shop.test", **ask}) as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Origin"] == "https://a.shop.test"
            assert answer.headers["Access-Control-Allow-Headers"] == "content-type,x-key"
            assert answer.headers["Access-Control-Max-Age"] == "60"
        async with client.options(server.url("traces"), headers={"Origin": "https://evil.test", **ask}) as answer:
            assert answer.status == 204
            assert "Access-Control-Allow-Origin" not in answer.headers
        status, _, response = await post(client, server.url("traces"), spans(), Origin="https://a.shop.test")
        assert status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "https://a.shop.test"


class OneToken:
    """A ServerAuth that knows one token, from a header or a query parameter."""

    async def authenticate(self, headers: dict[str, tuple[str, ...]], path: str) -> dict[str, str]:
        if headers.get("token") != ("right",):
            raise Unauthenticated("wrong token")
        return {"subject": "me"}


async def test_senders_are_authenticated_before_their_body_is_read(client: aiohttp.ClientSession) -> None:
    """`auth`: 401 in the format of the request; what is known of the sender goes with the data."""
    keys = {"auth": {"authenticator": "tokens", "request_params": ["token"]}}
    async with OTLPServer({"http": keys}, extensions={"tokens": OneToken()}) as server:
        status, answer, _ = await post(client, server.url("traces"), b"{", JSON)
        assert (status, json.loads(answer)) == (401, {"code": 16, "message": "wrong token"})
        assert (await post(client, server.url("traces"), spans(), token="right"))[0] == 200
        assert (await post(client, server.url("traces") + "?token=right", spans()))[0] == 200
        assert server.sinks[Signal.TRACES].batches[0].context.auth == {"subject": "me"}
