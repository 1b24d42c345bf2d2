"""file_storage: values and folders that survive, each owner its own, and clear errors at start."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from heliograph.component.errors import ConfigError, StartError
from heliograph.component.storage import Storage
from heliograph.config.decode import from_plain
from heliograph.extensions.file_storage import FACTORY
from heliograph.extensions.file_storage.config import FileStorageConfig
from heliograph.extensions.file_storage.extension import FileStorage, file_name
from heliograph.testing.clock import ManualClock
from heliograph.testing.host import TestHost
from heliograph.testing.settings import settings


def storage(**keys: object) -> FileStorage:
    created = FACTORY.create(settings("extension", "file_storage"), from_plain(FileStorageConfig, keys))
    assert isinstance(created, FileStorage)
    assert isinstance(created, Storage)
    return created


async def started(tmp_path: Path, **keys: object) -> FileStorage:
    extension = storage(directory=str(tmp_path), **keys)
    await extension.start(TestHost())
    return extension


@pytest.mark.parametrize("fsync", [False, True])
async def test_values_survive_a_restart(tmp_path: Path, fsync: bool) -> None:
    extension = await started(tmp_path, fsync=fsync)
    values = extension.key_value("receiver_file_log_a")
    values.set("b", b"\x00\xff")
    values.set("a", b"1")
    values.set("a", b"2")
    values.set("gone", b"x")
    values.delete("gone")
    values.delete("never there")
    await extension.shutdown(0)
    extension = await started(tmp_path)
    values = extension.key_value("receiver_file_log_a")
    assert list(values.items()) == [("a", b"2"), ("b", b"\x00\xff")]
    assert values.get("gone") is None
    await extension.shutdown(0)
    await extension.shutdown(0)


async def test_owners_share_nothing(tmp_path: Path) -> None:
    extension = await started(tmp_path)
    one, other = extension.key_value("receiver_x_a/b"), extension.key_value("receiver_x_a~b")
    one.set("k", b"1")
    assert other.get("k") is None
    assert extension.directory("a") != extension.directory("b")
    assert extension.directory("a").is_dir()
    await extension.shutdown(0)


def test_names_are_made_safe_as_upstream_does() -> None:
    assert file_name("receiver_filelog_logs/container") == "receiver_filelog_logs~002Fcontainer"
    assert file_name("../~") == "..~002F~007E"


WRITER = """
import sys, logging
from pathlib import Path
from heliograph.extensions.file_storage.key_value import SqliteKeyValue

log = logging.LoggerAdapter(logging.getLogger(), {})
values = SqliteKeyValue(Path(sys.argv[1]), timeout=1, fsync=False, recreate=False, compact=False, log=log)
for number in range(10_000_000):
    values.set("offset", b"%d" % number)
    print(number, flush=True)
"""


def kill_a_writer(path: Path) -> list[bytes]:
    """Start a process that counts up in one value, kill it, and return what it said."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(500)]
    writer.send_signal(signal.SIGKILL)
    lines += [line for line in writer.stdout if line.endswith(b"\n")]
    writer.wait()
    writer.stdout.close()
    return lines


async def test_kill_9_keeps_every_value_that_was_set(tmp_path: Path) -> None:
    lines = kill_a_writer(tmp_path / "o.sqlite")
    extension = await started(tmp_path)
    found = int(extension.key_value("o").get("offset") or b"-1")
    assert found in (int(lines[-1]), int(lines[-1]) + 1)
    await extension.shutdown(0)


async def test_a_file_locked_by_another_is_refused_after_the_timeout(tmp_path: Path) -> None:
    first = await started(tmp_path)
    first.key_value("o").set("k", b"v")
    second = await started(tmp_path, timeout="50ms")
    with pytest.raises(StartError, match=r"o\.sqlite is locked by another process, waited 0\.05 s"):
        second.key_value("o")
    await first.shutdown(0)
    assert second.key_value("o").get("k") == b"v"
    await second.shutdown(0)


async def test_a_damaged_file_is_refused_or_set_aside(tmp_path: Path) -> None:
    (tmp_path / "o.sqlite").write_bytes(b"this is no database" * 1000)
    extension = await started(tmp_path)
    with pytest.raises(StartError, match=r"is damaged .* set `recreate: true`"):
        extension.key_value("o")
    extension = await started(tmp_path, recreate=True)
    assert extension.key_value("o").get("k") is None
    assert (tmp_path / "o.sqlite.backup").read_bytes().startswith(b"this is no database")
    await extension.shutdown(0)


async def test_a_page_damaged_inside_is_noticed(tmp_path: Path) -> None:
    extension = await started(tmp_path)
    values = extension.key_value("o")
    for number in range(200):
        values.set(f"key {number}", b"v" * 500)
    await extension.shutdown(0)
    path = tmp_path / "o.sqlite"
    data = bytearray(path.read_bytes())
    data[8192:12288] = b"\x99" * 4096
    path.write_bytes(data)
    extension = await started(tmp_path)
    with pytest.raises(StartError, match="is damaged"):
        extension.key_value("o")


async def test_a_missing_directory_names_the_keys(tmp_path: Path) -> None:
    missing = tmp_path / "a" / "b"
    with pytest.raises(StartError, match=r"directory .* does not exist.*`directory`.*create_directory: true"):
        await started(missing)
    await started(missing, create_directory=True, directory_permissions="0700")
    assert missing.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match="is not a directory"):
        await started(tmp_path / "file")


async def test_on_start_gives_space_back(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    for compaction, small in (({}, False), ({"on_start": True}, True)):
        extension = await started(tmp_path, compaction=compaction)
        values = extension.key_value("o")
        if not small:
            values.set("big", b"x" * 1_000_000)
            values.delete("big")
        await extension.shutdown(0)
        assert (path.stat().st_size < 100_000) is small


async def test_on_rebound_gives_space_back_while_running(tmp_path: Path) -> None:
    clock = ManualClock()
    keys = {"on_rebound": True, "rebound_needed_threshold_mib": 2, "rebound_trigger_threshold_mib": 1}
    extension = storage(directory=str(tmp_path), compaction=keys)
    async with TestHost(clock=clock) as host:
        await extension.start(host)
        values = extension.key_value("o")
        values.set("big", b"x" * 3_000_000)
        await clock.advance(5)
        assert values.space()[0] > 2 << 20
        values.delete("big")
        await clock.advance(5)
        assert values.space()[0] < 1 << 20
        await extension.shutdown(0)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"compaction": {"directory": "/tmp"}}, "SQLite compacts beside"),
        ({"compaction": {"max_transaction_size": 1}}, "one transaction"),
        ({"compaction": {"cleanup_on_start": True}}, "no temporary files"),
        ({"directory_permissions": "rwx"}, "octal"),
        ({"timeout": "-1s"}, "timeout"),
    ],
)
def test_what_is_not_done_is_refused_by_name(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_plain(FileStorageConfig, keys)


async def test_a_full_disk_is_an_os_error_and_passes(tmp_path: Path) -> None:
    """Owners need not know what the values are kept in."""
    extension = await started(tmp_path)
    values = extension.key_value("owner")
    values.set("a", b"1")
    values._opened.execute("PRAGMA max_page_count = 4")
    with pytest.raises(OSError, match="full"):
        values.set("b", b"x" * 100_000)
    values._opened.execute("PRAGMA max_page_count = 1000")
    values.set("b", b"x" * 100_000)
    assert values.get("a") == b"1"
    await extension.shutdown(0)
