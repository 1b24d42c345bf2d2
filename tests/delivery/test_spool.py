"""The queue on disk: what was appended and is not over comes back, whatever happens to the process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heliograph.component.errors import StartError
from heliograph.delivery.record import HEADER_BYTES, decode, encode
from heliograph.delivery.spool import Record, Spool


def parts_of(spool: Spool, record: Record) -> tuple[bytes, ...]:
    found = spool.read(record)
    assert found is not None
    return found[0]


def segments_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.log"))


def test_what_was_appended_is_read_back_with_its_metadata(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    record = spool.append([b"one", b"", b"three"], 7, {"x-tenant": ("a", "ü")})
    assert spool.read(record) == ((b"one", b"", b"three"), {"x-tenant": ("a", "ü")})
    spool.close()


def test_records_that_are_not_over_come_back_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    records = [spool.append([f"{number}".encode()], number, {}) for number in range(5)]
    spool.acknowledge(records[1])
    spool.acknowledge(records[3])
    spool.close()
    again = Spool(tmp_path)
    assert [parts_of(again, record) for record in again.restored] == [(b"0",), (b"2",), (b"4",)]
    assert [record.items for record in again.restored] == [0, 2, 4]
    assert [record.size_sent for record in again.restored] == [3, 3, 3]
    again.close()


def test_segments_that_are_over_are_deleted_and_the_others_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path, segment_bytes=100)
    records = [spool.append([b"x" * 200], 1, {}) for _ in range(4)]
    assert len(list(tmp_path.glob("*.log"))) == 4
    for record in records[:3]:
        spool.acknowledge(record)
    assert [path.name for path in tmp_path.glob("*.log")] == ["0000000000000004.log"]
    assert list(tmp_path.glob("*.ack")) == []
    spool.close()


def test_an_emptied_spool_leaves_no_files(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.acknowledge(spool.append([b"x"], 1, {}))
    spool.close()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_torn_end_is_cut_off_and_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([b"whole"], 1, {})
    spool.append([b"torn" * 100], 1, {})
    spool.close()
    (segment,) = tmp_path.glob("*.log")
    size = segment.stat().st_size
    os.truncate(segment, size - 5)
    again = Spool(tmp_path)
    assert [parts_of(again, record) for record in again.restored] == [(b"whole",)]
    assert again.damage.torn_bytes == segment_tail(b"torn" * 100) - 5
    again.close()
    third = Spool(tmp_path)
    assert third.damage.torn_bytes == 0
    assert len(third.restored) == 1
    third.close()


def segment_tail(payload: bytes) -> int:
    return len(encode([payload], 1, {}))


def test_a_damaged_body_is_counted_and_what_follows_is_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    first = spool.append([b"a" * 50], 3, {})
    spool.append([b"b"], 1, {})
    spool.close()
    (segment,) = tmp_path.glob("*.log")
    with segment.open("r+b") as file:
        file.seek(first.offset + HEADER_BYTES + 30)
        file.write(b"!")
    again = Spool(tmp_path)
    assert [parts_of(again, record) for record in again.restored] == [(b"b",)]
    assert (again.damage.records, again.damage.items) == (1, 3)
    again.close()


def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(StartError, match=rf"used by another process \(pid {os.getpid()}\)"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_a_directory_that_is_missing_is_a_start_error(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be opened"):
        Spool(tmp_path / "missing")


async def test_sync_covers_appends_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every segment is brought to the disk, the newest once for all who wait, and not again while nothing is new."""
    synced: list[str] = []
    sync = os.fdatasync

    def noted(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", noted)
    spool = Spool(tmp_path, fsync=True, segment_bytes=100)
    for _ in range(3):
        spool.append([b"x" * 80], 1, {})
    segments = segments_in(tmp_path)
    assert len(segments) == 3
    assert synced == segments[:2]
    await asyncio.gather(spool.sync(), spool.sync(), spool.sync())
    assert synced == segments
    await spool.sync()
    assert synced == segments
    spool.append([b"y"], 1, {})
    await spool.sync()
    assert synced[-1] == segments_in(tmp_path)[-1]
    spool.close()


@given(st.binary(max_size=200))
def test_random_bytes_are_no_record(data: bytes) -> None:
    assert decode(data) is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 300)),
            st.tuples(st.just("acknowledge"), st.integers(0, 50)),
            st.tuples(st.just("reopen"), st.just(0)),
            st.tuples(st.just("crash"), st.integers(1, 400)),
        ),
        max_size=60,
    )
)
def test_nothing_unacknowledged_is_lost_and_nothing_acknowledged_comes_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Appends, acknowledgements, clean restarts, and crashes in the middle of a write, in any order. `crash` writes
    the first bytes of one more record, as an interrupted write does, and opens the directory again."""
    directory = tmp_path_factory.mktemp("spool")
    spool = Spool(directory, segment_bytes=400)
    live: dict[bytes, Record] = {}
    number = 0

    def reopen() -> None:
        nonlocal spool
        spool.close()
        spool = Spool(directory, segment_bytes=400)
        found = [(b"".join(parts_of(spool, record)), record) for record in spool.restored]
        assert [data for data, _ in found] == list(live)
        live.update(found)

    for action, argument in steps:
        if action == "append":
            number += 1
            data = b"%d:" % number + b"x" * argument
            live[data] = spool.append([data[:2], data[2:]], 1, {})
        elif action == "acknowledge" and live:
            spool.acknowledge(live.pop(list(live)[argument % len(live)]))
        elif action == "reopen":
            reopen()
        elif action == "crash":
            torn = encode([b"never finished" * 30], 1, {})[: argument % 439]
            segments = sorted(directory.glob("*.log"))
            spool.close()
            if segments:
                with segments[-1].open("ab") as file:
                    file.write(torn)
            reopen()
    reopen()
    spool.close()


WRITER = """
import sys
from pathlib import Path
from heliograph.delivery.spool import Spool

