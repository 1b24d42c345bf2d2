"""The page that probes ask: what it answers when, next to upstream's answer, and to garbage."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from heliograph.component.errors import ConfigError, StartError
from heliograph.component.lifecycle import Status
from heliograph.config.decode import from_plain
from heliograph.extensions.health_check import HealthCheck
from heliograph.extensions.health_check.config import HealthCheckConfig
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import HealthOfTest, TestHost
from heliograph.testing.settings import settings


async def ask(port: int, request: bytes = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = (await asyncio.wait_for(reader.read(), 5)).decode()
    writer.close()
    await writer.wait_closed()
    if not answer:
        return 0, {}, ""
    head, _, body = answer.partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    return int(line.split()[1]), dict(header.split(": ", 1) for header in headers), body


async def started(host: TestHost, **keys: Any) -> HealthCheck:
    config = from_plain(HealthCheckConfig, {"endpoint": "127.0.0.1:0", **keys})
    extension = HealthCheck(settings("extension", "health_check"), config)
    await extension.start(host)
    return extension


async def test_healthy_is_200_with_upstreams_json() -> None:
    """The three keys, with the time it has been up for."""
    clock = ManualClock()
    async with TestHost(clock=clock) as host:
        extension = await started(host)
        await clock.advance(65.5)
        status, headers, body = await ask(extension.port)
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert body == '{"status":"Server available","upSince":"2023-11-14T22:13:20Z","uptime":"1m5.5s"}'
        await extension.shutdown(0)


class SetBack(ManualClock):
    """A clock whose wall time is set back by an hour when `back` is set."""

    back = False

    def now_ns(self) -> int:
        """The wall clock."""
        return super().now_ns() - (3600 * 10**9 if self.back else 0)


async def test_uptime_does_not_follow_a_clock_that_is_set_back() -> None:
    """It is measured by the clock that never jumps."""
    clock = SetBack()
    async with TestHost(clock=clock) as host:
        extension = await started(host)
        await clock.advance(65.5)
        clock.back = True
        _, _, body = await ask(extension.port)
        assert '"uptime":"1m5.5s"' in body
        await extension.shutdown(0)


async def test_broken_for_good_is_503_and_says_who_and_why() -> None:
    """A crashed component is named; those that are well are not."""
    health = HealthOfTest()
    health.values = {
        "exporter/file": (Status.OK, ""),
        "receiver/otlp": (Status.PERMANENT_ERROR, "work crashed: KeyError: 'x'"),
    }
    async with TestHost(health=health) as host:
        extension = await started(host)
        status, _, body = await ask(extension.port)
        assert status == 503
        report = json.loads(body)
        assert report["status"] == "Server not available"
        assert report["components"] == {
            "receiver/otlp": {"status": "StatusPermanentError", "message": "work crashed: KeyError: 'x'"}
        }
        await extension.shutdown(0)


async def test_recoverable_is_200_and_named() -> None:
    """A backend that is away does not make Kubernetes kill the process, but one can see it."""
    health = HealthOfTest()
    health.values = {"exporter/otlp_grpc": (Status.RECOVERABLE_ERROR, "gateway:4317 refuses")}
    async with TestHost(health=health) as host:
        extension = await started(host)
        status, _, body = await ask(extension.port)
        assert status == 200
        assert json.loads(body)["components"]["exporter/otlp_grpc"]["message"] == "gateway:4317 refuses"
        await extension.shutdown(0)


async def test_not_ready_is_503() -> None:
    """Before start-up is over and while it drains."""
    health = HealthOfTest()
    health.is_ready = False
    async with TestHost(health=health) as host:
        extension = await started(host)
        status, _, body = await ask(extension.port)
        assert (status, json.loads(body)["upSince"]) == (503, "0001-01-01T00:00:00Z")
        await extension.shutdown(0)


async def test_path_and_response_body() -> None:
    """As upstream: exactly the path, and the fixed texts."""
    async with TestHost() as host:
        extension = await started(host, path="/h", response_body={"healthy": "I AM", "unhealthy": "NOT"})
        assert (await ask(extension.port))[0] == 404
        assert (await ask(extension.port, b"GET /h?x=1 HTTP/1.1\r\n\r\n"))[2] == "I AM"
        assert isinstance(host.health, HealthOfTest)
        host.health.is_ready = False
        assert (await ask(extension.port, b"GET /h HTTP/1.1\r\n\r\n"))[2] == "NOT"
        await extension.shutdown(0)


@pytest.mark.parametrize("request_", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"A" * 100_000, b"\x16\x03\x01\r\n\r\n"])
async def test_garbage_is_refused_and_the_next_one_answered(request_: bytes) -> None:
    """Bytes that are no HTTP get 400 or nothing."""
    async with TestHost() as host:
        extension = await started(host)
        try:
            status = (await ask(extension.port, request_))[0]
        except ConnectionError:
            status = 0
        assert status in (0, 400)
        assert (await ask(extension.port))[0] == 200
        assert (await ask(extension.port, b"HEAD / HTTP/1.1\r\n\r\n"))[2] == ""
        assert (await ask(extension.port, b"DELETE / HTTP/1.1\r\n\r\n"))[0] == 405
        await extension.shutdown(0)


async def test_a_taken_port_is_told() -> None:
    """With the port and the key."""
    async with TestHost() as host:
        first = await started(host)
        with pytest.raises(StartError, match=f"127.0.0.1:{first.port}: the port is taken.*endpoint of health_check"):
            await started(host, endpoint=f"127.0.0.1:{first.port}")
        await first.shutdown(0)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"path": "x"}, "path must start with /"),
        ({"endpoint": "nowhere"}, "has no port"),
        ({"use_v2": True}, "v2 form is not available"),
        ({"check_collector_pipeline": {"enabled": True}}, "remove check_collector_pipeline"),
    ],
)
def test_wrong_or_unavailable_keys_are_refused_by_name(keys: dict[str, Any], text: str) -> None:
    """Each with what to do."""
    with pytest.raises(ConfigError, match=re.escape(text)):
        from_plain(HealthCheckConfig, keys)


@pytest.mark.peer
async def test_the_answer_is_upstreams(upstream_collector: Callable[[str], Any], free_port: Callable[[], int]) -> None:
    """Same status, content type and keys as the real Collector."""
    port = free_port()
    upstream_collector(f"""
receivers: {{nop: {{}}}}
exporters: {{nop: {{}}}}
extensions: {{health_check: {{endpoint: "127.0.0.1:{port}"}}}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{logs: {{receivers: [nop], exporters: [nop]}}}}
""")
    theirs = await ask(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with TestHost() as host:
        extension = await started(host)
        ours = await ask(extension.port)
        await extension.shutdown(0)
    assert theirs[0] == ours[0] == 200
    assert theirs[1]["Content-Type"] == ours[1]["Content-Type"]
    assert list(json.loads(theirs[2])) == list(json.loads(ours[2]))
    pattern = r'\{"status":"Server available","upSince":"[\dT:.-]+Z","uptime":"[\d.]+(s|ms|µs)"\}'
    assert re.fullmatch(pattern, theirs[2])
    assert re.fullmatch(pattern, ours[2])
