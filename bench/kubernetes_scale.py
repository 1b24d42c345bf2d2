"""Ten thousand pods on 500 nodes: the cluster collector and a node's daemon, beside the upstream Collector. By hand.

python -m bench.kubernetes_scale [--pods 10000 --nodes 500] [--quiet 30] [--changes 60] [--there]

Needs the Kubernetes of the lab (../shared/lab/kubernetes/kube up) as root. The pods are objects in its API that nobody
runs; they are removed at the end. Both programs run at the same time with the same file: first as cluster collector
(k8s_cluster every 10 s to nop), then as a daemon (k8s_attributes, the pods of one node). Each is measured until it is
ready, through a time without changes, and through one with 50 changes a second (3,000 a minute). Then Heliograph alone,
with entities and metrics to an OTLP sink: what waits in its queue and in its sockets while pods change.
"""

import argparse
import compileall
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml

from bench.process import Collector, free_port, listens, sink, wait

ROOT = Path(__file__).resolve().parent.parent
LAB = Path(os.environ.get("HELIOGRAPH_LAB") or ROOT.parent / "shared" / "lab")
KUBE = LAB / "kubernetes" / "kube"
CHANGES_A_SECOND = 50.0
_PRIME = 7919
HERE, THERE = "here", "upstream"


class Writer:
    """Changes pods of the lab as its kubelets and controllers would: restart counts, and pods replaced by others."""

    def __init__(self, kubeconfig: str) -> None:
        sys.path.insert(0, str(LAB / "kubernetes"))
        import scale  # type: ignore[import-not-found]

        self._scale = scale
        self._api = scale.Api(kubeconfig)

    def run(self, pods: int, nodes: int, seconds: float) -> tuple[int, float]:
        """(changes written, seconds that they took)."""
        began, made, lock = time.monotonic(), 0, threading.Lock()
        count = int(seconds * CHANGES_A_SECOND)

        def change(number: int) -> None:
            nonlocal made
            time.sleep(max(0.0, began + number / CHANGES_A_SECOND - time.monotonic()))
            chosen = number * _PRIME % pods  # another one each time, so that threads do not meet
            if number % 10 == 0:  # a pod goes, and another one comes and gets a status: three changes
                self._scale.remove_pod(self._api, chosen)
                self._scale.add_pod(self._api, chosen, nodes)
            elif number % 10 > 2:
                namespace, name = self._scale.pod_place(chosen)
                image = "registry.example.com/team/app:1.2.3"
                status = {
                    "name": "app",
                    "image": image,
                    "imageID": "",
                    "ready": number % 2 == 0,
                    "restartCount": number,
                }
                path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
                self._api.call("PATCH", path, {"status": {"containerStatuses": [status]}}, (200, 404))
            with lock:
                made += 1

        self._scale.spread(change, range(count), 8)
        return made, time.monotonic() - began


@contextmanager
def objects(pods: int, nodes: int) -> Iterator[None]:
    """Pods and nodes in the API, gone at the end."""
    try:
        subprocess.run([KUBE, "scale", str(pods), "--nodes", str(nodes)], check=True)
        yield
    finally:
        subprocess.run([KUBE, "scale", "0"], check=True)


class Program:
    """One of the two, as a child. own: the port of its own metrics."""

    def __init__(self, name: str, config: dict[str, Any], kubeconfig: str, folder: Path) -> None:
        self.name = name
        source = folder / "src"
        if not source.exists():  # compiled once, as an installed package is
            shutil.copytree(ROOT / "src" / "heliograph", source / "heliograph")
            compileall.compile_dir(source, quiet=1)
        self.own = free_port()
        reader = {"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": self.own}}}}
        service = {**config["service"], "telemetry": {"metrics": {"readers": [reader]}}}
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**config, "service": service}))
        command = [LAB / "collector" / "collector", f"--config={path}"]
        if name == HERE:
            command = [sys.executable, "-m", "heliograph", f"--config={path}"]
        self.began = time.monotonic()
        self.child = Collector([str(part) for part in command], {"KUBECONFIG": kubeconfig, "PYTHONPATH": str(source)})

    def value(self, metric: str) -> float:
        """The sum of a metric of its own; -1 when there is none yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.own}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return -1.0
        found = re.findall(rf"^{metric}(?:_total)?(?:\{{[^}}]*\}})? ([0-9.e+]+)$", text, re.MULTILINE)
        return sum(map(float, found)) if found else -1.0

    def unread(self) -> int:
        """Bytes that wait in its sockets."""
        inodes = set()
        for entry in Path(f"/proc/{self.child.pid}/fd").iterdir():
            try:
                inodes.update(re.findall(r"socket:\[(\d+)\]", os.readlink(entry)))
            except OSError:
                continue
        tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
        lines = [line.split() for table in tables for line in table]
        return sum(int(line[4].split(":")[1], 16) for line in lines if line[9] in inodes)


def cluster_config() -> dict[str, Any]:
    """The cluster collector: all metrics of the receiver's defaults."""
    return {
        "receivers": {"k8s_cluster": {"auth_type": "kubeConfig", "collection_interval": "10s"}},
        "exporters": {"nop": {}},
        "service": {"pipelines": {"metrics": {"receivers": ["k8s_cluster"], "exporters": ["nop"]}}},
    }


