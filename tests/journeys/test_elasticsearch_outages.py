"""Elasticsearch away, overloaded, blocked, slow, full or closed to us, under load: from OTLP through a gateway with a
queue on disk into the real one. Nothing is lost, nothing is there twice, memory is bounded, what can flow flows, and
health says what is wrong.

An outage lasts some seconds here; with HELIOGRAPH_OUTAGES=long a minute.
"""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bulk_proxy import BulkProxy
from elasticsearch_lab import ROLE, Elasticsearch
from gateway_process import Gateway
from heliograph.net.grpc.client import GrpcChannel, GrpcError
from heliograph.net.grpc.status import RESOURCE_EXHAUSTED, UNAVAILABLE
from tiers import free_ports

pytestmark = [pytest.mark.elasticsearch, pytest.mark.timeout(400)]

LONG = os.environ.get("HELIOGRAPH_OUTAGES") == "long"
OUTAGE = 60.0 if LONG else 4.0
"""Seconds."""
QUEUE = 10_000_000
SOME_MEMORY = 90 * 1024 * 1024
"""What a loaded gateway may hold above an idle one: batches that are read, cut, encoded, compressed and sent by ten
consumers of each signal, and what the allocator keeps."""
USER, PASSWORD = "gateway", "a-password-of-a-test"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
SPANS = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
A_REQUEST = 50
"""Logs for each of two data streams, and spans, in one request."""


class Load:
    """Sends numbered logs for two datasets, `open` and `other`, and spans, and again what was not acknowledged.

    logs: of each dataset, spans: that were acknowledged. refusals: requests that were to be sent again."""

    def __init__(self, port: int) -> None:
        self._channel = GrpcChannel("127.0.0.1", port)
        self.namespace = f"outage{uuid.uuid4().hex[:8]}"
        self.logs = 0
        self.spans = 0
        self.refusals: list[GrpcError] = []
        self._ending = asyncio.Event()
        self._task = asyncio.gather(self._run_logs(), self._run_spans())

    def index(self, dataset: str) -> str:
        """The data stream of a dataset of logs."""
        return f"logs-{dataset}.otel-{self.namespace}"

    async def end(self) -> None:
        """Send nothing more; return when everything is acknowledged."""
        self._ending.set()
        async with asyncio.timeout(90):
            await self._task

    async def cancel(self) -> None:
        """Stop whatever is on its way."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._channel.close()

    async def _run_logs(self) -> None:
        while not self._ending.is_set():
            await self._send(LOGS, self._some_logs())
            self.logs += A_REQUEST
            await asyncio.sleep(0.05)

    async def _run_spans(self) -> None:
        while not self._ending.is_set():
            await self._send(SPANS, self._some_spans())
            self.spans += A_REQUEST
            await asyncio.sleep(0.05)

    async def _send(self, path: str, body: bytes) -> None:
        while True:
            try:
                await self._channel.unary(path, body, metadata=[], timeout=10.0, compression="none")
                return
            except GrpcError as error:
                if error.status not in (RESOURCE_EXHAUSTED, UNAVAILABLE):
                    raise
                self.refusals.append(error)
                await asyncio.sleep(error.retry_after or 0.2)

    def _some_logs(self) -> bytes:
        request = ExportLogsServiceRequest()
        for dataset in ("open", "other"):
            resource = request.resource_logs.add()
            resource.resource.attributes.add(key="data_stream.dataset").value.string_value = dataset
            resource.resource.attributes.add(key="data_stream.namespace").value.string_value = self.namespace
            scope = resource.scope_logs.add()
            for number in range(self.logs, self.logs + A_REQUEST):
                record = scope.log_records.add(time_unix_nano=time.time_ns())
                record.body.string_value = f"line {number} of what {dataset} has to say" + 200 * "."
                record.attributes.add(key="log.record.uid").value.string_value = f"{dataset}-{number}"
        return bytes(request.SerializeToString())

    def _some_spans(self) -> bytes:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="data_stream.namespace").value.string_value = self.namespace
        scope = resource.scope_spans.add()
        now = time.time_ns()
        for number in range(self.spans, self.spans + A_REQUEST):
            scope.spans.add(
                trace_id=number.to_bytes(16, "big"),
                span_id=(number + 1).to_bytes(8, "big"),
                name=f"span {number}",
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1000,
            )
        return bytes(request.SerializeToString())


@pytest.fixture(scope="module")
def elasticsearch(lab: Path) -> Iterator[Elasticsearch]:
    """One for this file, with a user of the gateway's."""
    server = Elasticsearch(lab, free_ports(1))
    try:
        server.up()
        yield server
    finally:
        server.down()


