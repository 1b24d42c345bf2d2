"""A gateway as a process: OTLP in, elasticapm, a queue on disk, Elasticsearch out; killed and started by a test."""

import asyncio
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp

_CONFIG = """
receivers:
  otlp: {{protocols: {{grpc: {{endpoint: "127.0.0.1:{port}"}}}}}}
processors:
  elasticapm:
connectors:
  elasticapm:
    aggregation: {{directory: {folder}/aggregation}}
exporters:
  elasticsearch:
    endpoints: ["{url}"]
    user: {user}
    password: {password}
    retry: {{max_interval: 2s}}
    own_ids: {{enabled: true}}
    sending_queue:
      storage: file_storage
      sizer: bytes
      queue_size: {queue}
      block_on_overflow: false
      batch: {{flush_timeout: 200ms, min_size: 100000, max_size: 500000}}
extensions:
  file_storage: {{directory: {folder}/storage, create_directory: true}}
  health_check: {{endpoint: "127.0.0.1:{health}"}}
service:
  extensions: [file_storage, health_check]
  telemetry: {{metrics: {{readers: [{{pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {metrics}}}}}}}}}]}}}}
  pipelines:
    logs: {{receivers: [otlp], processors: [elasticapm], exporters: [elasticsearch, elasticapm]}}
    traces: {{receivers: [otlp], processors: [elasticapm], exporters: [elasticsearch, elasticapm]}}
    metrics: {{receivers: [elasticapm], exporters: [elasticsearch]}}
"""


class Gateway:
    """Use as an async context manager. port: the first of three that are free. queue: bytes of each queue."""

    def __init__(self, folder: Path, port: int, url: str, user: str, password: str, *, queue: int) -> None:
        self.port = port
        self._health = f"http://127.0.0.1:{port + 1}/"
        self._log = folder / "gateway.log"
        config = folder / "gateway.yaml"
        config.write_text(
            _CONFIG.format(
                port=port, health=port + 1, metrics=port + 2, url=url, user=user, password=password, folder=folder,
                queue=queue,
            )
        )  # fmt: skip
        self._command = [sys.executable, "-m", "heliograph", f"--config={config}"]
        self._process: asyncio.subprocess.Process | None = None
        self.storage = folder / "storage"

    async def __aenter__(self) -> "Gateway":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdout=log, stderr=log)
        async with asyncio.timeout(40):
            while not await self._ready():
                assert self._process.returncode is None, self.log
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """End it without a farewell."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> str:
        """End it as an operator does. Returns the table of its ledger."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(45):
            assert await self._process.wait() == 0, self.log
        return self.log.rpartition("ledger")[2]

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    @property
    def most_memory(self) -> int:
        """Peak resident bytes of the process."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) * 1024

    @property
    def on_disk(self) -> int:
        """Bytes of its queues and of what it has set aside."""
        return sum(path.stat().st_size for path in self.storage.rglob("*.log"))

    async def trouble(self) -> str:
        """What health says is wrong, "" when nothing is."""
        async with aiohttp.ClientSession() as session, session.get(self._health) as answer:
            report: dict[str, Any] = json.loads(await answer.text())
        return "; ".join(component["message"] for component in report.get("components", {}).values())

    async def says(self, *texts: str) -> str:
        """Wait until health names all of these."""
        said = ""
        try:
            async with asyncio.timeout(30):
                while not all(text in said for text in texts):
                    said = await self.trouble()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"health never named {texts}; it says: {said!r}") from None
        return said

    async def is_well(self) -> None:
        """Wait until health names nothing."""
        async with asyncio.timeout(60):
            while await self.trouble():  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def _ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(self._health) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError):
            return False
