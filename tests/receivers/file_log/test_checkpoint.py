"""Checkpoints: they move only on acknowledgement, and nothing is lost or has another uid after a restart or kill -9."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until


def offsets(values: Any) -> list[int]:
    return [json.loads(value)["offset"] for key, value in values.values.items() if key.startswith("file/")]


async def test_the_checkpoint_moves_only_over_what_was_acknowledged_without_a_gap(
    lab_of_files: Any, tmp_path: Path, values: Any
) -> None:
    path = tmp_path / "a.log"
    sink = SinkConsumer(hold=True)
    await lab_of_files.run(sink=sink, storage=values)
    for number in range(3):
        with path.open("a") as file:
            file.write(f"line {number}\n")
        await sink.wait_for(number + 1)
    await asyncio.sleep(0.3)
    assert offsets(values) in ([], [0])
    sink.held.reverse()
    sink.release(count=2)
    await asyncio.sleep(0.3)
    assert offsets(values) in ([], [0])
    sink.release(count=1)
    await until(lambda: offsets(values) == [21])


async def test_acknowledgements_after_shutdown_still_count(lab_of_files: Any, tmp_path: Path, values: Any) -> None:
    (tmp_path / "a.log").write_text("one\n")
    sink = SinkConsumer(hold=True)
    running = await lab_of_files.run(sink=sink, storage=values)
    await sink.wait_for(1)
    await running.stop()
    sink.release()
    assert offsets(values) == [4]


async def test_after_a_restart_only_new_lines_are_read_also_of_files_rotated_meanwhile(
    lab_of_files: Any, tmp_path: Path, values: Any
) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\n")
    first = await lab_of_files.run(storage=values)
    await first.sink.wait_for(2)
    await first.stop()
    with path.open("a") as file:
        file.write("three\n")
    path.rename(tmp_path / "a.log.1")
    path.write_text("four\n")
    second = await lab_of_files.run(storage=values, start_at="end")
    await second.sink.wait_for(2)
    assert sorted(second.bodies) == ["four", "three"]


async def test_what_was_not_acknowledged_is_read_again_with_the_same_uids(
    lab_of_files: Any, tmp_path: Path, values: Any
) -> None:
    path = tmp_path / "ns_pod_11111111-aaaa" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    path.write_text(
        "2024-04-13T08:00:00.1Z stdout P part \n"
        "2024-04-13T08:00:00.2Z stderr F between\n"
        "2024-04-13T08:00:00.3Z stdout F end\n"
        "2024-04-13T08:00:00.4Z stdout P unfinished \n"
        "2024-04-13T08:00:00.5Z stderr F after\n"
    )
    config = {"include": [f"{tmp_path}/*/*/*.log"], "record_uid": True, "operators": [{"type": "container"}]}
    first = await lab_of_files.run(storage=values, sink=SinkConsumer(hold=True), **config)
    await first.sink.wait_for(3)
    await first.stop()
    second = await lab_of_files.run(storage=values, **config)
    await second.sink.wait_for(3)
    await second.stop()
    assert {r.uid: r.body for r in first.records} == {r.uid: r.body for r in second.records}
    assert second.bodies == ["between", "part end", "after"]
    with path.open("a") as file:
        file.write("2024-04-13T08:00:00.6Z stdout F record\n")
    third = await lab_of_files.run(storage=values, **config)
    await third.sink.wait_for(2)
    uids = {record.body: record.uid for record in third.records}
    assert set(uids) == {"after", "unfinished record"}
    assert uids["after"] == {record.body: record.uid for record in second.records}["after"]


async def test_uids_do_not_need_the_checkpoint(lab_of_files: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\n")
    first = await lab_of_files.run(record_uid=True)
    await first.sink.wait_for(2)
    await first.stop()
    path.rename(tmp_path / "b.log")
    with (tmp_path / "b.log").open("a") as file:
        file.write("three\n")
    second = await lab_of_files.run(record_uid=True)
    await second.sink.wait_for(3)
    assert [record.uid for record in second.records][:2] == [record.uid for record in first.records]


async def test_a_broken_checkpoint_value_is_left_out(lab_of_files: Any, tmp_path: Path, values: Any) -> None:
    (tmp_path / "a.log").write_text("one\n")
    values.values = {"file/x": b"{", "file/y": b"[]", "file/z": b'{"path":1}', "other": b""}
    running = await lab_of_files.run(storage=values)
    await running.sink.wait_for(1)


SCRIPT = """
import asyncio, sys, time
from heliograph.component.ids import Kind
from heliograph.config.decode import from_plain
from heliograph.extensions.file_storage import FACTORY as STORAGE
from heliograph.receivers.file_log import FACTORY
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings

