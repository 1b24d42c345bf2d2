"""apikeyauth: who is let in, what is remembered, and what senders are told when Elasticsearch cannot be asked."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph import catalog
from heliograph.component.auth import PermissionDenied, ServerAuth, Unauthenticated
from heliograph.component.errors import ConfigError, Permanent, Retryable
from heliograph.component.ids import Kind, Signal
from heliograph.config.decode import from_plain
from heliograph.net.grpc.status import decode_retry_after
from heliograph.testing.clock import ManualClock
from heliograph.testing.key_server import KeyServer, encoded
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.telemetry import Telemetry
from heliograph.testing.wait import until

Start = Callable[..., Awaitable[Any]]
GOOD, POOR, STRANGER = encoded("good", "secret"), encoded("poor", "secret"), encoded("stranger", "secret")
WRITE = ("apm", "event:write", "*")
QUICK = {"initial_interval": "1ms", "max_interval": "2ms"}


def shown(key: str, scheme: str = "ApiKey", projects: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Headers with a key, and with X-Project."""
    headers: dict[str, tuple[str, ...]] = {"authorization": (f"{scheme} {key}",)}
    return {**headers, "x-project": projects} if projects else headers


async def test_a_key_with_the_privilege_is_let_in_and_asked_about_once(start: Start, server: KeyServer) -> None:
    """Elasticsearch gets upstream's question with the sender's own key; the scheme's case does not matter."""
    server.allow[GOOD] = {WRITE}
    auth = await start(server.url)
    assert isinstance(auth, ServerAuth)
    for scheme in ("ApiKey", "apikey", "APIKEY"):
        assert await auth.authenticate(shown(GOOD, scheme), "/") == {"username": "ada", "api_key": "good"}
    question = {"application": [{"application": "apm", "privileges": ["event:write"], "resources": ["-"]}]}
    assert server.questions == [("/_security/user/_has_privileges", GOOD, question)]


async def test_refusals_tell_who_may_not_from_who_is_unknown_and_are_remembered(
    start: Start, server: KeyServer
) -> None:
    """No rights: permission denied; unknown key: unauthenticated; each is asked about once."""
    server.allow[POOR] = {("apm", "config_agent:read", "*")}
    auth = await start(server.url)
    for _ in range(3):
        with pytest.raises(PermissionDenied, match="privilege"):
            await auth.authenticate(shown(POOR), "/")
        with pytest.raises(Unauthenticated, match="not valid"):
            await auth.authenticate(shown(STRANGER), "/")
    assert len(server.questions) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ("",)},
        {"authorization": ("Bearer x",)},
        {"authorization": ("ApiKey",)},
        {"authorization": ("ApiKey !!!",)},
        {"authorization": ("ApiKey " + base64.b64encode(b"no colon").decode(),)},
        {"authorization": ("ApiKey " + base64.b64encode(b"\xff\xfe:x").decode(),)},
        {"authorization": ("ApiKey \udcff",)},
        {"authorization": ("ApiKey " + "A" * 100_000,)},
    ],
)
async def test_what_is_no_key_is_refused_without_asking(
    headers: dict[str, tuple[str, ...]], start: Start, server: KeyServer
) -> None:
    """Whatever the header holds."""
    auth = await start(server.url)
    with pytest.raises(Unauthenticated):
        await auth.authenticate(headers, "/")
    assert server.questions == []


async def test_what_was_said_is_asked_again_after_its_time(start: Start, server: KeyServer) -> None:
    """A key that is taken away is refused at the latest after ttl."""
    clock = ManualClock()
    server.allow[GOOD] = {WRITE}
    auth = await start(server.url, clock=clock, cache={"ttl": "10s"})
    await auth.authenticate(shown(GOOD), "/")
    del server.allow[GOOD]
    await clock.advance(9.9)
    await auth.authenticate(shown(GOOD), "/")
    await clock.advance(0.2)
    with pytest.raises(Unauthenticated):
        await auth.authenticate(shown(GOOD), "/")
    assert len(server.questions) == 2


async def test_many_wrong_keys_neither_fill_the_memory_nor_push_a_good_one_out(start: Start, server: KeyServer) -> None:
    """Each kind has its own bound; a wrong secret with a good key's id is a key of its own."""
    server.allow[GOOD] = {WRITE}
    auth = await start(server.url, cache={"capacity": 5})
    await auth.authenticate(shown(GOOD), "/")
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await auth.authenticate(shown(encoded("good", f"guess {number}")), "/")
    asked = len(server.questions)
    assert asked == 21
    assert len(auth._verdicts) == 6
    await auth.authenticate(shown(GOOD), "/")
    assert len(server.questions) == asked
    others = [encoded(f"other {number}", "secret") for number in range(5)]
    for other in others:
        server.allow[other] = {WRITE}
        await auth.authenticate(shown(other), "/")
    await auth.authenticate(shown(GOOD), "/")
    assert len(server.questions) == asked + 6, "the least recently used of six good keys is asked about again"


