"""`heliograph dead-letters`: rejected documents are counted, shown, sent again, and never lost on the way."""

import asyncio
import contextlib
import io
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from heliograph.cli import main
from heliograph.exporters.elasticsearch.bulk import ItemAnswer
from heliograph.exporters.elasticsearch.dead_letters import DeadLetters
from heliograph.exporters.elasticsearch.letters import claimed, parse, waiting
from heliograph.testing.bulk_server import Answer, BulkServer
from heliograph.testing.telemetry import Telemetry
from heliograph.testing.wait import until

CONFIG = """
receivers: {{nop: }}
exporters:
  elasticsearch/es:
    endpoint: {url}
    compression: none
    dead_letters: {{directory: {folder}}}
    sending_queue: {{batch: {{max_size: {size}, min_size: 1}}}}
service: {{pipelines: {{logs: {{receivers: [nop], exporters: [elasticsearch/es]}}}}}}
"""
REASON = ItemAnswer(400, "document_parsing_exception", 'a field is wrong: ,"action":{"x":1},"document":{}')


class Letters:
    """The file of an exporter, and the command for it."""

    def __init__(self, tmp_path: Path, url: str, size: int = 5_000_000) -> None:
        self.file = tmp_path / "dead" / "elasticsearch_es_logs.ndjson"
        self.writer = DeadLetters(self.file, "elasticsearch/es", 1 << 30)
        self.config = tmp_path / "agent.yaml"
        self.config.write_text(CONFIG.format(url=url, folder=self.file.parent, size=size))

    def add(self, *names: str, id: bool = False, index: str = "logs-a.otel-default", repeat: int = 1) -> None:
        """Letters with a document each; the same twice when repeated."""
        for name in names * repeat:
            members = {"_id": f"id-{name}"} if id else {}
            action = orjson.dumps({"create": {**members, "_index": index}})
            lines = action + b'\n{"name":"%b","number":1.0,"big":18446744073709551615}\n' % name.encode()
            self.writer.write([(lines, REASON)], 1_700_000_000 * 10**9)

    @property
    def names(self) -> list[str]:
        """Names in the documents that wait."""
        return [orjson.loads(letter.document)["name"] for letter in waiting(self.file)]

    @property
    def reasons(self) -> list[str]:
        """Reasons of those that wait."""
        return [letter.reason for letter in waiting(self.file)]

    def _arguments(self, what: str, *rest: str) -> list[str]:
        return ["dead-letters", what, f"--config={self.config}", *rest]

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start the command in a process of its own."""
        command = (sys.executable, "-m", "heliograph.cli", *self._arguments(*arguments))
        return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of the command, run in a thread: a process takes seconds to begin."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = await asyncio.to_thread(main, self._arguments(*arguments))
        return code, out.getvalue(), err.getvalue()


def stored(server: BulkServer) -> Counter[str]:
    """How often each name is in the server."""
    return Counter(source["name"] for _, source in server.stored)


def refuse(name: str, status: int, error: str) -> Answer:
    """Refuses one document."""
    return Answer(item=lambda _, source: (status, error) if source["name"] == name else (201, ""))


async def test_list_counts_and_show_is_readable(tmp_path: Path, server: BulkServer) -> None:
    """By reason and index, with age and file; show prints reason and document, and says when there is none."""
    letters = Letters(tmp_path, server.url)
    assert (await letters.run("list"))[:2] == (0, "0 dead letters\n")
    letters.add("a", "b", "c")
    letters.add("d", index="logs-b.otel-default")
    code, out, _ = await letters.run("list")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["COUNT", "REASON", "INDEX", "OLDEST", "NEWEST", "FILE"]
    assert lines[1].split()[:4] == ["3", "400", "document_parsing_exception", "logs-a.otel-default"]
    assert lines[2].split()[:4] == ["1", "400", "document_parsing_exception", "logs-b.otel-default"]
    assert lines[1].split()[4].endswith("d")
    assert lines[1].endswith(str(letters.file))
    assert lines[3] == "4 dead letters"
    code, out, _ = await letters.run("show", "4")
    assert code == 0
    assert "a field is wrong" in out
    assert "logs-b.otel-default" in out
    assert '  "name": "d"' in out
    code, _, err = await letters.run("show", "5")
    assert (code, "there are 4" in err) == (1, True)
    for folder, told in ((letters.file.parent, b"4 dead letters"), (tmp_path / "nowhere", b"there is no such folder")):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "heliograph.cli", "dead-letters", "list", "--directory", str(folder),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert told in (await process.communicate())[0]


async def test_redrive_sends_what_is_there_byte_by_byte_and_keeps_what_fails(
    tmp_path: Path, server: BulkServer
) -> None:
    """The same action and document; 409 is success; a new reason replaces the old one; --index chooses."""
    letters = Letters(tmp_path, server.url)
    letters.add("a", "b", id=True)
    letters.add("elsewhere", index="logs-b.otel-default")
    letters.add("c")
    letters.add("number", index="metrics-a.otel-default")
    server._ids.add(("logs-a.otel-default", "id-a"))
    server.always = refuse("b", 400, "still_wrong")
    code, out, err = await letters.run("redrive", "--index=logs-a.otel-default")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "1 sent, 1 were there already, 3 stay"
    assert sorted(letters.names) == ["b", "elsewhere", "number"]
    assert letters.reasons.count("400 still_wrong") == 1
    actions = [action for action, _ in server.raw_documents]
    assert actions[:2] == [b'{"create":{"_id":"id-%b","_index":"logs-a.otel-default"}}' % name for name in (b"a", b"b")]
    assert server.raw_documents[0][1] == b'{"name":"a","number":1.0,"big":18446744073709551615}'
    server.always = Answer()
    code, out, _ = await letters.run("redrive")
    assert out.splitlines()[0] == "3 sent, 0 were there already, 0 stay"
    assert letters.names == []
    assert not claimed(letters.file).exists()
    assert stored(server) == {"b": 1, "c": 1, "elsewhere": 1, "number": 1}
    assert "_id" not in next(action for action, source in server.stored if source["name"] == "number")


@pytest.mark.parametrize("answer", [Answer(status=401), Answer(status=503), Answer(status=429)])
async def test_a_server_that_takes_nothing_costs_no_letter(tmp_path: Path, server: BulkServer, answer: Answer) -> None:
    """After some attempts the command ends with an error, everything is still there and can be sent later."""
    letters = Letters(tmp_path, server.url)
    letters.add("a", "b", id=True)
    server.answers.extend([answer] * 4)
    code, _, err = await letters.run("redrive")
    assert code == 1
    assert "is kept" in err
    assert letters.names == ["a", "b"]
    letters.add("later")
    assert (await letters.run("list"))[1].splitlines()[-1] == "3 dead letters"
    assert (await letters.run("redrive"))[0] == 0
    assert stored(server) == {"a": 1, "b": 1, "later": 1}
    assert letters.names == []


async def test_killed_at_any_point_nothing_is_lost_or_doubled(tmp_path: Path, server: BulkServer) -> None:
    """kill -9 after each request in turn, equal letters among them, some still rejected: at last every document that
    is taken is there as often as it was rejected, and the others are in the file."""
    letters = Letters(tmp_path, server.url, size=200)
    names = [f"n{number}" for number in range(12)]
    letters.add(*names)
    letters.add("twin", repeat=2)
    server.always = refuse("n3", 400, "still_wrong")
    for kill in range(1, 4):
        before = len(server.requests)
        process = await letters.start("redrive")
        await until(lambda before=before, kill=kill: len(server.requests) >= before + kill, timeout=20)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        await process.wait()
        assert set(letters.names) | set(stored(server)) == {*names, "twin"}
    code, _, err = await letters.run("redrive")
    assert (code, err) == (0, "")
    assert stored(server) == {**{name: 1 for name in names if name != "n3"}, "twin": 2}
    assert set(letters.names) == {"n3"}
    assert set(letters.reasons) == {"400 still_wrong"}


async def test_a_collector_that_writes_meanwhile_loses_nothing(tmp_path: Path, server: BulkServer) -> None:
    """Letters that are written while the command takes the file away and works are in the next run, or in this."""
    letters = Letters(tmp_path, server.url, size=300)
    process = None
    for number in range(150):
        await asyncio.to_thread(letters.add, f"n{number}")
        if number % 50 == 25:
            if process is not None:
                await process.wait()
            process = await letters.start("redrive")
    assert process is not None
    await process.wait()
    assert (await letters.run("redrive"))[0] == 0
    assert stored(server) == {f"n{number}": 1 for number in range(150)}
    assert letters.names == []


async def test_lines_that_a_person_changed_or_spoilt(tmp_path: Path, server: BulkServer) -> None:
    """Reordered members are understood; what is no letter stays as it is, half a line at the end too."""
    letters = Letters(tmp_path, server.url)
    letters.add("a")
    whole = orjson.loads(letters.file.read_bytes())
    edited = orjson.dumps(dict(reversed(whole.items())) | {"document": {"name": "edited"}})
    letters.file.write_bytes(edited + b"\n" + b"spoilt\n" + b'{"document":{}}\n' + b'{"half')
    code, out, _ = await letters.run("redrive")
    assert (code, out.splitlines()[0]) == (0, "1 sent, 0 were there already, 2 stay")
    assert stored(server) == {"edited": 1}
    assert letters.file.read_bytes() == b'spoilt\n{"document":{}}\n{"half\n'
    assert {letter.reason for letter in waiting(letters.file)} == {"unreadable line"}


def test_a_reason_that_looks_like_a_letter_misleads_nobody(tmp_path: Path) -> None:
    """Members are found where they are, whatever the texts before them hold."""
    action, document = b'{"create":{"_index":"x"}}', b'{"a":",\\"document\\":1","n":1.50}'
    head = b'{"@timestamp":"","exporter":",\\"action\\":","status":400,"error":{"type":"","reason":",\\"document\\":"}'
    letter = parse(tmp_path, head + b',"action":' + action + b',"document":' + document + b"}\n")
    assert (letter.action, letter.document) == (action, document)


async def test_what_the_exporter_rejects_can_be_redriven(
    start: Callable[..., Awaitable[Any]], server: BulkServer, tmp_path: Path
) -> None:
    """From a rejected log to its arrival."""
    exporter = await start("logs")
    server.answers.append(Answer(item=lambda *_: (400, "strict_dynamic_mapping_exception")))
    await exporter.send(Telemetry(3).parts("logs"))
    rejected = exporter.account.dead_lettered
    assert rejected > 0
    letters = Letters(tmp_path, server.url)
    assert len(list(waiting(letters.file))) >= rejected
    first = server.raw_documents
    server.requests.clear()
    code, out, _ = await letters.run("redrive")
    assert code == 0
    assert [document for _, document in server.raw_documents] == [document for _, document in first]
    assert out.splitlines()[0].endswith(" 0 stay")
