"""Outages of the Kubernetes of the lab: its API server stopped and started again, and a connection that can be cut.

The API server is started again with the command, environment and pid file that `kube` gave it, so that `kube` goes on
knowing it.
"""

import asyncio
import os
import signal
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from kubernetes_lab import Api

_START = 'cd "$LAB_FOLDER" && { setsid "$@" >>log/kube-apiserver.log 2>&1 </dev/null & echo $! >kube-apiserver.pid; }'


class ApiServerProcess:
    """The process of the lab's API server."""

    def __init__(self, api: Api) -> None:
        self._folder = api.kubeconfig.parent
        self._url = api.server
        found = Path(f"/proc/{self._pid()}")
        self._command = (found / "cmdline").read_bytes().decode().rstrip("\0").split("\0")
        pairs = (pair.partition("=") for pair in (found / "environ").read_bytes().decode().split("\0") if pair)
        self._environ = {name: value for name, _, value in pairs}
        self._changed = False

    def _pid(self) -> int:
        return int((self._folder / "kube-apiserver.pid").read_text())

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It answers nothing, and its connections stay."""
        os.kill(self._pid(), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._pid(), signal.SIGCONT)

    def kill(self) -> None:
        """End it without a farewell."""
        pid = self._pid()
        self._changed = True
        os.kill(pid, signal.SIGKILL)
        while _runs(pid):
            time.sleep(0.05)

    def start(self, flags: Sequence[str] = ()) -> None:
        """Start it and wait until it is ready. flags: more of them."""
        self._changed = bool(flags)
        environment = {**self._environ, "LAB_FOLDER": str(self._folder)}
        subprocess.run(["sh", "-c", _START, "sh", *self._command, *flags], check=True, env=environment)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting)
        )
        end = time.monotonic() + 90
        while True:
            try:
                with opener.open(f"{self._url}/readyz", timeout=2):
                    return
            except OSError:
                assert time.monotonic() < end, "the API server did not come back within 90 s"
                time.sleep(0.1)

    def restore(self) -> None:
        """Let it run with the flags that it had at first."""
        if self._changed:
            if _runs(self._pid()):
                self.kill()
            self.start()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Line:
    """A way to the API server that can be cut. `kubeconfig` leads through it. Use as an async context."""

    def __init__(self, api: Api, folder: Path) -> None:
        parts = urlsplit(api.server)
        assert parts.hostname is not None
        self._to = parts.hostname, parts.port
        self._api = api
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self.kubeconfig = folder / "kubeconfig-of-line"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        text = self._api.kubeconfig.read_text()
        self.kubeconfig.write_text(text.replace(self._api.server, self.url))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()

    def cut(self) -> None:
        """End all connections; new ones end at once."""
        self._is_cut = True
        self.drop()

    def mend(self) -> None:
        """New connections work."""
        self._is_cut = False

    def drop(self) -> None:
        """End all connections that there are."""
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far = await asyncio.open_connection(*self._to)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far}
        await asyncio.gather(_pass_on(reader, far), _pass_on(far_reader, writer))
        self._open -= {writer, far}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()
