"""The gateway's preset in front of the stand-in of the Managed OTLP Endpoint: what it does with each of its rules.

The gateway is the preset as a process. Whoever sends to it is told what became of the data, as the gateway keeps none.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from heliograph.otlp.request import request
from heliograph.presets import preset
from heliograph.testing.managed_endpoint import ManagedEndpoint, Refusal, Taken, document
from heliograph.testing.samples import sample

KEY = "secret-of-the-test"
QUICK = {"initial_interval": "50ms", "max_interval": "200ms", "max_elapsed_time": "1s"}


@dataclass
class Gateway:
    """The gateway's process. port: where it takes OTLP over HTTP; metrics: where its own metrics are."""

    session: aiohttp.ClientSession
    port: int
    metrics_port: int
    log: Path

    async def send(self, signal: str, *parts: bytes) -> int:
        """Send a request; the status of the answer."""
        headers = {"Content-Type": "application/x-protobuf"}
        url = f"http://127.0.0.1:{self.port}/v1/{signal}"
        async with self.session.post(url, data=request(parts), headers=headers) as response:
            return response.status

    async def metric(self, name: str) -> float:
        """The sum of an own metric."""
        async with self.session.get(f"http://127.0.0.1:{self.metrics_port}/metrics") as response:
            rows = (await response.text()).splitlines()
        return sum(float(row.rpartition(" ")[2]) for row in rows if row.startswith(name + "{"))

    def told(self, word: str) -> bool:
        """Whether its log has this word."""
        return word in self.log.read_text()


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path, free_port: Callable[[], int]) -> Start:
    """A function that starts the gateway for an endpoint, with further configuration."""

    @asynccontextmanager
    async def started(endpoint: ManagedEndpoint, changed: dict[str, Any] | None = None) -> AsyncIterator[Gateway]:
        grpc, http, health, metrics = (free_port() for _ in range(4))
        ports = {"grpc": {"endpoint": f"127.0.0.1:{grpc}"}, "http": {"endpoint": f"127.0.0.1:{http}"}}
        reader = {"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": metrics}}}}
        here: dict[str, Any] = {
            "receivers": {"otlp": {"protocols": ports}},
            "exporters": {"otlp_grpc/managed": {"tls": {"insecure": True}, "retry_on_failure": QUICK}},
            "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health}"}},
            "service": {"telemetry": {"metrics": {"readers": [reader]}}},
        }
        command = [sys.executable, "-m", "heliograph", f"--config={preset('kubernetes-gateway-managed')}"]
        for number, config in enumerate((here, changed or {})):
            path = tmp_path / f"{number}.yaml"
            path.write_text(json.dumps(config))
            command.append(f"--config={path}")
        variables = {
            "OTEL_K8S_POD_IP": "127.0.0.1",
            "ELASTIC_OTLP_ENDPOINT": f"127.0.0.1:{endpoint.grpc_port}",
            "ELASTIC_API_KEY": KEY,
        }
        log = tmp_path / "gateway.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=output, stderr=output, env={**os.environ, **variables}
            )
        try:
            async with asyncio.timeout(30):
                while "everything is ready" not in log.read_text():
                    assert process.returncode is None, log.read_text()
                    await asyncio.sleep(0.05)
            async with aiohttp.ClientSession() as session:
                yield Gateway(session, http, metrics, log)
        finally:
            process.terminate()
            await process.wait()
        assert "the ledger does not close" not in log.read_text()

    return started


def parts(signal: str, count: int = 5) -> bytes:
    """A serialized Resource* message."""
    return bytes(sample(signal, "shop", count).SerializeToString())


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
async def test_each_signal_arrives_once(signal: str, start: Start) -> None:
    async with ManagedEndpoint({KEY: True}) as endpoint, start(endpoint) as gateway:
        assert await gateway.send(signal, parts(signal)) == 200
        assert {taken.signal for taken in endpoint.taken} == {signal}
        found = document(endpoint.taken[0])
        assert found["resource"]["service.name"] == "shop"
        json.dumps(found, default=str)
        assert endpoint.refused == {}


@pytest.mark.parametrize(
    ("keys", "words"),
    [({}, "the API key is invalid"), ({KEY: False}, "event:write")],
    ids=["unknown", "may not write"],
)
async def test_a_wrong_key_is_told_and_the_sender_keeps_the_data(
    keys: dict[str, bool], words: str, start: Start
) -> None:
    """The gateway answers that it may be tried again, as the key may be put right; the data arrives then, and once."""
    async with ManagedEndpoint(keys) as endpoint, start(endpoint) as gateway:
        assert await gateway.send("logs", parts("logs")) == 503
        assert endpoint.taken == []
        assert gateway.told(words)
        endpoint.keys[KEY] = True
        assert await gateway.send("logs", parts("logs")) == 200
        assert len(endpoint.taken) == 5


