"""`search` reads the store's file when nothing listens, and says what to do when there is none."""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from heliograph.store import commands
from heliograph.store.client import store_file
from heliograph.store.documents import Documents, NewDocument
from heliograph.store.server import StoreServer


def parse(directory: Path, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands.add_arguments(parser)
    return parser.parse_args([*arguments, "--directory", str(directory)])


def write(directory: Path) -> None:
    documents = Documents(store_file(directory))
    now = time.time_ns()
    sources = {
        "logs-generic.otel-default": {"severity_text": "WARN", "body": {"text": "disk is nearly full"}},
        "metrics-cpu.otel-default": {"metrics": {"system.cpu.time": 1.5}, "attributes": {"cpu": "cpu0"}},
        "traces-generic.otel-default": {"name": "GET /", "kind": "Server", "duration": 2_500_000, "status": {}},
    }
    for number, (stream, source) in enumerate(sources.items()):
        body = {"@timestamp": now // 10**6 + number, "resource": {"attributes": {"host.name": "h"}}, **source}
        documents.write([NewDocument(stream, now + number, None, json.dumps(body).encode())], now)
    documents.close()


def test_search_prints_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    assert commands.search(parse(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "WARN disk is nearly full" in lines[0]
    assert "system.cpu.time=1.5 {cpu=cpu0}" in lines[1]
    assert "GET / Server 2.5 ms" in lines[2]


def test_search_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    assert commands.search(parse(tmp_path, "message:full", "--json")) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["body"] == {"text": "disk is nearly full"}


def test_a_log_does_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and line ends are shown, in lines as in JSON; a document is one line."""
    text = "red \x1b[31m\x9b2J\nsecond line\ttab é"
    documents = Documents(store_file(tmp_path))
    now = time.time_ns()
    body = json.dumps({"@timestamp": now // 10**6, "body": {"text": text}}).encode()
    documents.write([NewDocument("logs-a.otel-b", now, None, body)], now)
    documents.close()
    assert commands.search(parse(tmp_path)) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(r"red \x1b[31m\x9b2J\nsecond line\ttab é")
    assert commands.search(parse(tmp_path, "--json")) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isprintable()
    assert json.loads(line)["body"]["text"] == text


def test_search_without_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.search(parse(tmp_path)) == 1
    assert "heliograph up" in capsys.readouterr().err


def test_search_with_a_bad_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    assert commands.search(parse(tmp_path, 'message:"open')) == 1
    assert "Failed to parse query" in capsys.readouterr().err


async def test_tail_goes_on_after_a_clock_that_is_ahead(tmp_path: Path) -> None:
    """A document from the future does not hide those of now that come after it."""
    documents = Documents(tmp_path / "documents.sqlite")
    store = StoreServer(documents, max_age=86400, max_bytes=2**40)
    port = await store.start("127.0.0.1", 0)

    def put(text: str, ahead: int) -> None:
        at = time.time_ns() + ahead * 10**9
        body = json.dumps({"@timestamp": at // 10**6, "body": {"text": text}}).encode()
        documents.write([NewDocument("logs-a.otel-b", at, None, body)], at)

    put("from tomorrow", 86_400)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "heliograph", "tail", "--url", f"http://127.0.0.1:{port}"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert b"from tomorrow" in await process.stdout.readline()
            put("from now", 0)
            assert b"from now" in await process.stdout.readline()
    finally:
        process.terminate()
        await process.wait()
        await store.stop()