spool = Spool(Path(sys.argv[1]), segment_bytes=200_000)
live = []
for number in range(10_000_000):
    live.append((number, spool.append([b"%d " % number + b"p" * 5000], 1, {})))
    sys.stdout.write(f"+{number}\\n")
    if number % 3:
        done, record = live.pop(0)
        spool.acknowledge(record)
        sys.stdout.write(f"-{done}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("lines", [50, 777, 2000])
def test_kill_9_loses_no_record_and_repeats_none_that_is_over(tmp_path: Path, lines: int) -> None:
    """A process that appends and acknowledges says what returned; it is killed in the middle; only the last one of each
    may be either way."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(lines)]
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.readlines()
    writer.wait()
    writer.stdout.close()
    said = [line for line in said if line.endswith(b"\n")]
    appended = {int(line[1:]) for line in said if line.startswith(b"+")}
    over = {int(line[1:]) for line in said if line.startswith(b"-")}
    spool = Spool(tmp_path)
    found = [int(parts_of(spool, record)[0].split()[0]) for record in spool.restored]
    assert found == sorted(set(found))
    assert len(appended) > 20
    expected = appended - over
    assert expected - set(found) <= {min(expected)}, "a record that was not over is gone"
    assert set(found) - expected <= {max(appended) + 1}, "a record that was over came back"
    spool.close()


def test_an_append_of_100_kb_is_fast(tmp_path: Path) -> None:
    """The smallest of many is taken: other work on the machine must not fail this."""
    spool = Spool(tmp_path)
    parts = [b"x" * 10_000] * 10
    best = 1.0
    for _ in range(100):
        begin = time.perf_counter()
        record = spool.append(parts, 500, {})
        best = min(best, time.perf_counter() - begin)
        spool.acknowledge(record)
    spool.close()
    assert best < 0.001
