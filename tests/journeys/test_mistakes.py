"""Mistakes of whoever installs it: health and log name each with what to do, and nothing is lost until it is mended.

Daemon and gateway are processes with the presets of the chart; the endpoint is the stand-in for the Managed OTLP
Endpoint. The wrong key and the missing RBAC rule are tried in a cluster (tests/deploy, tests/cluster).
"""

import asyncio
import datetime
import json
import os
import signal
import ssl
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme

from heliograph.presets import preset
from heliograph.testing.managed_endpoint import ManagedEndpoint
from heliograph.testing.wait import until
from tiers import ContainerWriter, free_ports

pytestmark = pytest.mark.timeout(120)
GATEWAY = "127.77.0.1"
"""The gateway's "pod": an address of the loopback network that is its own, so that the preset's ports are free."""
RATE = 500


class Role:
    """A process of one role, with the page of its health."""

    def __init__(self, name: str, folder: Path, presets: tuple[str, ...], health: str, **environment: str) -> None:
        self.name = name
        self.environment = environment
        self._presets = presets
        self._health = f"http://{health}/"
        self._log = folder / f"{name}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *before: str, **environment: str) -> None:
        """Start it, or again with something else in its environment, and wait until it answers."""
        self.environment.update(environment)
        command = [*before, sys.executable, "-m", "heliograph", *(f"--config={preset(name)}" for name in self._presets)]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **self.environment}, stdout=log, stderr=log
            )
        async with asyncio.timeout(40):
            while (await self._get())[0] != 200:
                assert self._process.returncode is None, self.log
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End it as Kubernetes does."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(45):
                assert await process.wait() == 0, self.log

    async def says(self, *texts: str) -> None:
        """Wait until health and log name all of these."""
        async with asyncio.timeout(30):
            while True:
                _, body = await self._get()
                if all(text in body for text in texts):
                    break
                await asyncio.sleep(0.1)
        assert all(text in self.log for text in texts), self.log

    async def is_well(self) -> None:
        """Wait until health names no component."""
        async with asyncio.timeout(30):
            while True:
                status, body = await self._get()
                if status == 200 and "components" not in json.loads(body):
                    return
                await asyncio.sleep(0.1)

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(errors="replace")

    async def _get(self) -> tuple[int, str]:
        try:
            async with aiohttp.ClientSession() as session, session.get(self._health) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""


class Chain:
    """Daemon and gateway, and a container that writes."""

    def __init__(self, folder: Path, authority: trustme.CA | None, **environment: str) -> None:
        self.folder = folder
        self.writer = ContainerWriter(folder / "pods", "rename", rate=RATE)
        if authority is not None:
            authority.cert_pem.write_to_path(str(folder / "ca.crt"))
            environment["HELIOGRAPH_CA_FILE"] = str(folder / "ca.crt")
        self.gateway = Role(
            "gateway", folder, ("kubernetes-gateway-managed",), f"{GATEWAY}:13133",
            OTEL_K8S_POD_IP=GATEWAY, ELASTIC_API_KEY="key", **environment,
        )  # fmt: skip
        port = free_ports(4)
        self.daemon = Role(
            "daemon", folder, ("daemon", "container-logs"), f"127.0.0.1:{port}",
            HELIOGRAPH_GATEWAY=f"{GATEWAY}:4317", HELIOGRAPH_POD_LOGS=str(folder / "pods"),
            HELIOGRAPH_STORAGE=str(folder / "storage"), HELIOGRAPH_HEALTH=f"127.0.0.1:{port}",
            HELIOGRAPH_OTLP_GRPC=f"127.0.0.1:{port + 1}", HELIOGRAPH_OTLP_HTTP=f"127.0.0.1:{port + 2}",
            HELIOGRAPH_METRICS_PORT=str(port + 3),
        )  # fmt: skip

    async def write(self, seconds: float = 2.0) -> None:
        """Let the container write for a while."""
        await self.writer.run(self.writer.lines / RATE + seconds, rotate_every=1000)

    async def all_arrived(self, endpoint: ManagedEndpoint) -> None:
        """Wait until all is well and every line is there, once."""
        await until(lambda: len(endpoint.of("logs")) >= self.writer.lines, "the lines", timeout=40)
        for role in (self.gateway, self.daemon):
            await role.is_well()
        numbers = Counter(int(taken.record.body.string_value.split()[1]) for taken in endpoint.of("logs"))
        assert numbers == Counter(range(self.writer.lines))


