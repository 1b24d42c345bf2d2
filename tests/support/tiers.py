"""The whole architecture as processes on free ports, for journeys: what `heliograph up` starts, in a test's hand."""

import argparse
import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from heliograph.app.up.command import add_arguments
from heliograph.app.up.plan import Role, plan
from heliograph.app.up.processes import Processes
from heliograph.net.grpc.client import GrpcChannel, GrpcError
from heliograph.net.grpc.status import RESOURCE_EXHAUSTED, UNAVAILABLE
from heliograph.presets import preset
from heliograph.store.client import store_file
from heliograph.store.documents import Documents
from heliograph.store.query import FOREVER

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SPANS = 400
"""Of a request of SpanSender."""
PADDING = "x" * 200
SECONDS = float(os.environ.get("HELIOGRAPH_JOURNEY_SECONDS", "8"))
"""How long a journey is under load; the acceptance runs use 30 and more."""


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody holds, below those that the kernel gives to clients."""
    while True:
        first = random.randrange(20_000, 32_000)
        if all(_free(first + place) for place in range(count)):
            return first


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def arguments(directory: Path, *more: str) -> argparse.Namespace:
    """The arguments of `heliograph up` with ports of its own."""
    first = free_ports(13)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    ports = ("--otlp-grpc-port", "--otlp-http-port", "--store-port", "--gateway-port", "--backend-port")
    flags = [f"{flag}={first + place}" for place, flag in enumerate(ports)]
    flags += [f"--health-port={first + 5}", f"--metrics-port={first + 9}", f"--directory={directory}", *more]
    return parser.parse_args(flags)


class Tiers:
    """Daemon, gateway, backend and store. The daemon reads container logs below `pods` and nothing else; `sets` are
    further `--set` arguments of it."""

    def __init__(self, directory: Path, pods: Path, sets: Sequence[str] = ()) -> None:
        self.directory = directory
        self.arguments = arguments(directory)
        self.notes: list[str] = []
        roles = [self._reading(role, pods, sets) if role.name == "daemon" else role for role in plan(self.arguments)]
        self.processes = {
            role.name: Processes([role], directory / "roles" / role.name / "log", self.notes.append) for role in roles
        }

    def _reading(self, role: Role, pods: Path, sets: Sequence[str]) -> Role:
        configs = [f"--config={preset(name)}" for name in ("daemon", "container-logs")]
        configs += [f"--set={one}" for one in sets]
        command = (*(part for part in role.command if not part.startswith("--config=")), *configs)
        return replace(role, command=command, environment={**role.environment, "HELIOGRAPH_POD_LOGS": str(pods)})

    async def __aenter__(self) -> "Tiers":
        for processes in self.processes.values():
            await processes.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for processes in reversed(self.processes.values()):
            await processes.stop()

    @property
    def restarts(self) -> int:
        """How often a role died and was started again."""
        return sum(processes.restarts for processes in self.processes.values())

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a role; when it dies of it, it is started again."""
        os.kill(self.processes[name].pid(name), number)

    def log(self, name: str) -> str:
        """What a role has logged."""
        return self.processes[name].log(name).read_text(errors="replace")

    def resident(self, name: str) -> int:
        """Peak resident bytes of a role's process."""
        status = Path(f"/proc/{self.processes[name].pid(name)}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def counts(self) -> dict[str, int]:
        """Documents by data stream."""
        documents = Documents(store_file(self.directory))
        try:
            return {stream.name: stream.documents for stream in documents.streams()}
        finally:
            documents.close()

    def documents(self, kind: str) -> list[dict[str, Any]]:
        """All documents of logs, metrics or traces."""
        documents = Documents(store_file(self.directory))
        try:
            names = [stream.name for stream in documents.streams() if stream.name.startswith(kind)]
            return [orjson.loads(row.source) for row in documents.read(names, FOREVER, ())]
        finally:
            documents.close()

    async def arrived(self, kind: str, expected: int, timeout: float = 90.0) -> int:
        """Wait for at least `expected` documents of a kind, then until no more come. Returns how many."""
        end = time.monotonic() + timeout
        while True:
            before = self._total(kind)
            await asyncio.sleep(1.0)
            after = self._total(kind)
            if (after >= expected and after == before) or time.monotonic() > end:
                return after

    def _total(self, kind: str) -> int:
        return sum(count for name, count in self.counts().items() if name.startswith(kind))


class ContainerWriter:
    """Writes numbered CRI lines as a container runtime does, rotated as a kubelet ("rename") or logrotate
    ("copytruncate") does it. Between copy and truncate nothing is written: that loss would be the writer's own."""

    def __init__(self, pods: Path, rotation: str, rate: int = 20_000) -> None:
        self.folder = pods / "shop_writer-0_0a1b2c3d-0000-4000-8000-000000000001" / "writer"
        self.folder.mkdir(parents=True)
        self.path = self.folder / "0.log"
        self.rotation = rotation
        self.rate = rate
        self.lines = 0
        self.rotations = 0

    async def run(self, seconds: float, rotate_every: float) -> None:
        """Write at the rate for a time."""
        file = self.path.open("ab", buffering=0)
        begun = rotated = time.monotonic()
        while (now := time.monotonic()) - begun < seconds:
            due = int((now - begun) * self.rate)
            file.write(b"".join(self._line(number) for number in range(self.lines, due)))
            self.lines = max(self.lines, due)
            if now - rotated > rotate_every:
                rotated = now
                self.rotations += 1
                file = await asyncio.to_thread(self._rotate, file)
            await asyncio.sleep(0.02)
        file.close()

    def _line(self, number: int) -> bytes:
        stamp = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}789Z"
        return f"{stamp} stdout F line {number} of a container that has much to say about its work\n".encode()

    def _rotate(self, file: Any) -> Any:
        target = self.folder / f"0.log.{datetime.now(UTC):%Y%m%d-%H%M%S}"
        if self.rotation == "rename":
            file.close()
            self.path.rename(target)
            return self.path.open("ab", buffering=0)
        target.write_bytes(self.path.read_bytes())
        os.truncate(self.path, 0)
        return file


class SpanSender:
    """Sends requests of numbered spans, one after the other, and again when it is told to keep them."""

    def __init__(self, port: int, host: str = "127.0.0.1", pause: float = 0.05) -> None:
        self.channel = GrpcChannel(host, port)
        self.pause = pause
        self.acknowledged = 0
        self.enough = False
        self.refusals: list[GrpcError] = []

    async def run(self, seconds: float) -> None:
        """Send for a time, or until it is enough; return when everything that was begun is acknowledged."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.enough:
            await self._send(self._request(self.acknowledged))
            self.acknowledged += SPANS
            await asyncio.sleep(self.pause)
        await self.channel.close()

    async def _send(self, body: bytes) -> None:
        while True:
            try:
                await self.channel.unary(EXPORT, body, metadata=[], timeout=10.0, compression="none")
                return
            except GrpcError as error:
                if error.status not in (RESOURCE_EXHAUSTED, UNAVAILABLE):
                    raise
                self.refusals.append(error)
                await asyncio.sleep(error.retry_after or 0.2)

    def _request(self, first: int) -> bytes:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = "sender"
        scope = resource.scope_spans.add()
        now = time.time_ns()
        for number in range(first, first + SPANS):
            scope.spans.add(
                trace_id=number.to_bytes(16, "big"),
                span_id=(number + 1).to_bytes(8, "big"),
                name=f"span {number} {PADDING}",
                start_time_unix_nano=now,
                end_time_unix_nano=now + 1000,
            )
        return bytes(request.SerializeToString())
