"""A file_log receiver under test: real files in a temporary folder, a sink behind it, values in memory for
checkpoints."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.ids import Kind
from heliograph.config.decode import from_plain
from heliograph.receivers.file_log import FileLog
from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer


class Values:
    """A Storage and its KeyValue in memory; survives a receiver, as the real one survives a process."""

    fsync = False

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.full = False
        self.refused = 0

    def key_value(self, owner: str) -> "Values":
        self.owner = owner
        return self

    def directory(self, owner: str) -> Path:
        raise AssertionError("not used")

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    def set(self, key: str, value: bytes) -> None:
        if self.full:
            self.refused += 1
            raise OSError("disk is full")
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)

    def items(self) -> Iterator[tuple[str, bytes]]:
        return iter(list(self.values.items()))

    def close(self) -> None:
        pass


def plain(value: Any) -> Any:
    """A protobuf AnyValue as Python data."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind)


class Record:
    """A log record as it arrived."""

    def __init__(self, resource: Any, record: Any) -> None:
        self.resource = {pair.key: plain(pair.value) for pair in resource.attributes}
        self.attributes = {pair.key: plain(pair.value) for pair in record.attributes}
        self.body = plain(record.body)
        self.time = record.time_unix_nano
        self.observed = record.observed_time_unix_nano
        self.severity = (record.severity_number, record.severity_text)

    @property
    def uid(self) -> str:
        return self.attributes.get("log.record.uid", "")

    def __repr__(self) -> str:
        return f"<{self.body!r} {self.attributes} {self.resource}>"


class Running:
    """A started receiver. records: everything that arrived, in order within a file."""

    def __init__(self, config: dict[str, Any], sink: SinkConsumer, storage: Values | None) -> None:
        self.sink = sink
        extensions: dict[Any, object] = {"file_storage": storage} if storage is not None else {}
        self.host = TestHost(extensions=extensions)
        self.settings = settings(Kind.RECEIVER, "file_log", outputs={"logs": sink})
        self.receiver = FileLog(self.settings, from_plain(FileLogConfig, config))

    @property
    def records(self) -> list[Record]:
        return [
            Record(message.resource, record)
            for message in self.sink.messages
            for scope in message.scope_logs
            for record in scope.log_records
        ]

    @property
    def bodies(self) -> list[Any]:
        return [record.body for record in self.records]

    async def start(self) -> "Running":
        await self.receiver.start(self.host)
        return self

    async def stop(self) -> None:
        await self.receiver.shutdown(time.monotonic() + 5)
        assert self.host.crashes == []
        await self.host.close()


class Lab:
    """Makes receivers that read `folder/*.log` from the beginning every 10 ms, unless told otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[Running] = []

    async def run(self, *, sink: SinkConsumer | None = None, storage: Values | None = None, **config: Any) -> Running:
        values: dict[str, Any] = {
            "include": [f"{self.folder}/*.log*"],
            "start_at": "beginning",
            "poll_interval": "10ms",
            **({"storage": "file_storage"} if storage is not None else {}),
            **config,
        }
        running = await Running(values, sink or SinkConsumer(), storage).start()
        self.started.append(running)
        return running


@pytest.fixture
async def lab_of_files(tmp_path: Path) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    for running in lab.started:
        await running.stop()


@pytest.fixture
def values() -> Values:
    return Values()