def daemon_config(port: int, node: str) -> dict[str, Any]:
    """A daemon: it listens when it knows the pods of its node."""
    names = ["k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid", "k8s.node.name", "k8s.pod.start_time"]
    names += ["k8s.deployment.name", "container.image.name", "container.image.tag"]
    labels = [{"tag_name": "app", "key": "app", "from": "pod"}]
    processor = {
        "auth_type": "kubeConfig",
        "filter": {"node": node},
        "wait_for_metadata": True,
        "wait_for_metadata_timeout": "60s",
        "extract": {"metadata": names, "labels": labels},
    }
    pipeline = {"receivers": ["otlp"], "processors": ["k8s_attributes"], "exporters": ["nop"]}
    return {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}},
        "processors": {"k8s_attributes": processor},
        "exporters": {"nop": {}},
        "service": {"pipelines": {"logs": pipeline, "metrics": pipeline, "traces": pipeline}},
    }


def reported(program: Program) -> bool:
    """Whether there was a first report."""
    return (
        program.value("otelcol_receiver_accepted_metric_points") > 0
        or program.value("otelcol_scraper_scraped_metric_points") > 0
    )


def measured(
    programs: list[Program], ready: Callable[[Program], bool], options: argparse.Namespace, writer: Writer
) -> list[dict[str, Any]]:
    """Rows: what each used until it was ready, without changes, with changes."""
    rows: dict[str, dict[str, Any]] = {program.name: {"name": program.name} for program in programs}
    waiting = list(programs)
    while waiting:
        for program in list(waiting):
            if ready(program):
                waiting.remove(program)
                row = rows[program.name]
                row["ready_s"] = time.monotonic() - program.began
                row["ready_cpu_s"] = program.child.cpu()
            elif time.monotonic() - program.began > 120:
                raise SystemExit(f"{program.name} is not ready after 120 s\n{program.child.tail()}")
        time.sleep(0.05)
    time.sleep(2)

    def phase(name: str, work: Callable[[], object]) -> None:
        before = {program.name: program.child.cpu() for program in programs}
        work()
        for program in programs:
            row = rows[program.name]
            row[f"{name}_cpu_s"] = program.child.cpu() - before[program.name]
            row[f"{name}_mib"], row["peak_mib"] = program.child.memory()

    phase("quiet", lambda: time.sleep(options.quiet))
    phase("changes", lambda: print("  changes, seconds:", writer.run(options.pods, options.nodes, options.changes)))
    return list(rows.values())


def queues(kubeconfig: str, options: argparse.Namespace, writer: Writer, folder: Path) -> dict[str, Any]:
    """What waits while pods change: Heliograph with metrics and entities to a sink."""
    with sink("otlp", folder, ROOT / "src") as (port, _), ExitStack() as stack:
        config = cluster_config()
        exporter = {"endpoint": f"127.0.0.1:{port}", "tls": {"insecure": True}, "compression": "none"}
        config["exporters"] = {"otlp_grpc": exporter}
        both = {"receivers": ["k8s_cluster"], "exporters": ["otlp_grpc"]}
        config["service"] = {"pipelines": {"metrics": both, "logs": both}}
        program = Program(HERE, config, kubeconfig, folder)
        stack.enter_context(program.child)
        wait(lambda: program.value("otelcol_exporter_sent_log_records") >= options.pods, 120, "all entities are told")
        time.sleep(5)
        done = threading.Event()
        samples: list[tuple[float, int, float]] = []

        def sample() -> None:
            while not done.wait(0.5):
                size = program.value("otelcol_exporter_queue_size")
                samples.append((size, program.unread(), program.child.memory()[0]))

        sampler = threading.Thread(target=sample)
        sampler.start()
        before = program.child.cpu()
        made, seconds = writer.run(options.pods, options.nodes, options.changes)
        used = program.child.cpu() - before
        done.set()
        sampler.join()
        half = len(samples) // 2
        found: dict[str, Any] = {"changes": made, "seconds": seconds, "cpu_s": used}
        for place, what in enumerate(("queue", "unread_bytes", "rss_mib")):
            parts = [[each[place] for each in samples[:half]], [each[place] for each in samples[half:]]]
            found[what] = [{"median": statistics.median(part), "largest": max(part)} for part in parts]
        return found


def main() -> None:
    """Run and print; figures as JSON in the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--quiet", type=float, default=30.0, help="seconds without a change")
    parser.add_argument("--changes", type=float, default=60.0, help="seconds with 50 changes each")
    parser.add_argument("--only", choices=("cluster", "daemon", "queues"), help="one part alone")
    parser.add_argument("--alone", action="store_true", help="without the upstream Collector")
    parser.add_argument(
        "--there", action="store_true", help="the pods are there (`kube scale 10000 --nodes 500`); leave them"
    )
    options = parser.parse_args()
    answer = subprocess.run([KUBE, "env"], check=True, capture_output=True, text=True).stdout
    kubeconfig = answer.strip().partition("=")[2].strip("'\"")
    result: dict[str, Any] = {}
    names = [HERE] if options.alone else [HERE, THERE]
    made = nullcontext() if options.there else objects(options.pods, options.nodes)
    with made, tempfile.TemporaryDirectory() as name:
        folder, writer = Path(name), Writer(kubeconfig)
        for part in ("cluster", "daemon"):
            if options.only not in (None, part):
                continue
            print(part, flush=True)
            with ExitStack() as stack:
                programs, ports = [], {}
                for who in names:
                    ports[who] = free_port()
                    config = cluster_config() if part == "cluster" else daemon_config(ports[who], "scale-node-7")
                    programs.append(Program(who, config, kubeconfig, folder))
                    stack.enter_context(programs[-1].child)
                ready = reported if part == "cluster" else lambda program: listens(ports[program.name])  # noqa: B023
                result[part] = measured(programs, ready, options, writer)
            for row in result[part]:
                print("  " + ", ".join(f"{key} {value:.2f}" if key != "name" else value for key, value in row.items()))
        if options.only in (None, "queues"):
            result["queues"] = queues(kubeconfig, options, writer, folder)
            print("queues", result["queues"])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
