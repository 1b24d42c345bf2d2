"""The chart for Serverless on the cluster of the lab; behind the gateway a stand-in of the Managed OTLP Endpoint."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from deployment import Installed, installed, real_node
from kubernetes_lab import Api

KEY = "a-key-for-tests"

Document = dict[str, Any]


@dataclass
class Arrived:
    """What arrived at the endpoint. path: the file that it writes."""

    path: Path
    _read: int = 0
    _documents: list[Document] = field(default_factory=list)

    @property
    def documents(self) -> list[Document]:
        """Everything that arrived so far."""
        with self.path.open() as file:
            file.seek(self._read)
            for text in file:
                if not text.endswith("\n"):
                    break
                self._read += len(text.encode())
                self._documents.append(json.loads(text))
        return self._documents

    def wait(
        self,
        wanted: Callable[[Document], bool],
        what: str,
        told: Callable[[], str],
        seconds: float = 60,
        begin: int = 0,
    ) -> Document:
        """The first document that is wanted, of those from `begin` on. told: what a failure's message ends with."""
        end = time.monotonic() + seconds
        while True:
            for document in self.documents[begin:]:
                if wanted(document):
                    return document
            assert time.monotonic() < end, f"{what} did not arrive within {seconds:g} s; {told()}"
            time.sleep(0.5)


@dataclass
class Deployment:
    """The installed chart and what arrived at the endpoint."""

    release: Installed
    arrived: Arrived

    @property
    def shop(self) -> str:
        """The namespace of the shop."""
        return self.release.shop

    @property
    def documents(self) -> list[Document]:
        """Everything that arrived so far."""
        return self.arrived.documents

    def wait(self, wanted: Callable[[Document], bool], what: str, seconds: float = 60) -> Document:
        """The first document that is wanted."""
        return self.arrived.wait(wanted, what, self.release.told, seconds)


@contextlib.contextmanager
def managed_endpoint(address: str, folder: Path) -> Iterator[tuple[str, str, Arrived]]:
    """The stand-in of the Managed OTLP Endpoint: its URL, the authority of its certificate, and what arrives."""
    authority = trustme.CA()
    authority.issue_cert(address).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    arrived = folder / "arrived.jsonl"
    command = [sys.executable, "-m", "heliograph.testing.managed_endpoint_process", "--host=0.0.0.0", f"--key={KEY}"]
    command += [f"--certificate={folder / 'server.pem'}", f"--write={arrived}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as endpoint:
        try:
            assert endpoint.stdout is not None
            port = endpoint.stdout.readline().split()[1]
            yield f"https://{address}:{port}", authority.cert_pem.bytes().decode(), Arrived(arrived)
        finally:
            endpoint.terminate()


@contextlib.contextmanager
def serverless(
    kubernetes: Api, images: tuple[str, str], folder: Path, values: Mapping[str, Any] | None = None
) -> Iterator[Deployment]:
    """The endpoint, the chart with these values beside what leads to it, and the shop."""
    with managed_endpoint(real_node(kubernetes).address, folder) as (url, authority, arrived):
        secret = {"endpoint": url, "apiKey": KEY, "ca": authority}
        given = {"scenario": "serverless", "secret": secret, **(values or {})}
        with installed(kubernetes, images, folder, given) as release:
            yield Deployment(release, arrived)
