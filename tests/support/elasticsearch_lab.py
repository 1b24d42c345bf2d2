"""An Elasticsearch of the lab for one test file: secured, and killed and started again as the test likes."""

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

ROLE = {
    "cluster": ["monitor"],
    "indices": [{"names": ["logs-*", "metrics-*", "traces-*"], "privileges": ["auto_configure", "create_doc"]}],
}
"""What writing needs."""


class Elasticsearch:
    """One server with a folder of its own. url, password: of the user elastic, known after `up`."""

    def __init__(self, lab: Path, port: int) -> None:
        self._command = lab / "elasticsearch" / "elasticsearch"
        self._port = port
        # Not below pytest's own folder: the server runs as another user, which that one is closed to.
        self._folder = Path(tempfile.mkdtemp(prefix="heliograph-elasticsearch-"))
        self._folder.chmod(0o755)
        self.url = f"http://127.0.0.1:{port}"
        self.password = ""
        self._pid_file = self._folder / f"run-{port}" / "pid"
        self._environ: dict[str, str] = {}
        self._owner = 0

    def up(self) -> None:
        """Start it with Elastic's templates, and wait until it answers."""
        said = ""
        for _ in range(3):  # right after its start, a secured one may not know its own users yet
            ended = self._run("up", "--heap", "512m", "--secure")
            said = ended.stdout + ended.stderr
            if ended.returncode == 0:
                pairs = (line.partition(": ") for line in ended.stdout.splitlines())
                self.password = {name: value for name, _, value in pairs}["password"]
                return
            self._run("down")
        raise AssertionError(f"Elasticsearch did not start:\n{said}")

    def start_again(self) -> None:
        """Start the killed one with the data that it had, and wait until it runs; `answers` waits for more."""
        (home,) = self._folder.glob("elasticsearch-*")
        command = [str(home / "bin" / "elasticsearch"), "-d", "-p", str(self._pid_file)]
        options = {"user": self._owner, "group": self._owner, "extra_groups": []} if self._owner else {}
        subprocess.run(command, check=True, env=self._environ, cwd=home, capture_output=True, **options)  # type: ignore[call-overload]

    def kill(self) -> None:
        """End it without a farewell."""
        pid = int(self._pid_file.read_text())
        process = Path(f"/proc/{pid}")
        pairs = (pair.partition("=") for pair in (process / "environ").read_bytes().decode().split("\0") if pair)
        self._environ = {name: value for name, _, value in pairs}
        self._owner = process.stat().st_uid
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 20
        while _runs(process):
            assert time.monotonic() < end, "the killed server is still there"
            time.sleep(0.05)

    def down(self) -> None:
        """Stop it and remove all of it."""
        self._run("down")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, verb: str, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [str(self._command), verb, "--port", str(self._port), "--dir", str(self._folder), *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """A request of the user elastic's, made again while shards are being assigned (an index made this moment)."""
        credentials = base64.b64encode(f"elastic:{self.password}".encode()).decode()
        end = time.monotonic() + 20
        async with aiohttp.ClientSession(headers={"Authorization": f"Basic {credentials}"}) as session:
            while True:
                async with session.request(method, self.url + path, json=body) as answer:
                    if answer.status != 503 or time.monotonic() > end:
                        assert answer.status < 300, await answer.text()
                        return await answer.json()
                await asyncio.sleep(0.2)

    async def user(self, name: str, password: str) -> None:
        """A user with a role of the same name that may write."""
        await self.call("PUT", f"/_security/role/{name}", ROLE)
        await self.call("PUT", f"/_security/user/{name}", {"password": password, "roles": [name]})

    async def setting(self, index: str, name: str, value: object) -> None:
        """Set a setting of indices or data streams; None takes it away."""
        await self.call("PUT", f"/{index}/_settings?ignore_unavailable=true", {name: value})

    async def cluster_setting(self, name: str, value: object) -> None:
        """Set a setting of the cluster; None takes it away."""
        await self.call("PUT", "/_cluster/settings", {"persistent": {name: value}})

    async def count(self, index: str) -> int:
        """Documents of indices or data streams."""
        await self.call("POST", f"/{index}/_refresh?ignore_unavailable=true")
        found: int = (await self.call("GET", f"/{index}/_count?ignore_unavailable=true"))["count"]
        return found

    async def values(self, index: str, field: str) -> Counter[str]:
        """How often each value of `_id` or of a keyword is there."""
        found: Counter[str] = Counter()
        body: dict[str, Any] = {"size": 10_000, "sort": ["_doc"], "_source": False, "fields": [field]}
        page = await self.call("POST", f"/{index}/_search?scroll=1m", body)
        while page["hits"]["hits"]:
            for hit in page["hits"]["hits"]:
                found[hit["_id"] if field == "_id" else hit["fields"][field][0]] += 1
            page = await self.call("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        await self.call("DELETE", "/_search/scroll", {"scroll_id": page["_scroll_id"]})
        return found

    async def answers(self) -> None:
        """Wait until it knows us and all its indices."""
        end = time.monotonic() + 60
        while True:
            try:
                health = await self.call("GET", "/_cluster/health?wait_for_status=yellow")
                shards = (await self.call("GET", "/logs-*,traces-*/_count"))["_shards"]
                if not health["timed_out"] and shards["successful"] == shards["total"]:
                    return
            except (aiohttp.ClientError, AssertionError):
                pass
            assert time.monotonic() < end, "Elasticsearch does not answer"
            await asyncio.sleep(0.2)


def _runs(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