async def test_requests_at_the_same_time_share_one_question(start: Start, server: KeyServer) -> None:
    """And a sender that goes away meanwhile takes nothing from the others."""
    server.allow[GOOD] = {WRITE}
    server.hold = asyncio.Event()
    auth = await start(server.url)
    requests = [asyncio.ensure_future(auth.authenticate(shown(GOOD), "/")) for _ in range(20)]
    await until(lambda: server.questions)
    requests[0].cancel()
    server.hold.set()
    answers = await asyncio.gather(*requests, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [{"username": "ada", "api_key": "good"}] * 19
    assert len(server.questions) == 1


async def test_without_privileges_any_valid_key_is_let_in(start: Start, server: KeyServer) -> None:
    """Elasticsearch refuses to be asked about no privilege: then it is asked whose key it is."""
    server.allow[POOR] = set()
    auth = await start(server.url, application_privileges=[])
    assert await auth.authenticate(shown(POOR), "/") == {"username": "ada", "api_key": "poor"}
    with pytest.raises(Unauthenticated):
        await auth.authenticate(shown(STRANGER), "/")
    assert {path for path, _, _ in server.questions} == {"/_security/_authenticate"}


async def test_resources_may_depend_on_headers(start: Start, server: KeyServer) -> None:
    """Each value makes a resource; values part the memory; a request without the header is a bad one."""
    server.allow[GOOD] = {("apm", "event:write", "-"), ("apm", "event:write", "project:100%:one")}
    dynamic = {"metadata": "X-Project", "format": "project:100%%:%s"}
    privileges = [{"application": "apm", "privileges": ["event:write"], "resources": ["-"],
                   "dynamic_resources": [dynamic]}]  # fmt: skip
    auth = await start(server.url, application_privileges=privileges, cache={"key_metadata": ["X-Project"]})
    for _ in range(2):
        await auth.authenticate(shown(GOOD, projects=("one",)), "/")
        for projects in (("two",), ("one", "two")):
            with pytest.raises(PermissionDenied):
                await auth.authenticate(shown(GOOD, projects=projects), "/")
    assert [question["application"][0]["resources"] for _, _, question in server.questions] == [
        ["-", "project:100%:one"],
        ["-", "project:100%:two"],
        ["-", "project:100%:one", "project:100%:two"],
    ]
    for headers in (shown(GOOD), shown(GOOD, projects=("\udcff",))):
        with pytest.raises(Permanent) as caught:
            await auth.authenticate(headers, "/")
        assert caught.value.code == 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_elasticsearch_is_asked_again(start: Start, server: KeyServer, status: int) -> None:
    """As often as configured; then the sender keeps its data and nothing is remembered."""
    server.allow[GOOD] = {WRITE}
    auth = await start(server.url, elasticsearch_retry={"max_retries": 2, **QUICK})
    server.answers.extend([status] * 2)
    assert (await auth.authenticate(shown(GOOD), "/"))["api_key"] == "good"
    server.answers.extend([status] * 3)
    other = encoded("other", "secret")
    server.allow[other] = {WRITE}
    with pytest.raises(Retryable) as caught:
        await auth.authenticate(shown(other), "/")
    assert caught.value.after == 1
    assert (await auth.authenticate(shown(other), "/"))["api_key"] == "other"
    assert len(server.questions) == 3 + 3 + 1


@pytest.mark.parametrize("status", [400, 404, 410, 500])
async def test_an_answer_that_says_nothing_of_the_key_lets_the_sender_keep_its_data(
    start: Start, server: KeyServer, status: int
) -> None:
    """A wrong endpoint or a defect is no fault of the sender's."""
    server.answers.append(status)
    auth = await start(server.url)
    with pytest.raises(Retryable):
        await auth.authenticate(shown(GOOD), "/")
    assert "cannot be checked" in auth._host.reports[-1][1]
    assert str(status) in auth._host.reports[-1][1]


async def test_over_otlp_each_refusal_has_its_status_and_nothing_passes(start: Start, server: KeyServer) -> None:
    """gRPC and HTTP: let in, 401, 403, 503 while Elasticsearch is down, and let in again when it is back."""
    server.allow |= {GOOD: {WRITE}, POOR: set()}
    retry = {"max_retries": 1, **QUICK}
    auth = await start(server.url, elasticsearch_retry=retry, cache={"ttl": "1ms"}, timeout="5s")
    keys = {"auth": {"authenticator": "apikeyauth"}}
    request = ExportLogsServiceRequest(
        resource_logs=[ResourceLogs.FromString(part) for part in Telemetry(1).parts("logs")]
    ).SerializeToString()
    async with (
        OTLPServer({"grpc": keys, "http": keys}, extensions={"apikeyauth": auth}) as otlp,
        aiohttp.ClientSession() as session,
        grpc.aio.insecure_channel(f"127.0.0.1:{otlp.ports['grpc']}") as channel,
    ):

        async def http(key: str) -> tuple[int, str | None]:
            headers = {"Content-Type": "application/x-protobuf", **({"Authorization": f"ApiKey {key}"} if key else {})}
            async with session.post(otlp.url("logs"), data=request, headers=headers) as response:
                return response.status, response.headers.get("Retry-After")

        async def rpc(key: str) -> tuple[str, float | None]:
            call = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
            try:
                await call(request, timeout=10, metadata=(("authorization", f"ApiKey {key}"),) if key else ())
            except grpc.aio.AioRpcError as error:
                details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
                raw = None if details is None else base64.b64encode(details).decode()
                return error.code().name, None if raw is None else decode_retry_after(raw)
            return "OK", None

        assert [await http(key) for key in ("", STRANGER, POOR)] == [(401, None), (401, None), (403, None)]
        assert [(await rpc(key))[0] for key in ("", STRANGER, POOR)] == [
            *("UNAUTHENTICATED", "UNAUTHENTICATED", "PERMISSION_DENIED")
        ]
        port = server.port
        await server.stop()
        assert await http(GOOD) == (503, "1")
        assert await rpc(GOOD) == ("UNAVAILABLE", 1.0)
        assert otlp.sinks[Signal.LOGS].items == 0, "nothing passed so far"
        await server.start(port)
        assert await http(GOOD) == (200, None)
        assert (await rpc(GOOD))[0] == "OK"
        context = otlp.sinks[Signal.LOGS].batches[0].context
        assert context.auth == {"username": "ada", "api_key": "good"}
        assert auth._host.reports[-1][0].value == "StatusOK"


async def test_a_check_that_takes_too_long_lets_the_sender_keep_its_data(start: Start, server: KeyServer) -> None:
    """`timeout` bounds the whole check."""
    server.hold = asyncio.Event()
    auth = await start(server.url, timeout="50ms")
    with pytest.raises(Retryable):
        await auth.authenticate(shown(GOOD), "/")
    server.hold.set()


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"endpoint": ""}, "endpoint"),
        ({"cache": {"capacity": 0}}, "capacity"),
        ({"cache": {"ttl": 0}}, "ttl"),
        ({"cache": {"pbkdf2_iterations": 0}}, "pbkdf2_iterations"),
        ({"elasticsearch_retry": {"max_retries": -1}}, "max_retries"),
        ({"elasticsearch_retry": {"initial_interval": "2s", "max_interval": "1s"}}, "max_interval"),
        ({"client_retry": {"retry_delay": 0}}, "retry_delay"),
        ({"application_privileges": [{"dynamic_resources": [{"metadata": "x"}]}]}, "key_metadata"),
        ({"application_privileges": [{"dynamic_resources": [{"format": "%s"}]}]}, "non-empty"),
        ({"application_privileges": [{"dynamic_resources": [{"metadata": "x", "format": "%d"}]}]}, "exactly one"),
        ({"application_privileges": [{"dynamic_resources": [{"metadata": "x", "format": "%s%v"}]}]}, "only contain"),
    ],
)
def test_mistakes_in_the_configuration_are_named(keys: dict[str, Any], problem: str) -> None:
    """Upstream's rules."""
    with pytest.raises(ConfigError, match=problem):
        from_plain(catalog.factory(Kind.EXTENSION, "apikeyauth").config, {"endpoint": "http://x", **keys})