@asynccontextmanager
async def chain(folder: Path, authority: trustme.CA | None = None, **environment: str) -> AsyncIterator[Chain]:
    """Both roles, started."""
    made = Chain(folder, authority, **environment)
    await made.gateway.start()
    await made.daemon.start()
    try:
        yield made
    finally:
        await made.daemon.stop()
        await made.gateway.stop()


@pytest.fixture
def authority() -> trustme.CA:
    """Who signs the endpoint's certificates."""
    return trustme.CA()


def endpoint(authority: trustme.CA, name: str = "127.0.0.1", ends: datetime.datetime | None = None) -> ManagedEndpoint:
    """The endpoint with a certificate for a name, that is valid until it ends."""
    certificate = authority.issue_cert(name, not_after=ends)

    def context() -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(made)
        made.set_alpn_protocols(["h2", "http/1.1"])
        return made

    return ManagedEndpoint(tls=context)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [("https://127.0.0.1:{port}", "Connection refused"), ("https://no-such-host.invalid:443", "cannot resolve")],
)
async def test_wrong_endpoint(tmp_path: Path, authority: trustme.CA, wrong: str, told: str) -> None:
    """An address where nobody listens, and a name that there is not; mended as an upgrade does, by another process."""
    async with endpoint(authority) as server:
        wrong = wrong.format(port=free_ports(1))
        async with chain(tmp_path, authority, ELASTIC_OTLP_ENDPOINT=wrong) as tried:
            await tried.write()
            await tried.gateway.says("otlp_grpc/managed", told, wrong.removeprefix("https://"))
            await tried.write()
            await tried.gateway.stop()
            await tried.gateway.start(ELASTIC_OTLP_ENDPOINT=f"https://127.0.0.1:{server.grpc_port}")
            await tried.all_arrived(server)


async def test_expired_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    """The endpoint's; mended there, while the gateway runs on."""
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    async with endpoint(authority, ends=yesterday) as expired:
        address = f"https://127.0.0.1:{expired.grpc_port}"
        async with chain(tmp_path, authority, ELASTIC_OTLP_ENDPOINT=address) as tried:
            await tried.write()
            await tried.gateway.says("otlp_grpc/managed", "certificate has expired")
            port = expired.grpc_port
            await expired.stop()
            renewed = endpoint(authority)
            await renewed.start(grpc_port=port)
            try:
                await tried.write()
                await tried.all_arrived(renewed)
            finally:
                await renewed.stop()
        assert expired.requests == 0


@pytest.mark.parametrize("mistake", ["authority", "name"])
async def test_certificate_of_somebody_else(tmp_path: Path, authority: trustme.CA, mistake: str) -> None:
    """Signed by an unknown authority, or made for another name."""
    wrong = endpoint(trustme.CA()) if mistake == "authority" else endpoint(authority, "elsewhere.example")
    async with wrong:
        address = f"https://127.0.0.1:{wrong.grpc_port}"
        async with chain(tmp_path, authority, ELASTIC_OTLP_ENDPOINT=address) as tried:
            await tried.write()
            told = "unable to get local issuer certificate" if mistake == "authority" else "not valid for '127.0.0.1'"
            await tried.gateway.says("otlp_grpc/managed", told)
            async with endpoint(authority) as right:
                await tried.gateway.stop()
                await tried.gateway.start(ELASTIC_OTLP_ENDPOINT=f"https://127.0.0.1:{right.grpc_port}")
                await tried.all_arrived(right)
        assert wrong.requests == 0


async def test_log_folder_that_cannot_be_read(authority: trustme.CA) -> None:
    """Of the container; the daemon names it, and reads all of it when it may."""
    without_right: Mapping[bool, tuple[str, ...]] = {
        True: ("setpriv", "--bounding-set=-dac_override,-dac_read_search"),
        False: (),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with endpoint(authority) as server:
            address = f"https://127.0.0.1:{server.grpc_port}"
            tried = Chain(folder, authority, ELASTIC_OTLP_ENDPOINT=address)
            await tried.write()
            tried.writer.folder.chmod(0)
            try:
                await tried.gateway.start()
                await tried.daemon.start(*without_right[os.geteuid() == 0])
                await tried.daemon.says("file_log/containers", str(tried.writer.folder), "Permission denied")
                assert not server.of("logs")
                tried.writer.folder.chmod(0o755)
                await tried.write()
                await tried.all_arrived(server)
            finally:
                tried.writer.folder.chmod(0o755)
                await tried.daemon.stop()
                await tried.gateway.stop()
