"""Rotation: every line once, whatever happens to the file between two looks at it."""

import asyncio
import gzip
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from heliograph.config.decode import from_plain
from heliograph.receivers.file_log import tracker
from heliograph.receivers.file_log.checkpoint import Checkpoint
from heliograph.receivers.file_log.config import FileLogConfig
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until


def uids(running: Any) -> dict[str, str]:
    """uid -> body; fails when two records share one."""
    found: dict[str, str] = {}
    for record in running.records:
        assert record.uid not in found, f"{record.body} and {found[record.uid]} have one uid"
        found[record.uid] = record.body
    return found


class Writer(threading.Thread):
    """Writes numbered lines at a rate, and rotates the file by `rotate` every `every` seconds."""

    def __init__(self, path: Path, rate: int, seconds: float, every: float, rotate: Any) -> None:
        super().__init__()
        self.path, self.rate, self.seconds, self.every, self.rotate = path, rate, seconds, every, rotate
        self.written = 0

    def run(self) -> None:
        file = self.path.open("ab", buffering=0)
        begin = rotated = time.monotonic()
        while (now := time.monotonic()) - begin < self.seconds:
            due = int((now - begin) * self.rate) - self.written
            if due > 0:
                lines = [b"2024 line number %d\n" % number for number in range(self.written, self.written + due)]
                file.write(b"".join(lines))
                self.written += due
            if now - rotated >= self.every:
                file = self.rotate(file, self.path)
                rotated = now
            time.sleep(0.002)
        file.close()


async def run_writer(running: Any, writer: Writer) -> None:
    writer.start()
    await asyncio.to_thread(writer.join)
    await until(lambda: running.sink.items >= writer.written, f"{writer.written} records", 20)
    numbers = [int(body.rsplit(" ", 1)[1]) for body in running.bodies]
    assert sorted(numbers) == list(range(writer.written))
    assert len(uids(running)) == writer.written


async def test_rename_inside_the_pattern_under_load_loses_and_doubles_nothing(
    lab_of_files: Any, tmp_path: Path
) -> None:
    def rename(file: Any, path: Path) -> Any:
        for number in range(8, 0, -1):
            older = path.with_name(f"app.log.{number}")
            if older.exists():
                older.rename(path.with_name(f"app.log.{number + 1}"))
        path.rename(path.with_name("app.log.1"))
        new = path.open("ab", buffering=0)
        file.close()
        return new

    running = await lab_of_files.run(record_uid=True, poll_interval="50ms")
    await run_writer(running, Writer(tmp_path / "app.log", 20_000, 4, 0.8, rename))


