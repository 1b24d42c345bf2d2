"""Documents a second that the embedded store writes, over HTTP, and how long a search over them takes.

python bench/micro/store_bulk.py [documents]
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from heliograph.store.documents import Documents
from heliograph.store.server import StoreServer

BULK = 2000


def bulk(first: int, now_ms: int) -> bytes:
    """A bulk body of log documents with ids, as the exporter sends them."""
    lines: list[str] = []
    for number in range(first, first + BULK):
        action = {"create": {"_index": "logs-generic.otel-default", "_id": f"{number * 2654435761 % 2**64:016x}"}}
        document = {
            "@timestamp": f"{now_ms + number // 100}.{number % 100}",
            "data_stream": {"type": "logs", "dataset": "generic.otel", "namespace": "default"},
            "attributes": {"log.iostream": "stdout", "log.record.uid": f"{number:032x}", "log.file.path": "/var/log/a"},
            "resource": {"attributes": {"host.name": "h", "k8s.pod.name": "p", "k8s.namespace.name": "n"}},
            "scope": {},
            "body": {"text": f"order {number} placed by customer {number % 977}, paid in full"},
        }
        lines += [json.dumps(action), json.dumps(document)]
    return ("\n".join(lines) + "\n").encode()


async def main(total: int) -> None:
    """Write, then search."""
    with tempfile.TemporaryDirectory() as folder:
        server = StoreServer(Documents(Path(folder) / "documents.sqlite"), max_age=1e9, max_bytes=2**40)
        url = f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}"
        now_ms = time.time_ns() // 10**6
        bodies = [bulk(first, now_ms) for first in range(0, total, BULK)]
        async with aiohttp.ClientSession() as session:
            begun, cpu = time.monotonic(), time.process_time()
            for body in bodies:
                async with session.post(f"{url}/_bulk", data=body) as response:
                    assert not (await response.json())["errors"]
            seconds = time.monotonic() - begun
            each = (time.process_time() - cpu) / total * 1e6
            print(f"write   {total / seconds:8,.0f} documents/s, {each:5.1f} us CPU each, the sender included")
            for query in ("message:customer", "k8s.pod.name:p AND order", "_id:0000000000000000", "nothing"):
                begun = time.monotonic()
                async with session.get(f"{url}/_count", params={"q": query}) as response:
                    count = (await response.json())["count"]
                print(f"search  {time.monotonic() - begun:8.2f} s for {count:,} of {total:,} documents: {query}")
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
