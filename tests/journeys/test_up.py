"""`heliograph up` as a person runs it: the demo to searchable documents, ends by itself, a taken port, Ctrl-C."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tiers
from heliograph.store.client import store_file
from heliograph.store.documents import Documents
from heliograph.store.fields import values
from heliograph.store.query import FOREVER
from heliograph.testing.bulk_server import Answer, BulkServer


def command(directory: Path, *more: str) -> list[str]:
    """A command line of `heliograph up` with ports of its own."""
    found = tiers.arguments(directory)
    names = (
        "otlp_grpc_port",
        "otlp_http_port",
        "store_port",
        "gateway_port",
        "backend_port",
        "health_port",
        "metrics_port",
    )
    ports = [f"--{name.replace('_', '-')}={getattr(found, name)}" for name in names]
    return [sys.executable, "-m", "heliograph", "up", f"--directory={directory}", *ports, *more]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "COLUMNS": "100",
        "HELIOGRAPH_SYSTEM_LOGS": "/nonexistent",
        "HELIOGRAPH_POD_LOGS": "/nonexistent",
    }


def ledgers(output: str) -> dict[str, dict[str, list[int]]]:
    """role -> entry -> numbers by signal, from what `up` prints at its end."""
    found: dict[str, dict[str, list[int]]] = {}
    role = ""
    for line in output.splitlines():
        if line.strip() in ("daemon", "gateway", "backend"):
            role = line.strip()
            found[role] = {}
        elif role and (match := re.fullmatch(r"\s*([\w-]+)((?:\s+-?\d+)+)\s*", line)):
            found[role][match[1]] = [int(number) for number in match[2].split()]
    return found


def alive(directory: Path) -> list[str]:
    """Processes that still work in this directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                variables = (entry / "environ").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(directory) in line or f"HELIOGRAPH_STORAGE={directory}" in variables:
                found.append(line)
    return found


def dead_letters(directory: Path, files: str = "*.ndjson") -> list[str]:
    """Every line of the files in a folder."""
    return [line for path in directory.glob(files) for line in path.read_text().splitlines()]


