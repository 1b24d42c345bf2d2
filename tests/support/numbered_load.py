"""Load on an installed chart that can be counted at the other end: numbered spans to the node's daemon, and a pod that
writes numbered lines."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deployment import Installed, real_node
from tiers import SpanSender

LOAD_SECONDS = 400.0
WRITER = """
import time
number = 0
while True:
    print("numbered line", number, flush=True)
    number += 1
    time.sleep(0.02)
"""


@contextmanager
def spans_to(host: str, pause: float = 0.05) -> Iterator[SpanSender]:
    """Numbered spans to a daemon; ends when all that was begun is acknowledged. pause: seconds between two requests."""
    ready: list[SpanSender] = []
    begun = threading.Event()

    async def send() -> None:
        ready.append(SpanSender(4317, host, pause))
        begun.set()
        await ready[0].run(LOAD_SECONDS)

    thread = threading.Thread(target=lambda: asyncio.run(send()))
    thread.start()
    try:
        assert begun.wait(10)
        yield ready[0]
    finally:
        ready[0].enough = True
        thread.join(60)
        assert not thread.is_alive()


def write_lines(release: Installed, image: str) -> None:
    """A pod that writes numbered lines."""
    node = real_node(release.api)
    container = {"name": "writer", "image": image, "command": ["/usr/bin/python3.11", "-c", WRITER]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "writer"},
        "spec": {"nodeSelector": node.selector, "containers": [container], "terminationGracePeriodSeconds": 0},
    }
    run = release.api.run
    run("kubectl", "apply", "-n", release.shop, "-f", "-", stdin=json.dumps(pod))
    run("kubectl", "wait", "-n", release.shop, "pod/writer", "--for=condition=Ready", "--timeout=60s")


def written(release: Installed) -> int:
    """How many numbered lines there are so far."""
    last = release.api.run("kubectl", "logs", "-n", release.shop, "writer", "--tail=1")
    return int(last.split()[-1]) + 1
