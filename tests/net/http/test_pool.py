"""The HTTP client: connections that are kept, every form of an answer, and servers that break off, lie or never end."""

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from heliograph.net.http.cookies import Cookies
from heliograph.net.http.errors import BrokenAnswer, CertificateRefused, ConnectFailed, Disconnected, Unsendable
from heliograph.net.http.pool import Pool
from heliograph.testing.memory import PeakMemory
from heliograph.testing.wait import until

MIB = 1 << 20
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Answer = Callable[["Scripted", bytes, asyncio.StreamWriter], Awaitable[None]]


class Scripted:
    """A server that answers as it is told. answers: one for each request, the last for all that follow; bytes, or a
    function. heads, bodies: what came. connections: how many there were."""

    def __init__(self, *answers: bytes | Answer) -> None:
        self.answers = list(answers)
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                low = head.lower()
                length = int(low.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
                if callable(answer):
                    self.bodies.append(b"")
                    await answer(self, head, writer)
                else:
                    self.bodies.append(await reader.readexactly(length))
                    writer.write(answer)
                    if b"\r\nconnection: close\r\n" in answer.lower() or not answer:
                        break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort() if self.port == 0 else writer.close()


@asynccontextmanager
async def scripted(*answers: bytes | Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    server = Scripted(*answers)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        listening.close()
        server.port = 0
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)


@asynccontextmanager
async def pool(**more: Any) -> AsyncIterator[Pool]:
    raised: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context))
    made = Pool(**more)
    try:
        yield made
    finally:
        await made.close()
        assert not made._all
        assert not made._open
        assert raised == []


async def ask(client: Pool, url: str, method: str = "GET", body: bytes | None = None, **more: Any) -> tuple[int, bytes]:
    """Status and body."""
    headers = more.pop("headers", {})
    async with client.request(method, url, headers, body, **more) as answer:
        return answer.status, await answer.read(10 * MIB)


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