@pytest.mark.timeout(120)
def test_the_demo_ends_by_itself(tmp_path: Path) -> None:
    """Logs, metrics and traces are in the store, all with host.name; the ledgers close and agree."""
    directory = tmp_path / "data"
    done = subprocess.run(
        command(directory, "--demo", "--for", "14s"), capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = ledgers(done.stdout)
    assert set(told) == {"daemon", "gateway", "backend"}, done.stdout
    assert told["daemon"]["received"] == told["daemon"]["sent"] == told["gateway"]["received"]
    backend = told["backend"]
    assert told["gateway"]["sent"] == backend["received"]
    assert backend["created"][0] == backend["created"][2] == 0 < backend["created"][1], "the connector's metrics"
    assert backend["sent"] == [came + made for came, made in zip(backend["received"], backend["created"], strict=True)]
    assert all(entries["difference"] == [0, 0, 0] for entries in told.values())
    documents = Documents(store_file(directory))
    names = [stream.name for stream in documents.streams()]
    found = [(row.stream, json.loads(row.source)) for row in documents.read(names, FOREVER, ())]
    documents.close()
    kinds = Counter(stream.partition("-")[0] for stream, _ in found)
    assert min(kinds[kind] for kind in ("logs", "metrics", "traces")) >= 10, kinds
    of_services = [document for _, document in found if values(document, "metricset.name")]
    assert of_services, "the metrics that Elastic's screens of services show"
    assert all(values(document, "host.name") for _, document in found if document not in of_services)
    services = {value for _, document in found for value in values(document, "service.name")}
    assert services == {"frontend", "checkout", "payment"}
    kinds_of_spans = {document["kind"] for stream, document in found if stream.startswith("traces")}
    assert kinds_of_spans == {"Internal", "Server", "Client", "Producer", "Consumer"}
    lines = [document for stream, document in found if stream.startswith("logs") and values(document, "log.iostream")]
    assert len({values(document, "log.record.uid")[0] for document in lines}) == len(lines) > 10
    assert values(lines[0], "k8s.namespace.name") == ["shop"]
    assert not list(directory.rglob("dead-letters/*.ndjson"))
    assert alive(directory) == []
    searched = subprocess.run(
        [sys.executable, "-m", "heliograph", "search", "service.name:checkout", f"--directory={directory}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "checkout" in searched.stdout


@pytest.mark.elasticsearch
@pytest.mark.timeout(180)
def test_the_demo_in_a_real_elasticsearch(tmp_path: Path, elasticsearch_url: str) -> None:
    """`up --elasticsearch`: everything that was received is indexed, nothing is rejected or doubled."""
    directory = tmp_path / "data"

    def count(index: str, query: str) -> int:
        urllib.request.urlopen(urllib.request.Request(f"{elasticsearch_url}/_refresh", method="POST")).close()
        with urllib.request.urlopen(f"{elasticsearch_url}/{index}/_count?q={query}") as response:
            found: int = json.load(response)["count"]
            return found

    shop = {
        "traces-*": "resource.attributes.service.namespace:shop",
        "metrics-*": "resource.attributes.service.namespace:shop",
        "logs-*": "resource.attributes.k8s.namespace.name:shop",
    }
    before = {index: count(index, query) for index, query in shop.items()}
    done = subprocess.run(
        command(directory, "--demo", "--for", "20s", f"--elasticsearch={elasticsearch_url}"),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    backend = ledgers(done.stdout)["backend"]
    assert backend["sent"] == [came + made for came, made in zip(backend["received"], backend["created"], strict=True)]
    assert "dead_lettered" not in backend
    assert "dropped" not in backend
    came = {index: count(index, query) - before[index] for index, query in shop.items()}
    assert came["traces-*"] == backend["received"][0]
    assert came["metrics-*"] >= 3
    assert came["logs-*"] >= 10


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    arguments = command(tmp_path / "data")
    flag = next(one for one in arguments if one.startswith("--gateway-port="))
    port = int(flag.partition("=")[2])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert "--gateway-port" in done.stderr


@pytest.mark.timeout(90)
async def test_what_is_refused_for_good_is_told_at_the_end(tmp_path: Path) -> None:
    """An Elasticsearch that rejects all logs: they are dead letters, and the summary says where."""
    directory = tmp_path / "data"

    def reject_logs(_: object, source: dict[str, Any]) -> tuple[int, str]:
        return (400, "document_parsing_exception") if source["data_stream"]["type"] == "logs" else (201, "")

    async with BulkServer() as server:
        server.always = Answer(item=reject_logs)
        arguments = command(directory, "--demo", "--for", "8s", f"--elasticsearch={server.url}")
        up = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, env=environment())
        output = (await up.communicate())[0].decode()
    assert up.returncode == 0, output
    told = re.search(r"dead letters: (\d+) documents.*\n\s+(\S+/dead-letters)\n", output)
    assert told is not None, output
    letters = dead_letters(Path(told[2]))
    assert int(told[1]) == len(letters) > 0
    assert all("document_parsing_exception" in letter for letter in letters)
    # Events of spans are logs too, but no items: those are letters of the exporter of traces.
    records = dead_letters(Path(told[2]), "*_logs.ndjson")
    assert ledgers(output)["backend"]["dead_lettered"][-1] == len(records)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_or_a_closed_terminal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    directory = tmp_path / "data"
    output = tmp_path / "output"
    with (
        output.open("wb") as file,
        subprocess.Popen(command(directory), stdout=file, stderr=file, env=environment()) as up,
    ):
        end = time.monotonic() + 40
        while not store_file(directory).exists() or not _streams(directory):
            assert up.poll() is None, output.read_text()
            assert time.monotonic() < end, output.read_text()
            time.sleep(0.2)
        up.send_signal(number)
        assert up.wait(40) == 0
    assert "each role drains into the next" in output.read_text()
    assert alive(directory) == []


def _streams(directory: Path) -> list[str]:
    documents = Documents(store_file(directory))
    try:
        return [stream.name for stream in documents.streams()]
    finally:
        documents.close()
