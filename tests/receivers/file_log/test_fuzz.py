"""Bytes that nobody meant as logs: nothing crashes, nothing is lost, records are valid; framing does not depend on pieces."""

# ruff: noqa: E501

import random
from pathlib import Path
from typing import Any

import pytest

from heliograph.config.decode import from_plain
from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.receivers.file_log.frame import Framer
from heliograph.testing.wait import until

PIECES = (
    b"2024-04-13T08:00:00.505201169Z stdout F ", b"2024-04-13T08:00:00.5Z stderr P ", b"\n", b"\n\n", b"\r\n", b" ", b"\xff",
    b"2024-04-13T08:00:00.+5Z stdout F x", b"9999-99-99T99:99:99.1Z stdout F x", b'{"log":"x\\n","stream":"stdout","time":"2024-04-13T08:00:00Z"}',
    b'{"log":1}', b"{", b"\x00", "\u00e9\u30c6".encode(), b"stdout F", b"F", b"x" * 300, b"0001-01-01T00:00:00.1Z stdout F y",
    b"2024-04-13T08:00:00.123456789123Z stdout F z", b"2024-04-13T08:00:00.5+99:99 stderr F q", b'{"log":"\\ud800","stream":"stderr","time":"2024-04-13T08:00:00Z"}\n',
)  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
async def test_random_pieces_through_the_container_operator(lab_of_files: Any, tmp_path: Path, seed: int) -> None:
    chosen = random.Random(seed)
    data = b"".join(chosen.choice(PIECES) for _ in range(3000)) + b"\n"
    path = tmp_path / "ns_pod_11111111-aaaa" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    running = await lab_of_files.run(
        include=[f"{tmp_path}/*/*/*.log"], record_uid=True, include_file_path=True, max_log_size=1000,
        operators=[{"type": "container", "on_error": "send_quiet"}],
    )  # fmt: skip
    (file,) = [await _only_file(running)]
    await until(lambda: file.position == len(data))
    await running.stop()
    uids = [record.uid for record in running.records]
    assert len(uids) > 300
    assert len(set(uids)) == len(uids)


async def _only_file(running: Any) -> Any:
    await until(lambda: running.receiver._tracker.files)
    return next(iter(running.receiver._tracker.files.values()))


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"multiline": {"line_start_pattern": "^2024"}},
        {"multiline": {"line_end_pattern": "F\n"}},
        {"max_log_size": 50},
        {"max_log_size": 50, "max_log_size_behavior": "truncate"},
        {"encoding": "utf-16le"},
    ],
)
def test_framing_whole_byte_by_byte_and_in_random_chunks_gives_the_same_records(keys: dict[str, Any]) -> None:
    framer = Framer(from_plain(FileLogConfig, {"include": ["x"], **keys}))
    chosen = random.Random(3)
    data = b"".join(chosen.choice(PIECES) for _ in range(200)) + b"\n"
    if "encoding" in keys:
        data = data.decode("latin1").encode("utf-16-le")

    def fed(sizes: Any) -> list[tuple[int, bytes]]:
        found, position, end, cut = [], 0, 0, False
        while end < len(data):
            end = min(len(data), end + next(sizes))
            records, used, cut = framer.split(data[position:end], False, cut)
            found += [(position + place, record) for place, record in records if record]
            position += used
        records, _, _ = framer.split(data[position:], True, cut)
        return found + [(position + place, record) for place, record in records if record]

    def forever(size: Any) -> Any:
        while True:
            yield size()

    one = fed(forever(lambda: 1))
    assert fed(forever(lambda: chosen.randrange(1, 90))) == one
    if not keys.get("max_log_size"):
        assert fed(forever(lambda: len(data))) == one
    assert one


def test_a_pattern_or_size_never_lets_the_buffer_grow_beyond_the_longest_record() -> None:
    framer = Framer(
        from_plain(FileLogConfig, {"include": ["x"], "max_log_size": 100, "multiline": {"line_start_pattern": "^A"}})
    )
    records, used, _ = framer.split(b"A" + b"x" * 250, False)
    assert used >= 100
    assert all(len(record) <= 100 for _, record in records)
