"""The store as a process: python -m heliograph.store --directory DIR --port 9200"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from heliograph.store.client import data_directory, store_file
from heliograph.store.documents import Documents
from heliograph.store.errors import StoreError
from heliograph.store.server import StoreServer


async def serve(directory: Path, host: str, port: int, max_age: float, max_bytes: int) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code."""
    try:
        documents = Documents(store_file(directory))
    except StoreError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    server = StoreServer(documents, max_age=max_age, max_bytes=max_bytes)
    try:
        bound = await server.start(host, port)
    except OSError as error:
        print(f"Error: cannot listen on {host}:{port} (--port): {error.strerror}", file=sys.stderr)
        return 1
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    print(f"the store {documents.path} listens on http://{host}:{bound}", file=sys.stderr, flush=True)
    await stopped.wait()
    await server.stop()
    return 0


def main() -> int:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m heliograph.store", description="the embedded document store")
    parser.add_argument("--directory", type=Path, default=data_directory(), help="where the documents are kept")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=9200, help="port to listen on")
    parser.add_argument("--max-age-days", type=float, default=7.0, help="documents older than this are deleted")
    parser.add_argument("--max-gib", type=float, default=4.0, help="beyond this size the oldest documents are deleted")
    arguments = parser.parse_args()
    return asyncio.run(
        serve(
            arguments.directory,
            arguments.host,
            arguments.port,
            arguments.max_age_days * 86400,
            int(arguments.max_gib * 2**30),
        )
    )


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a search that still runs in a thread is not waited for