@pytest.mark.elasticsearch
@pytest.mark.timeout(240)
async def test_a_real_elasticsearch_says_who_may_write_events(secure_elasticsearch: Any, start: Start) -> None:
    """Keys that it made: with the privilege, without it, taken away, and a wrong secret."""
    auth = await start(secure_elasticsearch.url, cache={"ttl": "1ms"})
    any_valid = await start(secure_elasticsearch.url, application_privileges=[], cache={"ttl": "1ms"})
    privilege = {"application": "apm", "privileges": ["event:write"], "resources": ["*"]}
    good = await secure_elasticsearch.api_key({"applications": [privilege]})
    poor = await secure_elasticsearch.api_key({"cluster": ["monitor"]})
    facts = await auth.authenticate(shown(good), "/")
    assert facts["username"] == "elastic"
    assert facts["api_key"] == base64.b64decode(good).decode().partition(":")[0]
    with pytest.raises(PermissionDenied):
        await auth.authenticate(shown(poor), "/")
    assert (await any_valid.authenticate(shown(poor), "/"))["username"] == "elastic"
    for extension in (auth, any_valid):
        with pytest.raises(Unauthenticated):
            await extension.authenticate(shown(encoded(facts["api_key"], "guess")), "/")
    await secure_elasticsearch.invalidate(good)
    with pytest.raises(Unauthenticated):
        await auth.authenticate(shown(good), "/")