@pytest.mark.parametrize("kind", ["busy", "away"])
async def test_what_passes_is_tried_again_after_the_time_the_endpoint_asks_for(kind: str, start: Start) -> None:
    async with ManagedEndpoint({KEY: True}) as endpoint, start(endpoint) as gateway:
        endpoint.refuse.extend([Refusal(kind, 0.2), Refusal(kind, 0.2)])
        begun = asyncio.get_running_loop().time()
        assert await gateway.send("traces", parts("traces")) == 200
        assert asyncio.get_running_loop().time() - begun >= 0.4
        assert endpoint.refused == {kind: 2}
        assert len(endpoint.taken) == 5


async def test_pressure_that_lasts_comes_back_to_the_sender(start: Start) -> None:
    """The daemon has the data on its disk: the gateway neither keeps nor drops it."""
    async with ManagedEndpoint({KEY: True}) as endpoint, start(endpoint) as gateway:
        endpoint.busy = True
        assert await gateway.send("logs", parts("logs")) in (429, 503)
        endpoint.busy = False
        assert await gateway.send("logs", parts("logs")) == 200
        assert len(endpoint.taken) == 5
        assert await gateway.metric("heliograph_dropped_items") == 0


async def test_what_is_too_large_for_the_endpoint_is_cut(start: Start) -> None:
    async with ManagedEndpoint({KEY: True}, largest=20_000) as endpoint, start(endpoint) as gateway:
        many = parts("logs", 500)
        assert len(many) > 2 * endpoint.largest
        assert await gateway.send("logs", many) == 200
        assert len(endpoint.taken) == 500
        assert Counter(taken.record.SerializeToString() for taken in endpoint.taken) == Counter(records(many))
        assert endpoint.requests >= 3


def records(part: bytes) -> list[bytes]:
    """The serialized log records of a part."""
    found = ResourceLogs.FromString(part)
    return [record.SerializeToString() for scope in found.scope_logs for record in scope.log_records]


@pytest.mark.parametrize("signal", ["logs", "traces", "metrics"])
async def test_what_the_endpoint_rejects_of_a_request_is_dropped_and_counted(signal: str, start: Start) -> None:
    def odd(taken: Taken) -> str:
        odd.count += 1  # type: ignore[attr-defined]
        return "no room for this one" if odd.count % 2 else ""  # type: ignore[attr-defined]

    odd.count = 0  # type: ignore[attr-defined]
    async with ManagedEndpoint({KEY: True}, reject=odd) as endpoint, start(endpoint) as gateway:
        assert await gateway.send(signal, parts(signal)) == 200
        rejected = odd.count - len(endpoint.taken)  # type: ignore[attr-defined]
        assert rejected > 0
        assert gateway.told("no room for this one")
        items = {"logs": "log_records", "traces": "spans", "metrics": "metric_points"}[signal]
        assert await gateway.metric(f"otelcol_exporter_send_failed_{items}") == rejected
        assert await gateway.metric(f"otelcol_exporter_sent_{items}") == len(endpoint.taken)


async def test_what_the_endpoint_calls_malformed_is_not_sent_again(start: Start) -> None:
    async with ManagedEndpoint({KEY: True}) as endpoint, start(endpoint) as gateway:
        endpoint.refuse.append(Refusal("malformed"))
        assert 400 <= await gateway.send("logs", parts("logs")) < 500
        assert endpoint.refused == {"malformed": 1}
        assert endpoint.taken == []


async def test_over_http_the_same_rules_hold(start: Start) -> None:
    """The endpoint takes OTLP over HTTP too; the exporter of the preset is changed for it."""
    async with ManagedEndpoint({KEY: True}, largest=20_000) as endpoint:
        exporter = {
            "endpoint": f"http://127.0.0.1:{endpoint.http_port}",
            "headers": {"Authorization": f"ApiKey {KEY}"},
            "sending_queue": {"wait_for_result": True},
            "retry_on_failure": QUICK,
        }
        pipelines = {signal: {"exporters": ["otlp_http"]} for signal in ("logs", "metrics", "traces")}
        changed = {"exporters": {"otlp_http": exporter}, "service": {"pipelines": pipelines}}
        async with start(endpoint, changed) as gateway:
            endpoint.refuse.extend([Refusal("busy", 0.1), Refusal("away", 0.1)])
            assert await gateway.send("logs", parts("logs", 500)) == 200
            assert len(endpoint.taken) == 500
            assert endpoint.refused["too large"] >= 1
            endpoint.keys.clear()
            assert await gateway.send("logs", parts("logs")) == 503
            assert gateway.told("401")