HEAD = b"HTTP/1.1 200 OK\r\n"
RAW = zlib.compressobj(9, zlib.DEFLATED, -15)
FORMS: dict[str, tuple[bytes, int, bytes, bool]] = {
    # the answer, its status, its body, whether the connection carries another
    "a length": (HEAD + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "no body": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(b"hel", b"lo"), 200, b"hello", True),
    "trailers": (
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nStatus: 500\r\n\r\n",
        200,
        b"hello",
        True,
    ),
    "until the end": (HEAD + b"Connection: close\r\n\r\nhello", 200, b"hello", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 200, b"hello", False),
    "not the last": (HEAD + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", 200, b"hello", False),
    "a hint before": (
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        200,
        b"hello",
        True,
    ),
    "gzip": (
        HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(gzip.compress(b"hello")),
        200,
        b"hello",
        True,
    ),
    "gzip, two members": (
        HEAD
        + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks(gzip.compress(b"hel") + gzip.compress(b"lo")),
        200,
        b"hello",
        True,
    ),
    "deflate": (
        HEAD + b"Content-Encoding: deflate\r\nConnection: close\r\n\r\n" + zlib.compress(b"hello"),
        200,
        b"hello",
        False,
    ),
    "deflate without its frame": (
        HEAD + b"Content-Encoding: deflate\r\nConnection: close\r\n\r\n" + RAW.compress(b"hello") + RAW.flush(),
        200,
        b"hello",
        False,
    ),
    "compressed, but empty": (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
}


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("form", FORMS)
async def test_an_answer_is_the_same_in_every_form(form: str, cut: bool) -> None:
    """And the connection is used again exactly when that may be."""
    data, status, body, stays = FORMS[form]

    async def drip(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await asyncio.sleep(0)
        if not stays:
            writer.close()

    async with scripted(drip if cut else data) as server, pool() as client:
        for _ in range(3):
            assert await ask(client, server.url) == (status, body)
        assert server.connections == (1 if stays else 3)


BROKEN: dict[str, bytes] = {
    "no HTTP": b"\x15\x03\x01\x00\x02\x02\x0a",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "cut in the head": HEAD + b"Content-Le",
    "cut in the body": HEAD + b"Content-Length: 5\r\n\r\nhel",
    "cut in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "cut before the last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "cut in the compression": HEAD
    + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"
    + gzip.compress(b"a" * 99)[:20],
    "no compression": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    "an unknown compression": HEAD + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "both lengths": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
    "a bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a folded header": HEAD + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "an endless head": HEAD + b"A: " + b"a" * 2 * MIB,
    "very many headers": HEAD + b"A: b\r\n" * 20_000 + b"\r\n",
    "an endless extension": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"a" * 2 * MIB,
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_is_no_answer_is_an_error_and_costs_the_connection(case: str) -> None:
    """A BrokenAnswer, soon; the next request goes over another connection."""

    async def answer(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(BROKEN[case])
        writer.close()

    async with scripted(answer, OK) as server, pool() as client:
        with pytest.raises(BrokenAnswer):
            await asyncio.wait_for(ask(client, server.url), 5)
        assert await ask(client, server.url) == (200, b"ok")
        assert server.connections == 2


async def test_bytes_that_nobody_asked_for_end_a_kept_connection() -> None:
    """Behind an answer, or while nothing is asked: they are not taken for the next answer."""
    async with scripted(OK + b"HTTP/1.1 500 Not Yours\r\nContent-Length: 0\r\n\r\n", OK) as server, pool() as client:
        await ask(client, server.url)
        await until(lambda: not client._all, "the connection to be gone")
        assert await ask(client, server.url) == (200, b"ok")
        assert server.connections == 2


async def test_a_kept_connection_that_turns_out_closed_is_replaced_once() -> None:
    """The server closes it as the request comes; the request arrives, over a new connection. One that is closed at its
    first request is no such case."""

    async def close(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with scripted(OK, close, OK) as server, pool() as client:
        for _ in range(3):
            assert await ask(client, server.url, "POST", b"body") == (200, b"ok")
        assert (server.connections, len(server.heads)) == (2, 4)
    async with scripted(close) as server, pool() as client:
        with pytest.raises(Disconnected):
            await ask(client, server.url)
        assert len(server.heads) == 1


async def test_a_connection_that_closed_while_it_was_idle_is_not_used() -> None:
    """The end was seen before the next request."""
    async with scripted(HEAD + b"Content-Length: 2\r\n\r\nok", OK) as server, pool(idle_seconds=0.05) as client:
        await ask(client, server.url)
        assert len(client._all) == 1
        await until(lambda: not client._all, "the idle connection to be closed")
        assert await ask(client, server.url) == (200, b"ok")
        assert server.connections == 2


async def test_a_body_left_in_the_middle_costs_the_connection() -> None:
    """What was not read is never the beginning of another answer."""
    async with scripted(HEAD + b"Content-Length: 5000000\r\n\r\n" + b"a" * 5_000_000, OK) as server, pool() as client:
        async with client.request("GET", server.url, {}) as answer:
            assert await answer.read(10) == b"a" * 10
        assert await ask(client, server.url) == (200, b"ok")
        assert server.connections == 2


async def test_a_bomb_and_an_endless_answer_cost_no_memory() -> None:
    """200 MB of zeros in 200 kB of gzip, read slowly; an answer that nobody reads waits at the server."""
    bomb = gzip.compress(bytes(200 * MIB), 9)
    data = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
    sent = 0

    async def endless(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(HEAD + b"\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async with scripted(data, endless) as server, pool() as client:
        with PeakMemory() as memory:
            async with client.request("GET", server.url, {}) as answer:
                size = 0
                async for piece in answer.iter_any():
                    size += len(piece)
            assert size == 200 * MIB
            async with client.request("GET", server.url, {}) as answer:
                before = -1
                while sent != before or not sent:
                    before = sent
                    await asyncio.sleep(0.1)
        assert memory.grown < 40 * MIB


async def test_an_answer_before_the_end_of_a_large_body_is_taken() -> None:
    """413 while 50 MB are being sent: they are not sent to their end, and the connection is not used again."""

    async def refuse(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(30)

    async with scripted(refuse, OK) as server, pool() as client:
        assert await asyncio.wait_for(ask(client, server.url, "POST", bytes(50 * MIB)), 5) == (413, b"no")
        assert await ask(client, server.url) == (200, b"ok")
        assert server.connections == 2


async def test_a_large_body_arrives_whole() -> None:
    """20 MB, in slices as the socket takes them."""
    body = bytes(range(256)) * 80_000
    async with scripted(OK) as server, pool() as client:
        assert await ask(client, server.url, "POST", body) == (200, b"ok")
        assert server.bodies == [body]


async def test_no_more_connections_than_allowed() -> None:
    """Two for ten requests at once; whoever gives up waiting passes the turn on."""
    running = most = 0
    go_on = asyncio.Event()

    async def slow(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1
        writer.write(OK)

    async with scripted(slow) as server, pool(per_host=2) as client:
        requests = [asyncio.ensure_future(ask(client, server.url)) for _ in range(10)]
        await until(lambda: running == 2)
        for request in requests[3:6]:
            request.cancel()
        await asyncio.gather(*requests[3:6], return_exceptions=True)
        go_on.set()
        for request in requests[:3] + requests[6:]:
            assert await asyncio.wait_for(request, 5) == (200, b"ok")
        assert most == 2
        assert server.connections == 2


async def test_a_cancelled_request_frees_its_place() -> None:
    """And its connection is not used again."""

    async def never(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(30)

    async with scripted(never, OK) as server, pool(per_host=1) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(client, server.url)
        assert await asyncio.wait_for(ask(client, server.url), 5) == (200, b"ok")
        server.answers[:] = [never, OK]
        with pytest.raises(TimeoutError):
            await ask(client, server.url, read_seconds=0.1)
        assert await asyncio.wait_for(ask(client, server.url), 5) == (200, b"ok")
        assert server.connections == 3


async def test_silence_is_a_timeout_and_a_late_piece_is_not() -> None:
    """read_seconds counts from one piece to the next."""

    async def drip(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n")
        for _ in range(5):
            await asyncio.sleep(0.1)
            writer.write(b"x")
        await asyncio.sleep(30)

    async with (
        scripted(drip) as server,
        pool() as client,
        client.request("GET", server.url, {}, read_seconds=0.4) as answer,
    ):
        assert await answer.read(5) == b"xxxxx"
        with pytest.raises(TimeoutError):
            await answer.piece()


async def test_what_cannot_be_written_as_http_is_refused() -> None:
    """URLs that are none, and a header's value that would add a header."""
    async with scripted(OK) as server, pool() as client:
        for url in ("", "ftp://x/", "http://", "http://[::1", "http://x:99999/", "x:1"):
            with pytest.raises(Unsendable):
                await ask(client, url)
        for value in ("a\r\nEvil: b", "a\nb", "a\rb", "a\0b"):
            with pytest.raises(Unsendable):
                await ask(client, server.url, headers={"X-A": value})
        assert await ask(client, f"{server.url}/a b/ü?q=ü c", headers={"X-A": "ü"}) == (200, b"ok")
        assert server.heads[0].startswith(b"GET /a%20b/%C3%BC?q=%C3%BC%20c HTTP/1.1\r\n")
        assert "x-a: ü\r\n".encode() in server.heads[0]


async def test_a_user_in_the_url_and_the_port_are_what_they_mean() -> None:
    """Basic credentials; Host names the port unless it is the scheme's own."""
    async with scripted(OK) as server, pool() as client:
        await ask(client, server.url.replace("//", "//me:s%40e@"))
        assert b"\r\nAuthorization: Basic bWU6c0Bl\r\n" in server.heads[0]
        assert b"\r\nHost: 127.0.0.1:%d\r\n" % server.port in server.heads[0]


async def test_redirects_are_followed_as_browsers_do() -> None:
    """A POST becomes a GET by 302 and stays one by 307; credentials stay where they belong; not for ever."""

    def to(status: int, location: str) -> bytes:
        return f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()

    async with scripted(OK) as other, scripted(to(302, "/b"), OK) as server, pool() as client:
        keys = {"headers": {"Authorization": "secret", "Content-Type": "a/b"}, "redirects": 3}
        assert await ask(client, f"{server.url}/a", "POST", b"body", **keys) == (200, b"ok")
        assert server.heads[1].startswith(b"GET /b HTTP/1.1\r\n")
        assert b"content-" not in server.heads[1].lower()
        assert b"secret" in server.heads[1]
        server.answers = [to(307, f"{other.url}/c"), to(301, "/again")]
        keys["headers"] = {"Authorization": "secret", "Content-Type": "a/b"}
        assert await ask(client, f"{server.url}/a", "POST", b"body", **keys) == (200, b"ok")
        assert other.heads[0].startswith(b"POST /c HTTP/1.1\r\n")
        assert (other.bodies, b"secret" in other.heads[0]) == ([b"body"], False)
        with pytest.raises(BrokenAnswer, match="for ever"):
            await ask(client, f"{server.url}/a", redirects=3)
        assert (await ask(client, f"{server.url}/a"))[0] == 301


async def test_cookies_come_back_when_they_are_wanted() -> None:
    """To the paths that they are for."""
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/in\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    async with scripted(answer) as server, pool(cookies=Cookies()) as client:
        for path in ("/in/x", "/in/x", "/out"):
            await ask(client, server.url + path)
        assert b"Cookie" not in server.heads[0]
        assert b"Cookie: a=1; b=2\r\n" in server.heads[1] or b"Cookie: b=2; a=1\r\n" in server.heads[1]
        assert b"a=1" not in server.heads[2]


async def test_tls_is_checked() -> None:
    """A stranger's certificate, another name, and no TLS at all; then the right one."""
    ca = trustme.CA()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(theirs)
    ours = ssl.create_default_context()
    async with scripted(OK, tls=theirs) as server:
        async with pool(tls=ours) as client:
            with pytest.raises(CertificateRefused, match=r"self-signed|unable to get local issuer"):
                await ask(client, server.url)
        ca.configure_trust(ours)
        async with pool(tls=ours) as client:
            with pytest.raises(CertificateRefused, match=r"wrong.example"):
                await ask(client, server.url, server_name="wrong.example")
            assert await ask(client, server.url) == (200, b"ok")

    async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"400 no TLS here\r\n")
        writer.close()

    listening = await asyncio.start_server(no_tls, "127.0.0.1", 0)
    async with pool(tls=ours) as client:
        with pytest.raises(ConnectFailed, match="is TLS spoken there"):
            await ask(client, f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
    listening.close()


async def test_proxies_are_asked_in_their_own_way() -> None:
    """http:// with the whole URL; https:// through a tunnel, in which TLS is checked; credentials for the proxy."""
    ca = trustme.CA()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(theirs)
    ours = ssl.create_default_context()
    ca.configure_trust(ours)
    asked: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if b"Proxy-Authorization: Basic dTpw" not in asked[-1]:
            writer.write(b"HTTP/1.1 407 Who are you\r\n\r\n")
            writer.close()
            return
        port = int(asked[-1].split(b" ")[1].rpartition(b":")[2])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Go ahead\r\nVia: x\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
            except ConnectionError:
                pass
            sink.close()

        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    listening = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with scripted(OK) as plain, scripted(OK, tls=theirs) as server, pool(tls=ours) as client:
        answer = await ask(client, "http://shop.test/a?b", proxy=plain.url.replace("//", "//u:p@"))
        assert answer == (200, b"ok")
        assert plain.heads[0].startswith(b"GET http://shop.test/a?b HTTP/1.1\r\nHost: shop.test\r\n")
        assert b"\r\nProxy-Authorization: Basic dTpw\r\n" in plain.heads[0]
        for _ in range(2):
            assert await ask(client, server.url, proxy=f"http://u:p@127.0.0.1:{port}") == (200, b"ok")
        assert [head.split(b"\r\n")[0] for head in asked] == [b"CONNECT 127.0.0.1:%d HTTP/1.1" % server.port]
        assert b"Proxy-Auth" not in server.heads[0]
        with pytest.raises(ConnectFailed, match=r"the proxy answered .*407 Who are you"):
            await ask(client, server.url, proxy=f"http://127.0.0.1:{port}")
        with pytest.raises(CertificateRefused):
            await ask(client, server.url, proxy=f"http://u:p@127.0.0.1:{port}", server_name="x.test")
    listening.close()


async def test_the_address_that_answers_is_taken() -> None:
    """`localhost` is ::1 and 127.0.0.1 on most machines, and only one of them is listened on; nobody there is said."""
    async with scripted(OK) as server, pool() as client:
        assert await ask(client, f"http://localhost:{server.port}/") == (200, b"ok")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            for host in ("127.0.0.1", "localhost"):
                with pytest.raises(ConnectFailed, match="Connection refused"):
                    await ask(client, f"http://{host}:{free.getsockname()[1]}/")
        with pytest.raises(ConnectFailed):
            await ask(client, "http://no-such-name.invalid/")


async def test_a_server_that_never_answers_the_call_is_given_up() -> None:
    """connect_seconds: a full backlog swallows the rest of the calls."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        deaf.setblocking(False)
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        async with pool(connect_seconds=0.2) as client:
            with pytest.raises(ConnectFailed, match=r"no connection within 0.2 s"):
                await ask(client, f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        for caller in callers:
            caller.close()


async def test_closing_ends_what_runs() -> None:
    """A request fails at once, and none begins afterwards."""

    async def never(server: Scripted, head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\nx")
        await asyncio.sleep(30)

    async with scripted(never) as server:
        client = Pool()
        asking = asyncio.ensure_future(ask(client, server.url))
        await until(lambda: server.heads)
        await client.close()
        with pytest.raises(BrokenAnswer):
            await asyncio.wait_for(asking, 5)
        with pytest.raises(Disconnected):
            await ask(client, server.url)
