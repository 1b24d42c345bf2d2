"""Reading: what is sent of a file, when, and with which attributes."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.batch import Fate, Outcome
from heliograph.component.errors import Overloaded, Permanent, Retryable
from heliograph.testing.sink import SinkConsumer
from heliograph.testing.wait import until

CRI = "2024-04-13T08:00:00.%09dZ %s %s %s\n"


def pod_file(folder: Path, text: str) -> Path:
    path = folder / "ns_pod_11111111-aaaa" / "app" / "0.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


async def test_lines_are_sent_trimmed_and_blank_lines_are_not(lab_of_files: Any, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"  one  \r\n\n \t \ntwo \xff\xe2\x82!\nthree")
    running = await lab_of_files.run(include_file_path=True, force_flush_period="50ms")
    await running.sink.wait_for(3)
    assert running.bodies == ["one", "two " + "\ufffd" * 2 + "!", "three"]
    assert running.records[0].attributes == {"log.file.name": "a.log", "log.file.path": str(tmp_path / "a.log")}


async def test_start_at_end_skips_what_is_there_but_not_files_that_come_later(
    lab_of_files: Any, tmp_path: Path
) -> None:
    old = tmp_path / "old.log"
    old.write_text("before\n")
    running = await lab_of_files.run(start_at="end")
    await until(lambda: running.receiver._tracker.files)
    with old.open("a") as file:
        file.write("after\n")
    (tmp_path / "new.log").write_text("new file\n")
    await running.sink.wait_for(2)
    assert sorted(running.bodies) == ["after", "new file"]


async def test_cri_lines_get_time_stream_and_pod_and_parts_are_joined_within_their_stream(
    lab_of_files: Any, tmp_path: Path
) -> None:
    text = (
        CRI % (1, "stdout", "F", "whole")
        + CRI % (2, "stdout", "P", "first ")
        + CRI % (3, "stderr", "F", "between")
        + CRI % (4, "stdout", "P", "second ")
        + CRI % (5, "stdout", "F", "last")
        + CRI % (6, "stdout", "F", "  kept lead  ")
        + "2024-04-13T10:00:00.5+02:00 stderr F crio\n"
        + "2024-04-13T08:00:00.000000007Z stdout F\n"
        + "no such format\n"
    )
    path = pod_file(tmp_path, text)
    running = await lab_of_files.run(
        include=[f"{tmp_path}/*/*/*.log"], include_file_path=True, record_uid=True, operators=[{"type": "container"}]
    )
    await running.sink.wait_for(7)
    by_body = {record.body: record for record in running.records}
    assert set(by_body) == {"whole", "between", "first second last", "  kept lead", "crio", "", "no such format"}
    joined = by_body["first second last"]
    assert joined.time == 1712995200 * 10**9 + 2
    assert joined.attributes["logtag"] == "P"
    assert joined.attributes["log.iostream"] == "stdout"
    assert joined.attributes["log.file.path"] == str(path)
    assert joined.uid.endswith(f"{text.index('2024-04-13T08:00:00.000000002'):012x}")
    assert by_body["crio"].time == 1712995200 * 10**9 + 500_000_000
    assert by_body["between"].attributes["log.iostream"] == "stderr"
    assert by_body["whole"].resource == {
        "k8s.namespace.name": "ns",
        "k8s.pod.name": "pod",
        "k8s.pod.uid": "11111111-aaaa",
        "k8s.container.name": "app",
        "k8s.container.restart_count": "0",
    }
    assert by_body["no such format"].resource == {}
    assert by_body["no such format"].time == 0
    assert len({record.uid for record in running.records}) == 7


async def test_dockers_parts_are_joined_and_their_newline_is_cut(lab_of_files: Any, tmp_path: Path) -> None:
    pod_file(
        tmp_path,
        '{"log":"a ","stream":"stdout","time":"2024-04-13T08:00:00.1Z"}\n'
        '{"log":"b\\n","stream":"stdout","time":"2024-04-13T08:00:00.2Z","attrs":{"x":"y"}}\n'
        '{"log":"c\\n","stream":"stderr","time":"2024-04-13T08:00:00.3Z","attrs":{"x":"y"}}\n',
    )
    running = await lab_of_files.run(include=[f"{tmp_path}/*/*/*.log"], operators=[{"type": "container"}])
    await running.sink.wait_for(2)
    assert running.bodies == ["a b", "c"]
    assert running.records[1].attributes == {"log.file.name": "0.log", "log.iostream": "stderr", "attrs": {"x": "y"}}


async def test_a_part_without_its_end_is_sent_after_five_seconds_or_at_stop(lab_of_files: Any, tmp_path: Path) -> None:
    pod_file(tmp_path, CRI % (1, "stdout", "P", "alone"))
    running = await lab_of_files.run(include=[f"{tmp_path}/*/*/*.log"], operators=[{"type": "container"}])
    await until(lambda: list(running.receiver._reader.chain.held()))
    await running.stop()
    assert running.bodies == ["alone"]


async def test_long_records_are_split_or_truncated(lab_of_files: Any, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("x" * 250 + "\nshort\n" + "y" * 99 + "\n")
    split = await lab_of_files.run(max_log_size=100)
    await split.sink.wait_for(5)
    assert [len(body) for body in split.bodies] == [100, 100, 50, 5, 99]
    cut = await lab_of_files.run(max_log_size=100, max_log_size_behavior="truncate")
    await cut.sink.wait_for(3)
    assert [len(body) for body in cut.bodies] == [100, 5, 99]


@pytest.mark.parametrize("encoding", ["utf-16le", "utf-16be", "latin1", "shift_jis"])
async def test_encodings(lab_of_files: Any, tmp_path: Path, encoding: str) -> None:
    texts = ["eins", "zw\u00f6lf" if encoding != "shift_jis" else "テスト", "\u0a0a\u010a" if "16" in encoding else "z"]
    (tmp_path / "a.log").write_bytes("".join(f"{text}\n" for text in texts).encode(encoding))
    running = await lab_of_files.run(encoding=encoding)
    await running.sink.wait_for(3)
    assert running.bodies == texts


async def test_encoding_nop_gives_bytes(lab_of_files: Any, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"\x00\xff\n\x01")
    running = await lab_of_files.run(encoding="nop")
    await running.sink.wait_for(1)
    assert running.bodies == [b"\x00\xff\n\x01"]


async def test_multiline_records_begin_at_their_pattern(lab_of_files: Any, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("head\nINFO one\n  more\nINFO two\n  end\n")
    running = await lab_of_files.run(multiline={"line_start_pattern": "^INFO"}, force_flush_period="50ms")
    await running.sink.wait_for(3)
    assert running.bodies == ["head", "INFO one\n  more", "INFO two\n  end"]


async def test_file_attributes(lab_of_files: Any, tmp_path: Path) -> None:
    target = tmp_path / "real.txt"
    target.write_text("one\ntwo\n")
    target.chmod(0o640)
    (tmp_path / "link.log").symlink_to(target)
    names = ("owner_name", "owner_group_name", "permissions", "name_resolved", "path_resolved", "record_number")
    running = await lab_of_files.run(
        **{f"include_file_{name}": True for name in names},
        include_file_record_offset=True,
        attributes={"env": "test", "home": 'EXPR(env("HOME"))/x'},
        resource={"service.name": "app"},
    )
    await running.sink.wait_for(2)
    second = running.records[1]
    assert second.attributes["log.file.name_resolved"] == "real.txt"
    assert second.attributes["log.file.path_resolved"] == str(target)
    assert second.attributes["log.file.permissions"] == "640"
    assert second.attributes["log.file.record_number"] == 2
    assert second.attributes["log.file.record_offset"] == 4
    assert second.attributes["home"] == os.environ["HOME"] + "/x"
    assert second.resource == {"service.name": "app"}


async def test_gzip_files_are_read_and_a_file_that_was_compressed_after_reading_is_not_read_again(
    lab_of_files: Any, tmp_path: Path
) -> None:
    plain = "".join(f"2024 line {number}\n" for number in range(500))
    (tmp_path / "app.log").write_text(plain)
    running = await lab_of_files.run(compression="auto")
    await running.sink.wait_for(500)
    (tmp_path / "app.log.1.gz.tmp").write_bytes(b"")
    packed = gzip.compress((plain + "2024 unread\n").encode())
    (tmp_path / "app.log").unlink()
    (tmp_path / "app.log.1.gz.tmp").unlink()

    await until(lambda: running.receiver._tracker.gone)
    for file in running.receiver._tracker.gone:
        file.gone_since -= 60
    await until(lambda: running.receiver._tracker.archive)
    (tmp_path / "app.log.1.gz").write_bytes(packed)
    (tmp_path / "other.log.gz").write_bytes(gzip.compress(b"other 1\n") + gzip.compress(b"other 2\n"))
    await running.sink.wait_for(503)
    assert sorted(running.bodies[500:]) == ["2024 unread", "other 1", "other 2"]


async def test_a_batch_that_is_refused_is_offered_until_it_is_taken(lab_of_files: Any, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("one\ntwo\n")
    sink = SinkConsumer(refuse=[Retryable("not now"), Overloaded("full", after=0.02), Retryable("still not")])
    running = await lab_of_files.run(sink=sink, retry_on_failure={"initial_interval": "10ms"})
    await sink.wait_for(2)
    assert sink.refused == 3
    assert running.bodies == ["one", "two"]


@pytest.mark.parametrize(
    "retry", [{"enabled": False}, {"initial_interval": "10ms", "max_interval": "10ms", "max_elapsed_time": "50ms"}]
)
async def test_a_written_end_of_retrying_drops_and_counts(
    lab_of_files: Any, tmp_path: Path, retry: dict[str, Any]
) -> None:
    """retry_on_failure::enabled: false and max_elapsed_time do what they do upstream."""
    (tmp_path / "a.log").write_text("one\ntwo\n")
    sink = SinkConsumer(refuse=[Retryable("not now")] * (1 if "enabled" in retry else 100))
    running = await lab_of_files.run(sink=sink, retry_on_failure=retry)
    account = running.settings.telemetry.ledger.accounts
    await until(lambda: [entry.dropped["given_up"] for entry in account.values() if entry.dropped] == [2])
    assert sink.refused < 20
    sink.refuse.clear()
    with (tmp_path / "a.log").open("a") as file:
        file.write("three\n")
    await sink.wait_for(1)
    assert running.bodies == ["three"]


async def test_a_batch_refused_for_good_is_counted_and_reading_goes_on(lab_of_files: Any, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("one\ntwo\n")
    sink = SinkConsumer(refuse=[Permanent("never")])
    running = await lab_of_files.run(sink=sink)
    await until(lambda: sink.refused)
    with (tmp_path / "a.log").open("a") as file:
        file.write("three\n")
    await sink.wait_for(1)
    assert running.bodies == ["three"]
    account = running.settings.telemetry.ledger.accounts
    assert [entry.dropped["refused"] for entry in account.values() if entry.dropped] == [2]


async def test_reading_stops_while_too_much_is_on_its_way(lab_of_files: Any, tmp_path: Path) -> None:
    line = "x" * 1023 + "\n"
    (tmp_path / "a.log").write_text(line * (48 * 1024))
    sink = SinkConsumer(hold=True)
    running = await lab_of_files.run(sink=sink)
    await until(lambda: running.receiver._bytes >= 32 * 2**20, timeout=20)
    taken = sink.items
    assert taken < 40 * 1024
    while sink.items < 48 * 1024:
        sink.release()
        await until(lambda: sink.held or sink.items == 48 * 1024)
    assert sink.items == 48 * 1024


async def test_an_unreadable_file_does_not_stop_the_others(lab_of_files: Any, tmp_path: Path, caplog: Any) -> None:
    (tmp_path / "folder.log").mkdir()
    (tmp_path / "broken.log.gz").write_bytes(b"this is no gzip")
    (tmp_path / "good.log").write_text("good\n")
    running = await lab_of_files.run(compression="auto")
    await running.sink.wait_for(1)
    await until(lambda: "broken.log.gz" in caplog.text)
    assert running.bodies == ["good"]
    assert caplog.text.count("broken.log.gz") == 1


async def test_delete_after_read_deletes_only_what_was_acknowledged(lab_of_files: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\n")
    sink = SinkConsumer(hold=True)
    await lab_of_files.run(sink=sink, delete_after_read=True)
    await sink.wait_for(1)
    assert path.exists()
    sink.release()
    await until(lambda: not path.exists())


async def test_dropped_batches_let_the_checkpoint_pass_and_are_counted(
    lab_of_files: Any, tmp_path: Path, values: Any
) -> None:
    (tmp_path / "a.log").write_text("one\n")
    running = await lab_of_files.run(storage=values, sink=SinkConsumer(outcome=Outcome(Fate.DROPPED, "full")))
    await until(lambda: any(b'"offset":4' in value for value in values.values.values()))
    await running.stop()
    name = "heliograph_file_log_lost_records"
    assert running.settings.telemetry.metrics.value(name, {"receiver": "file_log"}) == 1


async def test_max_concurrent_files_bounds_open_files(lab_of_files: Any, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.log").write_text(f"line of {number}\n")
    running = await lab_of_files.run(max_concurrent_files=4)
    await running.sink.wait_for(20)
    await until(lambda: sum(file.fd >= 0 for file in running.receiver._tracker.files.values()) <= 4)
    with (tmp_path / "7.log").open("a") as file:
        file.write("again\n")
    await running.sink.wait_for(21)
    assert running.bodies[-1] == "again"


async def test_only_the_first_files_of_an_order_are_read(lab_of_files: Any, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        (tmp_path / f"err.{number}.log").write_text(f"{number}\n")
    running = await lab_of_files.run(
        ordering_criteria={
            "regex": r"err\.(?P<n>\d+)\.log",
            "top_n": 2,
            "sort_by": [{"sort_type": "numeric", "regex_key": "n", "ascending": False}],
        }
    )
    await running.sink.wait_for(2)
    await until(lambda: len(running.receiver._tracker.files) == 2)
    assert sorted(running.bodies) == ["10", "2"]
