"""CPU microseconds a line of container logs: file_log with the container operator, log.file.path and record_uid.

Ours: the receiver alone (find, read, parse, encode, acknowledge) with a sink behind it that takes every batch at
once, in a process of its own, by its CPU time. Peer, when the lab is there: the upstream Collector with the same
receiver and the nop exporter, on the same file in the same run. Both are started on an empty folder; the file is moved
in when they idle, so start-up does not count. Half a percent of the lines are partial: a runtime cuts at 16 KiB.

    python bench/micro/file_log_container.py [lines]
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
POD = "ns_pod_11111111-aaaa-bbbb/app/0.log"


def write_lines(path: Path, count: int) -> None:
    """CRI lines of 60 to 240 bytes as containerd writes them, some of them partial."""
    chosen = random.Random(1)
    start = 1_712_995_200
    with path.open("w") as file:
        for number in range(count):
            second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(start + number // 1000))
            fraction = f"{chosen.randrange(10**9):09d}".rstrip("0") or "1"
            stream, tag = chosen.choice(("stdout", "stderr")), "P" if chosen.random() < 0.005 else "F"
            text = f"GET /api/orders?id={number} 200 " + "x" * chosen.randrange(180)
            file.write(f"{second}.{fraction}Z {stream} {tag} {text}\n")


def cpu(process: psutil.Process) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def spent(process: psutil.Process, source: Path, target: Path) -> float:
    """CPU seconds from moving the file in until the process idles again."""
    time.sleep(1.5)
    before = cpu(process)
    target.parent.mkdir(parents=True)
    source.rename(target)
    last, calm = before, 0
    while calm < 15:
        time.sleep(0.1)
        now = cpu(process)
        calm = calm + 1 if now - last < 0.02 and now > before + 0.1 else 0
        last = now
    return last - before


def peer(binary: str, folder: Path, source: Path) -> float:
    """CPU seconds of the upstream Collector."""
    config = folder / "peer.yaml"
    config.write_text(
        f"receivers:\n  file_log:\n    include: ['{folder}/*/*/*.log']\n    start_at: beginning\n"
        "    include_file_path: true\n    operators: [{type: container}]\n"
        "exporters: {nop: }\n"
        "service:\n  telemetry: {metrics: {level: none}}\n"
        "  pipelines: {logs: {receivers: [file_log], exporters: [nop]}}\n"
    )
    process = subprocess.Popen([binary, f"--config={config}"], stderr=subprocess.DEVNULL)
    try:
        return spent(psutil.Process(process.pid), source, folder / POD)
    finally:
        process.terminate()
        process.wait()


def ours(folder: Path, source: Path) -> float:
    """CPU seconds of this receiver in a process of its own."""
    process = subprocess.Popen([sys.executable, __file__, "--serve", str(folder)])
    try:
        return spent(psutil.Process(process.pid), source, folder / POD)
    finally:
        process.terminate()
        process.wait()


async def serve(folder: str) -> None:
    """The process of `ours`."""
    from heliograph.component.batch import Batch
    from heliograph.component.ids import Kind, Signal
    from heliograph.config.decode import from_plain
    from heliograph.receivers.file_log import FACTORY
    from heliograph.testing.host import TestHost
    from heliograph.testing.settings import settings

    class Sink:
        async def consume(self, batch: Batch) -> None:
            batch.finish()

    keys = {
        "include": [f"{folder}/*/*/*.log"],
        "start_at": "beginning",
        "include_file_path": True,
        "record_uid": True,
        "operators": [{"type": "container"}],
    }
    made = settings(Kind.RECEIVER, "file_log", outputs={Signal.LOGS: Sink()})
    await FACTORY.create(made, from_plain(FACTORY.config, keys)).start(TestHost())
    await asyncio.sleep(3600)


def main() -> None:
    """Print both figures and their ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    results: dict[str, float] = {}
    lab = Path(os.environ.get("HELIOGRAPH_LAB") or ROOT.parent / "shared" / "lab") / "collector" / "collector"
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "lines")
        write_lines(source, count)
        for label in ("ours", "upstream"):
            if label == "upstream" and not lab.exists():
                continue
            folder = Path(name, label)
            folder.mkdir()
            copy = folder / "copy"
            copy.write_bytes(source.read_bytes())
            if label == "ours":
                seconds = ours(folder, copy)
            else:
                binary = subprocess.run([lab], capture_output=True, text=True, check=True).stdout.strip()
                seconds = peer(binary, folder, copy)
            results[label] = seconds / count * 1e6
            print(f"{label:10} {results[label]:6.2f} CPU us a line ({count} lines, {seconds:.2f} s)", flush=True)
    if len(results) == 2:
        print(f"upstream / ours = {results['upstream'] / results['ours']:.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(serve(sys.argv[2]))
    else:
        main()
