"""The near end, in a process of its own: sends a fixed number of OTLP/gRPC requests that were made beforehand.

    python -m bench.load PORT SIGNAL ITEMS REQUESTS COMPRESSION

Prints "ready" when the payloads are made, starts when a line comes, ends with one line: items taken, requests that were
refused for good, seconds. Requests refused for now are sent again. Several connections, with several calls on each.
"""

import asyncio
import sys
import time

import uvloop

from bench import payload

CONNECTIONS = 4
CALLS = 8
DISTINCT_ITEMS = 20_000


async def load(port: int, signal: str, items: int, requests: int, compression: str) -> None:
    """Run as the module's docstring says."""
    from heliograph.component.ids import Signal
    from heliograph.net.grpc.client import GrpcChannel
    from heliograph.net.grpc.status import RESOURCE_EXHAUSTED, UNAVAILABLE, GrpcError
    from heliograph.receivers.otlp.grpc import method_path

    path = method_path(Signal(signal))
    bodies = [payload.request(signal, items, seed) for seed in range(min(requests, max(8, DISTINCT_ITEMS // items)))]
    channels = [GrpcChannel("127.0.0.1", port) for _ in range(CONNECTIONS)]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    left, taken, failed = requests, 0, 0

    async def work(channel: GrpcChannel) -> None:
        nonlocal left, taken, failed
        while left > 0:
            left -= 1
            body = bodies[left % len(bodies)]
            while True:
                try:
                    await channel.unary(path, body, timeout=60.0, compression=compression)
                except GrpcError as error:
                    if error.status in (RESOURCE_EXHAUSTED, UNAVAILABLE):
                        await asyncio.sleep(error.retry_after or 0.05)
                        continue
                    print(f"refused: {error}", file=sys.stderr, flush=True)
                    failed += 1
                else:
                    taken += items
                break

    begun = time.perf_counter()
    await asyncio.gather(*[work(channel) for channel in channels for _ in range(CALLS)])
    print(taken, failed, time.perf_counter() - begun, flush=True)
    for channel in channels:
        await channel.close()


def main() -> None:
    """Run the command line."""
    port, signal, items, requests, compression = sys.argv[1:]
    uvloop.run(load(int(port), signal, int(items), int(requests), compression))


if __name__ == "__main__":
    main()