class Journey:
    """A gateway under load, and what it writes to. idle: bytes of the gateway's memory before."""

    def __init__(self, gateway: Gateway, load: Load, elasticsearch: Elasticsearch) -> None:
        self.gateway = gateway
        self.load = load
        self.elasticsearch = elasticsearch
        self.idle = gateway.most_memory

    async def flows(self, *datasets: str) -> None:
        """Wait until the logs of these datasets that are acknowledged now are indexed."""
        acknowledged = max(self.load.logs, A_REQUEST)
        for dataset in datasets:
            async with asyncio.timeout(40):
                while await self.elasticsearch.count(self.load.index(dataset)) < acknowledged:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

    async def ends_well(self) -> None:
        """The load ends, everything arrives once; the gateway was never large and accounts for all."""
        load, logs, traces = self.load, f"logs-*-{self.load.namespace}", f"traces-*-{self.load.namespace}"
        await load.end()
        assert load.logs > 0
        assert load.spans > 0
        expected = {f"{dataset}-{number}" for dataset in ("open", "other") for number in range(load.logs)}
        async with asyncio.timeout(120):
            while (  # noqa: ASYNC110
                await self.elasticsearch.count(logs) < len(expected)
                or await self.elasticsearch.count(traces) < load.spans
            ):
                await asyncio.sleep(0.2)
        await self.gateway.is_well()
        found = await self.elasticsearch.values(logs, "_id")
        assert set(found) == expected
        assert found.total() == len(expected), "logs that are there twice"
        names = await self.elasticsearch.values(traces, "name")
        assert set(names) == {f"span {number}" for number in range(load.spans)}
        assert names.total() == len(names), "spans that are there twice"
        memory = self.gateway.most_memory - self.idle
        print(f"{len(expected)} logs, {len(names)} spans, {memory >> 20} MiB more than idle, ", end="")
        print(f"{len(load.refusals)} refusals")
        assert memory < SOME_MEMORY
        ledger = await self.gateway.stop()
        assert "difference" in ledger, self.gateway.log
        for line in ledger.splitlines():
            if line.startswith(("difference", "waiting", "dropped", "dead_lettered")):
                assert not any(int(number) for number in line.split()[1:]), ledger


@asynccontextmanager
async def journey(folder: Path, elasticsearch: Elasticsearch, url: str = "") -> AsyncIterator[Journey]:
    """A gateway under load whose first documents are indexed."""
    await elasticsearch.answers()
    await elasticsearch.user(USER, PASSWORD)
    gateway = Gateway(folder, free_ports(3), url or elasticsearch.url, USER, PASSWORD, queue=QUEUE)
    async with gateway:
        load = Load(gateway.port)
        try:
            made = Journey(gateway, load, elasticsearch)
            await made.flows("open", "other")
            yield made
        finally:
            await load.cancel()


async def test_killed_and_started_again(tmp_path: Path, elasticsearch: Elasticsearch) -> None:
    """kill -9 of Elasticsearch under load: the gateway keeps everything on disk, says that it cannot connect, and sends
    when it is back."""
    async with journey(tmp_path, elasticsearch) as made:
        elasticsearch.kill()
        await made.gateway.says("cannot connect", elasticsearch.url)
        if LONG:
            await asyncio.sleep(OUTAGE)
        await asyncio.to_thread(elasticsearch.start_again)
        await elasticsearch.answers()
        await made.flows("open", "other")
        await made.ends_well()


@pytest.mark.parametrize("killed", [False, True], ids=["", "gateway killed meanwhile"])
async def test_overloaded(tmp_path: Path, elasticsearch: Elasticsearch, killed: bool) -> None:
    """429 for a while: health says so, requests come as seldom as Retry-After asks, and everything arrives."""
    async with BulkProxy(elasticsearch.url) as proxy, journey(tmp_path, elasticsearch, proxy.url) as made:
        proxy.retry_after = 2
        proxy.refusing = True
        begun = time.monotonic()
        await made.gateway.says("HTTP 429", "overloaded")
        if killed:
            await made.gateway.kill()
            await made.gateway.start()
        await asyncio.sleep(OUTAGE)
        await made.gateway.says("HTTP 429", "overloaded")
        consumers = 2 * 10
        attempts = 1 + (time.monotonic() - begun) / proxy.retry_after
        assert 0 < proxy.refused <= consumers * attempts * (2 if killed else 1)
        proxy.refusing = False
        await made.ends_well()


