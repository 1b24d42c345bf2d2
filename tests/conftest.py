"""What all tests may use: free ports, the lab with its peers, and the upstream Collector as a process."""

import asyncio
import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import aiohttp
import pytest
import trustme

ROOT = Path(__file__).resolve().parent.parent


def lab_folder() -> Path | None:
    """The folder with the peers: $HELIOGRAPH_LAB, else ../shared/lab beside the repository."""
    folder = Path(os.environ.get("HELIOGRAPH_LAB") or ROOT.parent / "shared" / "lab")
    return folder if folder.is_dir() else None


def missing(what: str) -> NoReturn:
    """Skip the test because a peer is not here; in CI (CI=true) that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not here, and in CI no test is skipped for that")
    pytest.skip(f"{what} is not here (set HELIOGRAPH_LAB)")


@pytest.fixture(scope="session")
def lab() -> Path:
    """The folder with the peers."""
    folder = lab_folder()
    if folder is None:
        missing("the lab with the peers")
    return folder


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that gives a TCP port of the loopback interface which nobody listens on, another one each time."""
    given: set[int] = set()

    def take() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in given:
                given.add(port)
                return port

    return take


class UpstreamCollector:
    """A running upstream Collector. log: the file with its stderr and stdout."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM and wait; blocks the event loop, so use `stopped` when it still sends to this process."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    async def stopped(self, timeout: float = 20.0) -> int:
        """SIGTERM and wait while this process goes on receiving."""
        return await asyncio.to_thread(self.stop, timeout)


@pytest.fixture
def upstream_collector(lab: Path, tmp_path: Path) -> Iterator[Callable[[str], UpstreamCollector]]:
    """A function that starts the upstream Collector with a YAML text and returns when it is ready. Everything is
    stopped after the test. Configure `service::telemetry::metrics::level: none` or a free port for its own metrics."""
    binary = lab / "collector" / "collector"
    if not binary.exists():
        missing(str(binary))
    running: list[UpstreamCollector] = []

    def start(text: str, timeout: float = 20.0) -> UpstreamCollector:
        number = len(running)
        config, log = tmp_path / f"upstream-{number}.yaml", tmp_path / f"upstream-{number}.log"
        config.write_text(text)
        with log.open("wb") as output:
            process = subprocess.Popen([binary, f"--config={config}"], stdout=output, stderr=output)
        collector = UpstreamCollector(process, log)
        running.append(collector)
        end = time.monotonic() + timeout
        while "Everything is ready" not in collector.output():
            if process.poll() is not None:
                pytest.fail(f"the upstream Collector ended with {process.returncode}:\n{collector.output()}")
            if time.monotonic() > end:
                pytest.fail(f"the upstream Collector was not ready within {timeout} s:\n{collector.output()}")
            time.sleep(0.02)
        return collector

    yield start
    for collector in running:
        collector.stop()


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of one test session: a CA, a server certificate for localhost and 127.0.0.1, a client certificate, and
    a certificate of another CA that nobody trusts."""

    ca: str
    server_cert: str
    server_key: str
    client_cert: str
    client_key: str
    stranger_ca: str
    stranger_cert: str
    stranger_key: str


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Freshly made certificates."""
    folder = tmp_path_factory.mktemp("certificates")

    def write(name: str, *blobs: trustme.Blob) -> str:
        path = folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    ca, stranger = trustme.CA(), trustme.CA()
    server = ca.issue_cert("localhost", "127.0.0.1")
    client, other = ca.issue_cert("client@example.test"), stranger.issue_cert("localhost", "127.0.0.1")
    return Certificates(
        ca=write("ca.pem", ca.cert_pem),
        server_cert=write("server.pem", *server.cert_chain_pems),
        server_key=write("server.key", server.private_key_pem),
        client_cert=write("client.pem", *client.cert_chain_pems),
        client_key=write("client.key", client.private_key_pem),
        stranger_ca=write("stranger-ca.pem", stranger.cert_pem),
        stranger_cert=write("stranger.pem", *other.cert_chain_pems),
        stranger_key=write("stranger.key", other.private_key_pem),
    )


@pytest.fixture(scope="session")
def elasticsearch_url(lab: Path) -> Iterator[str]:
    """The lab's real Elasticsearch with Elastic's OpenTelemetry templates, one for all tests ($ELASTICSEARCH_LAB_URL
    names one that runs already)."""
    running = os.environ.get("ELASTICSEARCH_LAB_URL")
    if running:
        yield running
        return
    with _elasticsearch(lab) as said:
        yield said["url"]


@dataclass(frozen=True, slots=True)
class SecureElasticsearch:
    """Elasticsearch that asks for credentials. password: of the user elastic."""

    url: str
    password: str

    async def api_key(self, role: dict[str, object]) -> str:
        """A new API key with one role, in its encoded form."""
        made = await self.call("POST", "/_security/api_key", {"name": "test", "role_descriptors": {"role": role}})
        encoded: str = made["encoded"]
        return encoded

    async def invalidate(self, key: str) -> None:
        """Take a key away."""
        id = base64.b64decode(key).decode().partition(":")[0]
        await self.call("DELETE", "/_security/api_key", {"ids": [id]})

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """A request of the user elastic's."""
        credentials = base64.b64encode(f"elastic:{self.password}".encode()).decode()
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Basic {credentials}"}) as session,
            session.request(method, self.url + path, json=body) as answer,
        ):
            assert answer.status < 300, await answer.text()
            return await answer.json()


@pytest.fixture(scope="session")
def secure_elasticsearch(lab: Path) -> Iterator[SecureElasticsearch]:
    """The lab's real Elasticsearch with its security switched on ($ELASTICSEARCH_SECURE_LAB_URL, with user and
    password in it, names one that runs already)."""
    running = os.environ.get("ELASTICSEARCH_SECURE_LAB_URL")
    if running:
        parts = urlsplit(running)
        yield SecureElasticsearch(f"{parts.scheme}://{parts.hostname}:{parts.port}", parts.password or "")
        return
    with _elasticsearch(lab, "--secure") as said:
        yield SecureElasticsearch(said["url"], said["password"])


@contextmanager
def _elasticsearch(lab: Path, *options: str) -> Iterator[dict[str, str]]:
    """Start one for as long as needed; gives what the command says: url, password."""
    command = lab / "elasticsearch" / "elasticsearch"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    # Not below pytest's own folder: the server runs as another user, which that one is closed to.
    folder = tempfile.mkdtemp(prefix="heliograph-elasticsearch-")
    os.chmod(folder, 0o755)
    # Right after its start, a secured one may not know its own users yet: then it is started again.
    for _ in range(3):
        up = subprocess.run(
            [command, "up", "--port", port, "--dir", folder, "--heap", "512m", *options],
            capture_output=True,
            text=True,
            check=False,
        )
        if up.returncode == 0:
            break
        subprocess.run([command, "down", "--port", port, "--dir", folder], capture_output=True, check=False)
    if up.returncode != 0:
        pytest.fail(f"Elasticsearch did not start:\n{up.stdout}\n{up.stderr}")
    lines = (line.partition(": ") for line in up.stdout.splitlines())
    try:
        yield {name: value for name, colon, value in lines if colon}
    finally:
        subprocess.run([command, "down", "--port", port, "--dir", folder], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
