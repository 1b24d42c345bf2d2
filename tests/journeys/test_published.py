"""What Elastic publishes for Linux runs unchanged: from a log file, the host and a shop to documents."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

import machine
from heliograph.store.client import store_file
from heliograph.store.documents import Documents
from heliograph.store.fields import values
from heliograph.store.query import FOREVER

SECONDS = 4.0
LOGS_ONLY = ("platformlogs", "managed_otlp/platformlogs")
LOGS_AND_HOST = ("platformlogs_hostmetrics", "managed_otlp/platformlogs_hostmetrics")
WITH_APPLICATIONS = ("logs_metrics_traces", "managed_otlp/logs_metrics_traces", "gateway")
GATEWAY = "gateway"
"""The one that only receives OTLP."""
AGGREGATED = ("logs_metrics_traces", "gateway")
"""Those with elasticapm."""
INTERVALS = ("1m", "10m", "60m")


def documents(folder: Path) -> list[dict[str, Any]]:
    """Everything in the machine's store."""
    store = Documents(store_file(folder / "store"))
    try:
        names = [stream.name for stream in store.streams()]
        return [orjson.loads(row.source) for row in store.read(names, FOREVER, ())]
    finally:
        store.close()


def of(found: list[dict[str, Any]], type_: str) -> list[dict[str, Any]]:
    """The documents of logs, metrics or traces."""
    return [document for document in found if document["data_stream"]["type"] == type_]


@pytest.mark.timeout(150)
@pytest.mark.parametrize("name", [*LOGS_ONLY, *LOGS_AND_HOST, *WITH_APPLICATIONS])
def test_it_runs_unchanged(lab: Path, tmp_path: Path, certificates: Any, name: str) -> None:
    """Each line is a document, once; host metrics and what the shop sent are there; the ledger closes."""
    config = lab.parent / "published" / "linux" / f"{name}.yml"
    if os.geteuid() != 0 or not config.exists():
        pytest.skip(f"needs root and {config}")
    for source, target in (("ca", "ca.pem"), ("server_cert", "server.pem"), ("server_key", "server.key")):
        shutil.copy(getattr(certificates, source), tmp_path / target)
    ended = machine.start(tmp_path, config, SECONDS)
    log = (tmp_path / "collector.log").read_text()
    assert ended.returncode == 0, ended.stderr + log
    assert re.search(r"difference(\s+0)+\n", log), log
    assert "\terror\t" not in log, log
    found = documents(tmp_path)
    if name in WITH_APPLICATIONS:
        spans = of(found, "traces")
        assert {"frontend", "checkout", "payment"} == {service_of(span) for span in spans}
        if name in AGGREGATED:
            check_aggregates(found, spans)
    if name == GATEWAY:
        return
    lines = [values(document, "body.text")[0] for document in of(found, "logs") if is_platform(document)]
    assert sorted(Counter(lines).items()) == sorted((f"line {n} of the platform", 1) for n in range(machine.LINES))
    if name in LOGS_ONLY:
        assert not of(found, "metrics")
        return
    metrics = {metric for document in of(found, "metrics") for metric in document.get("metrics", {})}
    assert {"system.cpu.load_average.1m", "system.memory.utilization", "system.filesystem.usage"} <= metrics


def service_of(document: dict[str, Any]) -> str:
    return str(values(document, "resource.attributes.service.name")[0])


def check_aggregates(found: list[dict[str, Any]], spans: list[dict[str, Any]]) -> None:
    """For each interval the transactions of each service are as many as a plain count over the spans gives."""
    events = Counter(
        service_of(span) for span in spans if values(span, "attributes.processor.event") == ["transaction"]
    )
    for interval in INTERVALS:
        for metricset in ("transaction", "service_transaction"):
            counted: Counter[str] = Counter()
            for document in of(found, "metrics"):
                if document["data_stream"]["dataset"] == f"{metricset}.{interval}.otel":
                    counted[service_of(document)] += document["_doc_count"]
            assert counted == events, (metricset, interval)


def is_platform(document: dict[str, Any]) -> bool:
    """Whether a log came from /var/log/app.log."""
    return values(document, "attributes.log.file.name") == ["app.log"]