async def test_rename_out_of_the_pattern_under_load_loses_nothing(lab_of_files: Any, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()

    def away(file: Any, path: Path) -> Any:
        path.rename(tmp_path / "old" / str(time.monotonic_ns()))
        file.close()
        return path.open("ab", buffering=0)

    running = await lab_of_files.run(record_uid=True, poll_interval="50ms")
    await run_writer(running, Writer(tmp_path / "app.log", 20_000, 3, 0.7, away))


async def test_copytruncate_under_load_doubles_nothing_and_loses_only_what_the_rotation_loses(
    lab_of_files: Any, tmp_path: Path
) -> None:
    """The writer pauses during the copy: what is written between copy and truncation is lost by copytruncate itself."""
    count = 0

    def copytruncate(file: Any, path: Path) -> Any:
        nonlocal count
        count += 1
        shutil.copyfile(path, path.with_name(f"app.log.{count}"))
        os.truncate(path, 0)
        return file

    running = await lab_of_files.run(record_uid=True, poll_interval="50ms")
    await run_writer(running, Writer(tmp_path / "app.log", 20_000, 4, 0.9, copytruncate))


async def test_truncated_and_written_to_a_larger_size_between_two_looks_is_read_from_its_start(
    lab_of_files: Any, tmp_path: Path
) -> None:
    path = tmp_path / "a.log"
    header = "a header that never changes, " * 50 + "\n"
    path.write_text(header + "one\ntwo\n")
    running = await lab_of_files.run(record_uid=True, poll_interval="300ms")
    await running.sink.wait_for(3)
    path.write_text(header + "other lines\nand more of them\n")
    await running.sink.wait_for(6)
    assert running.bodies[4:] == ["other lines", "and more of them"]
    assert len(uids(running)) == 6


async def test_truncated_to_the_same_content_has_other_uids(lab_of_files: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("same\nsame again\n")
    running = await lab_of_files.run(record_uid=True)
    await running.sink.wait_for(2)
    os.truncate(path, 0)
    await until(lambda: next(iter(running.receiver._tracker.files.values())).generation == 1)
    path.write_text("same\nsame again\n")
    await running.sink.wait_for(4)
    assert len(uids(running)) == 4


async def test_two_files_with_the_same_content_are_both_read(lab_of_files: Any, tmp_path: Path) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_text("x" * 1500 + "\nline\n")
    running = await lab_of_files.run(record_uid=True)
    await running.sink.wait_for(4, timeout=2 * tracker.SETTLE_SECONDS + 5)
    assert len(uids(running)) == 4
    assert {record.attributes["log.file.name"] for record in running.records} == {"a.log", "b.log"}


async def test_a_file_deleted_while_it_is_open_is_read_to_its_end(lab_of_files: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    running = await lab_of_files.run()
    with path.open("w") as file:
        file.write("one\n")
        file.flush()
        await running.sink.wait_for(1)
        path.unlink()
        await until(lambda: running.receiver._tracker.gone)
        file.write("two\n")
        file.flush()
        await running.sink.wait_for(2)
    assert running.bodies == ["one", "two"]


async def test_kubelets_rotation_with_parts_across_it(lab_of_files: Any, tmp_path: Path) -> None:
    """0.log becomes 0.log.<time>, later .gz; a record whose parts lie on both sides is joined."""
    folder = tmp_path / "ns_pod_11111111-aaaa" / "app"
    folder.mkdir(parents=True)
    path = folder / "0.log"
    path.write_text("2024-04-13T08:00:00.1Z stdout F one\n2024-04-13T08:00:00.2Z stdout P half ")
    with path.open("a") as file:
        file.write("\n")
    running = await lab_of_files.run(
        include=[f"{tmp_path}/*/*/*.log", f"{tmp_path}/*/*/*.log.*"],
        exclude=["**/*.tmp"],
        include_file_path=True,
        record_uid=True,
        compression="auto",
        operators=[{"type": "container"}],
    )
    await running.sink.wait_for(1)
    await until(lambda: list(running.receiver._reader.chain.held()))
    rotated = folder / "0.log.20240413-080000"
    path.rename(rotated)
    path.write_text("2024-04-13T08:00:00.3Z stdout F whole\n")
    await running.sink.wait_for(2)
    assert running.bodies == ["one", "half whole"]
    packed = folder / "0.log.20240413-080000.gz"
    temporary = folder / "0.log.20240413-080000.tmp"
    temporary.write_bytes(gzip.compress(rotated.read_bytes()))
    temporary.rename(packed)
    rotated.unlink()
    with path.open("a") as file:
        file.write("2024-04-13T08:00:00.4Z stderr F end\n")
    await running.sink.wait_for(3)
    await until(lambda: running.receiver._tracker.gone)
    for file in running.receiver._tracker.gone:
        file.gone_since -= 60
    await until(lambda: any(item.is_gzip and not item.pending for item in running.receiver._tracker.files.values()))
    assert running.bodies == ["one", "half whole", "end"]


async def test_a_file_moved_by_copy_and_delete_goes_on_where_it_was(lab_of_files: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\n")
    sink = SinkConsumer()
    running = await lab_of_files.run(record_uid=True, sink=sink)
    await sink.wait_for(2)
    content = path.read_text()
    path.unlink()
    await until(lambda: running.receiver._tracker.gone)
    for file in running.receiver._tracker.gone:
        file.gone_since -= 60
    await until(lambda: running.receiver._tracker.archive)
    (tmp_path / "b.log").write_text(content + "three\n")
    await sink.wait_for(3)
    assert running.bodies == ["one", "two", "three"]
    assert len(uids(running)) == 3


def test_what_was_kept_of_replaced_content_goes_with_the_memory_of_it(tmp_path: Path, values: Any) -> None:
    """copytruncate again and again: the storage holds the file and the contents still known, not all that ever were."""
    path = tmp_path / "a.log"
    files = tracker.Tracker(from_plain(FileLogConfig, {"include": [str(path)]}), logging.getLogger(), most_archived=2)
    checkpoint = Checkpoint(values)
    for number in range(6):
        path.write_text(f"{number} is what this content begins with\n" * (9 - number))
        files.look([str(path)], float(number), 1e12, skip=False)
        (file,) = files.files.values()
        file.note_head(path.read_bytes(), 1000)
        file.fix_identity(path.read_bytes())
        file.position = file.safe = file.size
        checkpoint.save([file])
        while files.forgotten:
            checkpoint.forget(files.forgotten.pop())
    known = {file.identity for file in (*files.files.values(), *files.archive)}
    assert {key.removeprefix("file/") for key in values.values} == known
    assert len(known) == 3


async def test_a_new_generation_is_in_the_checkpoint_before_its_records_go_on(
    lab_of_files: Any, tmp_path: Path, values: Any
) -> None:
    """A crash right after a truncated file's first records, when its checkpoint is the copy's already: they are
    read again with the same uids."""
    path, copy = tmp_path / "app.log", tmp_path / "app.log.1"
    path.write_text("one\ntwo\n")
    kept: dict[str, bytes] = {}

    def crash(_: Any) -> None:
        kept.clear()
        kept.update(values.values)

    first = await lab_of_files.run(storage=values, record_uid=True, sink=SinkConsumer(refuse=crash))
    await first.sink.wait_for(2)
    copy.write_bytes(path.read_bytes() + b"of the copy\n")
    os.truncate(path, 0)
    await until(lambda: any(b'app.log.1"' in value for value in values.values.values()), "the copy is known", 10.0)
    path.write_text("three\nfour\n")
    await first.sink.wait_for(5)
    left = type(values)()
    left.values = dict(kept)
    second = await lab_of_files.run(storage=left, record_uid=True)
    await until(lambda: {"three", "four"} <= set(second.bodies), "the new lines, again", 10.0)
    before = {record.body: record.uid for record in first.records}
    assert all(record.uid == before[record.body] for record in second.records)
