"""`search` reads the store's file when nothing listens, and says what to do when there is none."""

import argparse
import json
import time
from pathlib import Path

import pytest

from heliograph.store import commands
from heliograph.store.client import store_file
from heliograph.store.documents import Documents, NewDocument


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


def test_search_without_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.search(parse(tmp_path)) == 1
    assert "heliograph up" in capsys.readouterr().err


def test_search_with_a_bad_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    assert commands.search(parse(tmp_path, 'message:"open')) == 1
    assert "Failed to parse query" in capsys.readouterr().err
