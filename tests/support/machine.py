"""A machine of its own for a collector: its own network with a loopback alone, its own processes, its own /var/log.

So that a published configuration, which names its ports and paths, runs unchanged, whatever else listens here. Needs
root. Run as a program it is that machine's first process:

    machine.py FOLDER CONFIG SECONDS

starts the embedded store, an OTLP endpoint with TLS and an API key that writes to it, the collector with this
configuration, and the demo for some seconds; writes lines to /var/log/app.log; stops everything and ends with the
collector's exit code. In FOLDER: `ca.pem`, `server.pem` and `server.key` from before, then `store`, `logs` (what stands
at /var/log) and `collector.log`.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

STORE = "http://127.0.0.1:9200"
METRICS = "http://127.0.0.1:8888/metrics"
START_SECONDS = 40.0
LINES = 500
SERVICES = 3
"""Of the shop, each with a log."""
API_KEY = "a-key"
ENDPOINT = """
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:8443
        max_recv_msg_size_mib: 5
        tls: {{cert_file: {folder}/server.pem, key_file: {folder}/server.key}}
        auth: {{authenticator: bearertokenauth}}
exporters:
  elasticsearch: {{endpoints: ["{store}"], sending_queue: {{batch: {{flush_timeout: 200ms}}}}}}
extensions:
  bearertokenauth: {{scheme: ApiKey, token: {key}}}
  health_check: {{endpoint: 127.0.0.1:13199}}
service:
  extensions: [bearertokenauth, health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [elasticsearch]}}
    metrics: {{receivers: [otlp], exporters: [elasticsearch]}}
    logs: {{receivers: [otlp], exporters: [elasticsearch]}}
"""
"""What stands at ELASTIC_OTLP_ENDPOINT."""


def start(folder: Path, config: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run such a machine until it is done."""
    inside = [sys.executable, __file__, str(folder), str(config), str(seconds)]
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *inside]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)


def main(folder: Path, config: Path, seconds: float) -> int:
    """The first process of the machine."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    logs, storage = folder / "logs", folder / "storage"
    logs.mkdir()
    storage.mkdir()
    app = logs / "app.log"
    app.write_text("a line from before the collector\n")
    subprocess.run(["mount", "--bind", logs, "/var/log"], check=True)
    environment = {
        **os.environ,
        "ELASTIC_ENDPOINT": STORE,
        "ELASTIC_OTLP_ENDPOINT": "https://localhost:8443",
        "ELASTIC_API_KEY": API_KEY,
        "SSL_CERT_FILE": str(folder / "ca.pem"),
        "STORAGE_DIR": str(storage),
    }
    collector_log = folder / "collector.log"
    with contextlib.ExitStack() as stack:
        stack.enter_context(_running(["-m", "heliograph.store", f"--directory={folder / 'store'}", "--port=9200"]))
        _until(lambda: _answers(STORE), "the store")
        endpoint = ENDPOINT.format(folder=folder, store=STORE, key=API_KEY)
        stack.enter_context(_running(["-m", "heliograph", f"--config=yaml:{endpoint}"]))
        _until(lambda: _answers("http://127.0.0.1:13199"), "the managed endpoint")
        with collector_log.open("wb") as log:
            command = [sys.executable, "-m", "heliograph", f"--config={config}"]
            collector = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _until(lambda: "everything is ready" in collector_log.read_text() or collector.poll() is not None, "ready")
            if "file_log" in config.read_text():
                _until(lambda: _open_files() > 0, "the log")
            with contextlib.ExitStack() as feeding:
                if _listens(4317):
                    sold = folder / "demo"
                    demo = ["-m", "heliograph.app.demo", "--endpoint=http://127.0.0.1:4317", f"--logs={sold}"]
                    feeding.enter_context(_running(demo))
                    _until(lambda: len(list(sold.rglob("*.log"))) == SERVICES, "the shop")
                end = time.monotonic() + seconds
                with app.open("a", buffering=1) as file:
                    for number in range(LINES):
                        file.write(f"line {number} of the platform\n")
                        time.sleep(max(0.0, (end - time.monotonic()) / (LINES - number)))
            time.sleep(1.0)  # the receiver's poll_interval is 200 ms
        finally:
            collector.send_signal(signal.SIGTERM)
            code = collector.wait(40)
    return code


@contextlib.contextmanager
def _running(arguments: list[str]) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, *arguments])
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not come about within {START_SECONDS} s")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    return bool(_page(url))


def _page(url: str) -> str:
    """What is there, "" when there is nothing yet."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return str(response.read().decode())
    except OSError:
        return ""


def _open_files() -> float:
    """How many files the file_log receiver has open: those that it has seen."""
    found = re.search(r"^otelcol_fileconsumer_open_files\{.*\} (\S+)$", _page(METRICS), re.MULTILINE)
    return float(found[1]) if found else 0.0


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
