"""CPU milliseconds of one round of host_metrics, on this machine: python bench/micro/host_metrics_scrape.py"""

import os
import time

from heliograph.config.decode import from_plain
from heliograph.receivers.host_metrics.config import HostMetricsConfig
from heliograph.receivers.host_metrics.host import HostFiles
from heliograph.receivers.host_metrics.metrics import METRICS
from heliograph.receivers.host_metrics.scrape import Scraping

ROUNDS = 50


def measure(names: list[str], every_metric: bool) -> tuple[float, int]:
    """Milliseconds of CPU and data points of a round."""
    on = {name: {"metrics": {metric: {"enabled": True} for metric in METRICS[name]}} for name in names}
    config = from_plain(HostMetricsConfig, {"scrapers": on if every_metric else dict.fromkeys(names)})
    scraping = Scraping(config.scrapers, HostFiles.find("", os.environ))
    scraping.run(time.time_ns())
    begun = time.process_time()
    for _ in range(ROUNDS):
        points = sum(scraping.run(time.time_ns()).points.values())
    return (time.process_time() - begun) / ROUNDS * 1000, points


if __name__ == "__main__":
    without = [name for name in METRICS if name != "process"]
    for title, names, full in (
        ("all scrapers but process, defaults", without, False),
        ("all scrapers but process, every metric", without, True),
        ("process, defaults", ["process"], False),
        ("process, every metric", ["process"], True),
    ):
        milliseconds, points = measure(names, full)
        print(f"{title:<42} {milliseconds:6.2f} ms CPU  {points:5d} points")
