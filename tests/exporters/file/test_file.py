"""The file exporter: formats side by side with upstream's files, rotation, and one file for several signals."""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

import shown_sample
from heliograph.component.batch import Batch
from heliograph.component.errors import ConfigError, Retryable, StartError
from heliograph.config.decode import from_plain
from heliograph.delivery.delivery import Delivery
from heliograph.exporters.file import FACTORY
from heliograph.exporters.file.config import FileConfig
from heliograph.otlp.request import request
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings

BATCHES: list[Batch] = shown_sample.batches()
GOLDEN = Path(__file__).parent / "golden"


class Exporters:
    """One configured exporter, started for every signal as a process does it."""

    def __init__(self, path: Path, **keys: object) -> None:
        self.clock = ManualClock()
        self.host = TestHost(clock=self.clock)
        config = from_plain(FileConfig, {"path": str(path), **keys})
        self.by_signal: dict[str, Delivery] = {}
        for signal in ("logs", "traces", "metrics"):
            created = FACTORY.create(settings("exporter", "file", signal), config)
            assert isinstance(created, Delivery)
            self.by_signal[signal] = created

    async def __aenter__(self) -> "Exporters":
        for exporter in self.by_signal.values():
            await exporter.start(self.host)
        return self

    async def __aexit__(self, *_: object) -> None:
        for exporter in self.by_signal.values():
            await exporter.shutdown(0)
        await self.host.close()

    async def write(self, *batches: Batch) -> None:
        for batch in batches:
            await self.by_signal[str(batch.signal)].consume(batch)


def framed(data: bytes) -> Iterator[bytes]:
    """The messages behind 4-byte lengths."""
    while data:
        (length,) = struct.unpack_from(">I", data)
        yield data[4 : 4 + length]
        data = data[4 + length :]


def sizes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir()}


def without_empty(value: Any) -> Any:
    """JSON without empty objects: upstream writes `"scope":{}` where there is none, which means the same."""
    if isinstance(value, Mapping):
        return {key: without_empty(member) for key, member in value.items() if member not in ({}, None)}
    if isinstance(value, list):
        return [without_empty(member) for member in value]
    return value


async def test_json_lines_mean_what_upstream_writes(tmp_path: Path) -> None:
    async with Exporters(tmp_path / "out.json") as exporters:
        await exporters.write(*BATCHES)
    ours = (tmp_path / "out.json").read_text().splitlines()
    theirs = (GOLDEN / "upstream.json").read_text().splitlines()
    assert len(ours) == len(theirs) == 3
    for our_line, their_line in zip(ours, theirs, strict=True):
        assert without_empty(json.loads(our_line)) == without_empty(json.loads(their_line))


async def test_proto_is_framed_as_upstream_does(tmp_path: Path) -> None:
    async with Exporters(tmp_path / "out", format="proto") as exporters:
        await exporters.write(*BATCHES)
    assert list(framed((tmp_path / "out").read_bytes())) == [request(batch.parts) for batch in BATCHES]
    theirs = list(framed((GOLDEN / "upstream.proto").read_bytes()))
    assert len(theirs) == 3


@pytest.mark.parametrize("format", ["json", "proto"])
async def test_zstd_compresses_and_frames_each_request(tmp_path: Path, format: str) -> None:
    async with Exporters(tmp_path / "plain", format=format) as exporters:
        await exporters.write(*BATCHES)
    keys = {"format": format, "compression": "zstd", "compression_params": {"level": 11}}
    async with Exporters(tmp_path / "out", **keys) as exporters:
        await exporters.write(*BATCHES)
    unpacked = [zstandard.ZstdDecompressor().decompress(message) for message in framed((tmp_path / "out").read_bytes())]
    plain = (tmp_path / "plain").read_bytes()
    assert unpacked == (plain.splitlines() if format == "json" else list(framed(plain)))


async def test_append_keeps_what_is_there_and_the_default_does_not(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for keys, lines in (({}, 1), ({"append": True}, 2), ({}, 1)):
        async with Exporters(path, **keys) as exporters:
            await exporters.write(BATCHES[0])
        assert len(path.read_bytes().splitlines()) == lines


async def test_what_was_taken_is_in_the_file_at_once(tmp_path: Path) -> None:
    async with Exporters(tmp_path / "out") as exporters:
        await exporters.write(BATCHES[0])
        assert (tmp_path / "out").read_bytes().endswith(b"}\n")


async def test_rotation_renames_at_the_size_and_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "out.proto"
    big = Batch(BATCHES[0].signal, [b"\x1a" + b"\x80\x80\x18" + b"x" * 0x60000], 0)  # schema_url of 384 KiB
    async with Exporters(path, format="proto", rotation={"max_megabytes": 1, "max_backups": 2}) as exporters:
        for _ in range(9):
            await exporters.write(big)
            await exporters.clock.advance(1.5)
    assert sorted(sizes(tmp_path)) == [
        "out-2023-11-14T22-13-29.000.proto",
        "out-2023-11-14T22-13-32.000.proto",
        "out.proto",
    ]
    assert max(sizes(tmp_path).values()) <= 1 << 20
    async with Exporters(path, format="proto", rotation={"max_megabytes": 1, "max_days": 1}) as exporters:
        await exporters.clock.advance(86400 * 2)
        for _ in range(3):
            await exporters.write(big)
    assert len(sizes(tmp_path)) == 2


async def test_a_disk_error_goes_back_to_the_sender(tmp_path: Path) -> None:
    async with Exporters(Path("/dev/full"), append=True) as exporters:
        with pytest.raises(Retryable, match="cannot write /dev/full: No space left on device"):
            await exporters.write(BATCHES[0])


async def test_a_missing_directory_is_made_or_named(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out"
    with pytest.raises(StartError, match="create_directory: true"):
        async with Exporters(path):
            pass
    async with Exporters(path, create_directory=True, directory_permissions="0700") as exporters:
        await exporters.write(BATCHES[0])
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"path": ""}, "path"),
        ({"append": True, "rotation": {}}, "append"),
        ({"append": True, "compression": "zstd"}, "append"),
        ({"encoding": "otlp_json"}, "format: json"),
        ({"group_by": {"enabled": True}}, "one exporter for each file"),
        ({"format": "xml"}, "format"),
        ({"directory_permissions": "x"}, "octal"),
        ({"flush_interval": "-1s"}, "flush_interval"),
    ],
)
def test_rules_name_the_key(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_plain(FileConfig, {"path": "/tmp/x", **keys})