@pytest.mark.parametrize("killed", [False, True], ids=["", "gateway killed meanwhile"])
async def test_one_data_stream_is_blocked(tmp_path: Path, elasticsearch: Elasticsearch, killed: bool) -> None:
    """index.blocks.write on one data stream: the others are indexed as before, its documents wait on disk, health
    names it all the time, and they follow when the block is gone."""
    async with journey(tmp_path, elasticsearch) as made:
        blocked = made.load.index("other")
        await elasticsearch.setting(blocked, "index.blocks.write", True)
        before = await elasticsearch.count(blocked)
        said = await made.gateway.says(blocked, "403", "cluster_block_exception", "index.blocks")
        assert made.load.index("open") not in said
        if killed:
            await made.gateway.kill()
            await made.gateway.start()
            await made.gateway.says(blocked)
        end = time.monotonic() + OUTAGE
        while time.monotonic() < end:
            await made.flows("open")
            assert blocked in await made.gateway.trouble()
        assert await elasticsearch.count(blocked) == before
        await elasticsearch.setting(blocked, "index.blocks.write", None)
        await made.flows("open", "other")
        await made.ends_well()


async def test_slow(tmp_path: Path, elasticsearch: Elasticsearch) -> None:
    """5 s a bulk: documents go on arriving in every data stream, no request is given up, and memory stays as it is;
    when it is fast again, the rest follows."""
    async with BulkProxy(elasticsearch.url) as proxy, journey(tmp_path, elasticsearch, proxy.url) as made:
        proxy.delay = 5.0
        await asyncio.sleep(max(OUTAGE, 8.0))
        assert await made.gateway.trouble() == ""
        indices = [made.load.index("open"), made.load.index("other"), f"traces-*-{made.load.namespace}"]
        before = [await elasticsearch.count(index) for index in indices]
        await asyncio.sleep(proxy.delay + 2.0)
        after = [await elasticsearch.count(index) for index in indices]
        assert all(more > less for less, more in zip(before, after, strict=True)), (before, after)
        proxy.delay = 0.0
        await made.ends_well()


async def test_full_disk(tmp_path: Path, elasticsearch: Elasticsearch) -> None:
    """The block that Elasticsearch sets at the flood-stage watermark (429 cluster_block_exception), on every index:
    health says that a disk is full, the data waits, and nothing becomes a dead letter."""
    async with journey(tmp_path, elasticsearch) as made:
        everything = f"logs-*-{made.load.namespace},traces-*-{made.load.namespace}"
        await elasticsearch.setting(everything, "index.blocks.read_only_allow_delete", True)
        before = await elasticsearch.count(everything)
        await made.gateway.says("429", "cluster_block_exception", "disk of the cluster is full")
        await asyncio.sleep(OUTAGE)
        assert "disk of the cluster is full" in await made.gateway.trouble()
        assert await elasticsearch.count(everything) == before
        await elasticsearch.setting(everything, "index.blocks.read_only_allow_delete", None)
        await made.ends_well()


async def test_the_cluster_is_read_only(tmp_path: Path, elasticsearch: Elasticsearch) -> None:
    """cluster.blocks.read_only refuses whole requests (403 cluster_block_exception): health names the block and no
    missing rights, and the data waits in the queue."""
    async with journey(tmp_path, elasticsearch) as made:
        await elasticsearch.cluster_setting("cluster.blocks.read_only", True)
        try:
            said = await made.gateway.says("HTTP 403", "cluster_block_exception", "cluster.blocks")
            assert "create_doc" not in said
            await asyncio.sleep(OUTAGE)
        finally:
            await elasticsearch.cluster_setting("cluster.blocks.read_only", None)
        await made.ends_well()


async def test_credentials_are_taken_away(tmp_path: Path, elasticsearch: Elasticsearch) -> None:
    """A user that is disabled (401), then one without the right for one data stream (403 for its documents alone): the
    data waits, the second time that of this data stream only, and health says which credentials and rights."""
    async with journey(tmp_path, elasticsearch) as made:
        await elasticsearch.call("PUT", f"/_security/user/{USER}/_disable")
        await made.gateway.says("HTTP 401", "credentials are not accepted")
        await asyncio.sleep(OUTAGE)
        await elasticsearch.call("PUT", f"/_security/user/{USER}/_enable")
        await made.flows("open", "other")
        await made.gateway.is_well()
        names = [made.load.index("open"), "traces-*"]
        less = {**ROLE, "indices": [{"names": names, "privileges": ["auto_configure", "create_doc"]}]}
        await elasticsearch.call("PUT", f"/_security/role/{USER}", less)
        await made.gateway.says(made.load.index("other"), "403", "security_exception", "create_doc")
        await made.flows("open")
        await elasticsearch.call("PUT", f"/_security/role/{USER}", ROLE)
        await made.ends_well()
