"""What senders may do to the HTTP server: speak it in every legal way, badly, slowly, without end, and not at all."""

import asyncio
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from heliograph.config.decode import from_plain
from heliograph.net.config import HTTPServerConfig
from heliograph.net.http import server_connection
from heliograph.net.http.server import HttpServer, Request, Response
from heliograph.testing.memory import PeakMemory
from heliograph.testing.wait import until

LOG = logging.LoggerAdapter(logging.getLogger(__name__))
MIB = 1 << 20
HOST = b"Host: x\r\n"


class Echo:
    """Answers with what it got. seen: the requests. hold: when set to an event, answers wait for it."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.hold: asyncio.Event | None = None

    def refuse(self, method: str, content_type: str) -> Response | None:
        return Response(415, b"no") if content_type == "refused/early" else None

    async def handle(self, request: Request) -> Response:
        self.seen.append(request)
        if self.hold is not None:
            await self.hold.wait()
        return Response(200, request.method.encode() + b" " + request.body)


class Serving:
    """A server with an Echo at /echo. garbage: what was counted."""

    def __init__(self, server: HttpServer, port: int, echo: Echo, garbage: list[str]) -> None:
        self.server, self.port, self.echo, self.garbage = server, port, echo, garbage

    async def connect(self, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, **more)

    async def say(self, data: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        reader, writer = await self.connect()
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    async def alive(self) -> bool:
        answer = await self.say(b"GET /echo HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        return answer.startswith(b"HTTP/1.1 200 OK\r\n")


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None, most: int = 100, **keys: Any) -> AsyncIterator[Serving]:
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    echo, garbage = Echo(), list[str]()
    config = from_plain(HTTPServerConfig, {"endpoint": "127.0.0.1:0", **keys})
    server = HttpServer(config, {"/echo": echo}, log=LOG, on_malformed=garbage.append, max_connections=most)
    port = await server.listen("127.0.0.1", 0, tls)
    try:
        yield Serving(server, port, echo, garbage)
    finally:
        await server.close(1)
        assert server.budget.used == 0
        assert raised == []


def post(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"POST /echo HTTP/1.1\r\n" + HOST + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in pieces)
    return (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"
    )


CHUNKED = b"Transfer-Encoding: chunked\r\n"
ZERO = b"0\r\n\r\n"
REFUSED: dict[str, tuple[bytes, int]] = {
    "both lengths": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n" + ZERO, 400),
    "both, turned": (b"POST /echo HTTP/1.1\r\n" + HOST + CHUNKED + b"Content-Length: 5\r\n\r\n" + ZERO, 400),
    "two lengths": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "a list of lengths": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 1\r\n\r\na", 400),
    "a signed length": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na", 400),
    "an endless length": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\na", 400),
    "another coding": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n" + ZERO, 501),
    "two codings": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + ZERO, 501),
    "chunked twice": (b"POST /echo HTTP/1.1\r\n" + HOST + CHUNKED + CHUNKED + b"\r\n" + ZERO, 400),
    "a hidden coding": (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + ZERO, 400),
    "a space before the colon": (
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding : chunked\r\n\r\n" + ZERO,
        400,
    ),
    "chunks in 1.0": (b"POST /echo HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n" + ZERO, 501),
    "a folded header": (b"GET /echo HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "no carriage returns": (b"GET /echo HTTP/1.1\nHost: x\n\n", 400),
    "a bare carriage return": (b"GET /echo HTTP/1.1\r\n" + HOST + b"A: b\rc\r\n\r\n", 400),
    "a zero byte": (b"GET /echo HTTP/1.1\r\n" + HOST + b"A: b\0c\r\n\r\n", 400),
    "no host": (b"GET /echo HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /echo HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "no name": (b"GET /echo HTTP/1.1\r\n" + HOST + b": b\r\n\r\n", 400),
    "a space in the target": (b"GET /echo /echo HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/0.9": (b"GET /echo\r\n\r\n", 505),
    "HTTP/2 without TLS": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/3.0": (b"GET /echo HTTP/3.0\r\n" + HOST + b"\r\n", 400),
    "a proxy's work": (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "a huge head": (b"GET /echo HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "a huge head, unfinished": (b"GET /echo HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 300_000, 431),
    "a huge target": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "very many headers": (b"GET /echo HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 300 + b"\r\n", 431),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_no_http_or_means_two_things_is_refused(case: str) -> None:
    """Nothing is handled, also not what follows on the same connection; it is counted; the server goes on."""
    data, status = REFUSED[case]
    async with serving() as server:
        answer = await server.say(data + b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"\r\nConnection: close\r\n" in answer
        assert server.echo.seen == []
        assert server.garbage == [""]
        assert await server.alive()


BAD_BODIES = {
    "no size": b"zz\r\nabc\r\n" + ZERO,
    "0x": b"0x3\r\nabc\r\n" + ZERO,
    "a negative size": b"-3\r\nabc\r\n" + ZERO,
    "a space": b"3 \r\nabc\r\n" + ZERO,
    "too much": b"3\r\nabcd\r\n" + ZERO,
    "no carriage returns": b"3\nabc\n0\n\n",
    "an endless size": b"f" * 40 + b"\r\nabc\r\n" + ZERO,
    "an endless extension": b"3;" + b"a" * 400_000,
    "an endless trailer": b"3\r\nabc\r\n0\r\nA: " + b"a" * 400_000,
    "very many trailers": b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 30_000 + b"\r\n",
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_bad_chunks_end_the_request_and_the_connection(case: str) -> None:
    """400, counted for the path, not handled; what follows is not a request."""
    start = b"POST /echo HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n"
    async with serving() as server:
        answer = await server.say(start + BAD_BODIES[case] + b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert server.echo.seen == []
        assert server.garbage == ["/echo"]
        assert await server.alive()


LEGAL: dict[str, tuple[bytes, bytes]] = {
    "a length": (post(b"hello"), b"POST hello"),
    "no body": (b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n", b"GET "),
    "chunks": (chunked(b"hel", b"lo"), b"POST hello"),
    "trailers": (chunked(b"hello", trailers=b"A: b\r\n"), b"POST hello"),
    "extensions": (chunked(b"hello").replace(b"5\r\n", b"5;a=b\r\n"), b"POST hello"),
    "a query": (b"GET /echo?a=b HTTP/1.1\r\n" + HOST + b"\r\n", b"GET "),
    "an encoded path": (b"GET /%65cho HTTP/1.1\r\n" + HOST + b"\r\n", b"GET "),
    "the whole URL": (b"GET http://x/echo?a HTTP/1.1\r\n" + HOST + b"\r\n", b"GET "),
    "empty lines before": (b"\r\n\r\nGET /echo HTTP/1.1\r\n" + HOST + b"\r\n", b"GET "),
    "an offer without a body": (
        b"GET /echo HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET ",
    ),
    "an offer and chunks": (
        chunked(b"hel", b"lo").replace(CHUNKED, CHUNKED + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        b"POST hello",
    ),
    "an offer of HTTP/2": (post(b"hello", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), b"POST hello"),
}


@pytest.mark.parametrize("case", LEGAL)
async def test_legal_requests_are_the_same_however_they_are_cut(case: str) -> None:
    """Whole, byte by byte, and all behind one another; the connection stays."""
    data, expected = LEGAL[case]
    async with serving() as server:
        reader, writer = await server.connect()
        for pieces in ([data], [data[at : at + 1] for at in range(len(data))], [data * 5]):
            for piece in pieces:
                writer.write(piece)
                if len(pieces) > 1:
                    await asyncio.sleep(0)
            for _ in range(len(b"".join(pieces)) // len(data)):
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                assert b"Connection:" not in head
                assert b"\r\nContent-Length: %d\r\n" % len(expected) in head
                assert b"\r\nDate: " in head
                assert await reader.readexactly(len(expected)) == expected
        writer.close()
        assert server.garbage == []
        assert {request.path for request in server.echo.seen} == {"/echo"}
        assert {request.peer for request in server.echo.seen} == {"127.0.0.1"}


async def test_requests_behind_one_another_are_answered_in_order_up_to_a_number() -> None:
    """Also when the first takes long. Who sends very many without reading gets the first ones, and then 400."""
    async with serving() as server:
        server.echo.hold = asyncio.Event()
        reader, writer = await server.connect()
        writer.write(b"".join(post(b"%03d" % number) for number in range(server_connection.MOST_PIPELINED)))
        await until(lambda: server.echo.seen, "the first request")
        server.echo.hold.set()
        for number in range(server_connection.MOST_PIPELINED):
            assert (await reader.readuntil(b"POST %03d" % number)).count(b"HTTP/1.1 200") == 1
        writer.write(post(b"x") * 10_000)
        rest = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert rest.count(b"HTTP/1.1 200 OK") in range(server_connection.MOST_PIPELINED, 10_000)
        assert rest.count(b"HTTP/1.1 400 Bad Request") <= 1
        assert await server.alive()


async def test_who_does_not_read_answers_gets_no_more_of_them() -> None:
    """Requests without end from one who never reads: memory stays, and the server waits with reading."""
    async with serving() as server:
        reader, writer = await server.connect(limit=1024)
        writer.transport.pause_reading()
        request = post(b"x" * 60_000)
        with PeakMemory() as memory:
            sent = 0
            try:
                async with asyncio.timeout(3):
                    while sent < 200 * MIB:
                        writer.write(request)
                        await writer.drain()
                        sent += len(request)
            except (TimeoutError, ConnectionError):
                pass
        assert sent < 100 * MIB
        assert memory.grown < 32 * MIB
        writer.transport.abort()
        assert await server.alive()
        del reader


async def test_a_head_and_an_old_protocol_have_their_forms() -> None:
    """HEAD: the length and no body. HTTP/1.0: the connection ends, whatever it asks for."""
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(b"HEAD /none HTTP/1.1\r\n" + HOST + b"\r\nGET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 19\r\n" in head
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
        answer = await server.say(b"GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert answer.endswith(b"\r\nConnection: close\r\n\r\nGET ")


async def test_half_a_connection_is_enough_for_an_answer() -> None:
    """The sender closes its side after the request, as `nc -N` does."""
    async with serving() as server:
        server.echo.hold = asyncio.Event()
        reader, writer = await server.connect()
        writer.write(post(b"hello"))
        writer.write_eof()
        await until(lambda: server.echo.seen)
        server.echo.hold.set()
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"POST hello")
        writer.close()


async def test_who_leaves_in_the_middle_leaves_nothing_behind() -> None:
    """In the head, in the body, and while the answer is made."""
    async with serving() as server:
        for data in (b"POST /ec", post(b"x" * 100)[:-50], chunked(b"abc")[:-3], post(b"whole")):
            for how in ("close", "abort"):
                if data == post(b"whole"):
                    server.echo.hold = asyncio.Event()
                reader, writer = await server.connect()
                writer.write(data)
                await writer.drain()
                await until(lambda: server.server._serving.connections)
                if server.echo.hold is not None:
                    seen = len(server.echo.seen)
                    await until(lambda seen=seen: len(server.echo.seen) > seen - 1)
                writer.transport.abort() if how == "abort" else writer.close()
                if server.echo.hold is not None:
                    server.echo.hold.set()
                await until(lambda: not server.server._serving.connections, "the connection to be gone")
                del reader
        assert server.server.budget.used == 0
        assert await server.alive()


async def test_a_refused_body_does_not_take_its_answer_away() -> None:
    """The answer can be read although the sender goes on sending; then the connection ends."""
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(
            b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Type: refused/early\r\nContent-Length: 50000000\r\n\r\n"
        )
        for _ in range(20):
            writer.write(bytes(MIB))
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 415 Unsupported Media Type\r\n")
        writer.close()
        await until(lambda: not server.server._serving.connections, "the connection to be gone")


async def test_who_waits_to_be_told_to_go_on_is_told_so_or_refused() -> None:
    """`Expect: 100-continue`: a refusal comes instead, and no 100."""
    async with serving() as server:
        for kind, first in ((b"a/b", b"100 Continue"), (b"refused/early", b"415 Unsupported Media Type")):
            reader, writer = await server.connect()
            writer.write(
                b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Type: " + kind + b"\r\n"
                b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
            )
            assert await reader.readline() == b"HTTP/1.1 " + first + b"\r\n"
            writer.close()


async def test_a_drain_answers_what_runs_and_closes_what_does_not() -> None:
    """An idle connection, one in the middle of a head, and one whose request runs: it is told so."""
    async with serving() as server:
        server.echo.hold = asyncio.Event()
        idle, _w1 = await server.connect()
        _w1.write(b"GET /none HTTP/1.1\r\n" + HOST + b"\r\n")
        await idle.readuntil(b"not found\n")
        half, _w2 = await server.connect()
        _w2.write(b"GET /echo HT")
        busy, _w3 = await server.connect()
        _w3.write(post(b"late"))
        await until(lambda: server.echo.seen and len(server.server._serving.connections) == 3)
        closing = asyncio.ensure_future(server.server.close(5))
        assert await asyncio.wait_for(idle.read(), 2) == b""
        assert await asyncio.wait_for(half.read(), 2) == b""
        with pytest.raises(OSError):
            await server.connect()
        assert not closing.done()
        server.echo.hold.set()
        answer = await asyncio.wait_for(busy.read(), 2)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"\r\nConnection: close\r\n" in answer
        await asyncio.wait_for(closing, 2)
        for writer in (_w1, _w2, _w3):
            writer.close()


async def test_a_drain_waits_no_longer_than_it_may() -> None:
    """A handler that never ends loses its connection."""
    async with serving() as server:
        server.echo.hold = asyncio.Event()
        reader, writer = await server.connect()
        writer.write(post(b"late"))
        await until(lambda: server.echo.seen)
        await asyncio.wait_for(server.server.close(0.05), 2)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        server.echo.hold.set()


async def test_connections_that_are_of_no_use_are_closed() -> None:
    """Idle ones; and a head that comes in drips is not idle."""
    async with serving(idle_timeout="100ms", read_header_timeout="300ms") as server:
        reader, writer = await server.connect()
        writer.write(b"GET /none HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"not found\n")
        writer.close()
        reader, writer = await server.connect()
        closed = asyncio.ensure_future(reader.read())
        data = b"GET /echo HTTP/1.1\r\n" + b"A: b\r\n" * 10_000
        at = 0
        while not closed.done() and at < len(data):
            writer.write(data[at : at + 1])
            at += 1
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(closed, 5) == b""
        assert at < 500
        writer.close()


async def test_many_unfinished_heads_cost_little() -> None:
    """A hundred connections that send an endless header each."""
    async with serving() as server:
        with PeakMemory() as memory:
            streams = [await server.connect() for _ in range(100)]
            for _, writer in streams:
                writer.write(b"GET /echo HTTP/1.1\r\nA: ")
                writer.write(b"a" * 2 * MIB)
            await until(lambda: len(server.garbage) == 100, "a refusal of each")
            for reader, writer in streams:
                assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
                writer.transport.abort()
        assert memory.grown < 300 * MIB  # 200 MiB of them are what this test itself wants to send


async def test_random_damage_never_breaks_it() -> None:
    """Legal requests with bytes changed, taken out or doubled: an answer or an end, never an error of ours."""
    source = random.Random(7)
    whole = [data for data, _ in LEGAL.values()]
    async with serving(read_header_timeout="1h") as server:
        reader: asyncio.StreamReader | None = None
        for _ in range(300):
            data = bytearray(source.choice(whole))
            for _ in range(source.randrange(1, 4)):
                at = source.randrange(len(data))
                change: Callable[[bytearray], Any] = source.choice(
                    (
                        lambda data, at=at: data.__setitem__(at, source.randrange(256)),
                        lambda data, at=at: data.__delitem__(at),
                        lambda data, at=at: data.insert(at, data[at]),
                    )
                )
                change(data)
            reader, writer = await server.connect()
            writer.write(bytes(data))
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
            assert not answer.startswith(b"HTTP/1.1 500")
            writer.close()
        assert await server.alive()


async def test_certificates_of_both_sides() -> None:
    """mTLS: a request over TLS; who has no certificate, or speaks no TLS, gets nowhere and harms nobody."""
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = ssl.create_default_context()
    ca.configure_trust(ours)
    async with serving(context) as server:

        async def ask(**more: Any) -> bytes:
            reader, writer = await server.connect(**more)
            try:
                writer.write(post(b"x" * 200_000, b"Connection: close"))
                return await asyncio.wait_for(reader.read(), 5)
            except OSError:
                return b""
            finally:
                writer.transport.abort()

        assert await ask(ssl=ours) == b""
        ca.issue_cert("client").configure_cert(ours)
        assert (await ask(ssl=ours)).endswith(b"POST " + b"x" * 200_000)
        assert await ask() == b""
        assert (await ask(ssl=ours)).startswith(b"HTTP/1.1 200")


async def test_a_handler_that_fails_is_a_500_and_the_connection_stays(caplog: pytest.LogCaptureFixture) -> None:
    """And it is logged with its traceback."""

    class Broken(Echo):
        async def handle(self, request: Request) -> Response:
            raise RuntimeError("broken")

    async with serving() as server:
        server.server._routes["/broken"] = Broken()
        reader, writer = await server.connect()
        writer.write((b"GET /broken HTTP/1.1\r\n" + HOST + b"\r\n") * 2)
        for _ in range(2):
            assert (await reader.readuntil(b"internal error")).startswith(b"HTTP/1.1 500 Internal Server Error")
        writer.close()
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