folder, output = sys.argv[1:]

class Backend:
    '''Stores records durably, then acknowledges a little later, out of order now and then.'''
    def __init__(self):
        self.file = open(output, "a")
        self.count = 0
    async def consume(self, batch):
        for message in batch.messages():
            for scope in message.scope_logs:
                for record in scope.log_records:
                    uid = next(a.value.string_value for a in record.attributes if a.key == "log.record.uid")
                    self.file.write(uid + " " + record.body.string_value + "\\n")
        self.file.flush()
        self.count += 1
        asyncio.get_running_loop().call_later(0.02 if self.count % 3 else 0.1, batch.finish)

async def main():
    extension = STORAGE.create(settings(Kind.EXTENSION, "file_storage"),
        from_plain(STORAGE.config, {"directory": folder + "/storage", "create_directory": True}))
    host = TestHost()
    await extension.start(host)
    host = TestHost(extensions={"file_storage": extension})
    receiver = FACTORY.create(settings(Kind.RECEIVER, "file_log", outputs={"logs": Backend()}),
        from_plain(FACTORY.config, {"include": [folder + "/logs/*.log*"], "start_at": "beginning",
            "poll_interval": "20ms", "record_uid": True, "storage": "file_storage"}))
    await receiver.start(host)
    print("started", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_kill_9_under_load_with_rotation_loses_nothing_and_doubles_nothing_by_uid(tmp_path: Path) -> None:
    """The receiver is killed three times while lines are written and the file is rotated."""
    logs, output = tmp_path / "logs", tmp_path / "out"
    logs.mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    path = logs / "app.log"
    written = 0
    stop = asyncio.Event()

    async def write() -> None:
        nonlocal written
        rounds = 0
        file = path.open("a")
        while not stop.is_set():
            for _ in range(100):
                file.write(f"2024 line {written}\n")
                written += 1
            file.flush()
            rounds += 1
            if rounds % 40 == 0:
                file.close()
                path.rename(logs / f"app.log.{rounds}")
                file = path.open("a")
            await asyncio.sleep(0.01)
        file.close()

    writer = asyncio.create_task(write())
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), str(tmp_path), str(output), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(0.7)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    stop.set()
    await writer
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), str(tmp_path), str(output))

    def arrived() -> dict[str, str]:
        lines = output.read_text().splitlines() if output.exists() else []
        return dict(line.split(" ", 1) for line in lines if line.count(" ") == 3)

    await until(lambda: len(arrived()) >= written, f"{written} records", 20)
    process.kill()
    await process.wait()
    numbers = sorted(int(body.rsplit(" ", 1)[1]) for body in arrived().values())
    assert numbers == list(range(written))


async def test_a_full_disk_under_the_checkpoint_stops_no_reading(
    lab_of_files: Any, tmp_path: Path, values: Any
) -> None:
    """Lines still arrive, and the checkpoint is kept as soon as that is possible again."""
    path = tmp_path / "a.log"
    path.write_text("one\n")
    running = await lab_of_files.run(storage=values)
    await until(lambda: offsets(values) == [4])
    values.full = True
    with path.open("a") as file:
        file.write("two\n")
    await running.sink.wait_for(2)
    await until(lambda: values.refused >= 2)
    with path.open("a") as file:
        file.write("three\n")
    await running.sink.wait_for(3)
    assert offsets(values) == [4]
    values.full = False
    await until(lambda: offsets(values) == [14])
