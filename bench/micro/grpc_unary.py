"""CPU of a server per unary gRPC request: ours beside grpcio's two, in one run.

    python bench/micro/grpc_unary.py [--requests 20000] [--clients grpcio,heliograph]

Each server runs in a process of its own and answers an OTLP-sized message with an empty one; what is printed is the CPU
that this process used for the measured requests, divided by their number, and the largest resident set.
"""

import argparse
import asyncio
import multiprocessing
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection as Pipe

import grpc
import grpc.aio
import uvloop

from heliograph.net.grpc.client import GrpcChannel
from heliograph.net.grpc.server import Call, GrpcServer

PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SERVICE, _, METHOD = PATH.lstrip("/").partition("/")
MAX_MESSAGE = 64 << 20
OPTIONS = [("grpc.max_receive_message_length", MAX_MESSAGE)]


async def _control(pipe: Pipe) -> None:
    """Answer each question of the parent with CPU seconds and peak RSS (KiB), until it says stop."""
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, pipe.recv) != "stop":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send((usage.ru_utime + usage.ru_stime, usage.ru_maxrss))


async def _ours(pipe: Pipe) -> None:
    async def export(request: bytes, call: Call) -> bytes:
        return b""

    server = GrpcServer({PATH: export}, max_message_bytes=MAX_MESSAGE)
    pipe.send(await server.listen("127.0.0.1", 0))
    await _control(pipe)
    await server.close(1.0)


async def _grpcio_aio(pipe: Pipe) -> None:
    async def export(request: bytes, context: object) -> bytes:
        return b""

    server = grpc.aio.server(options=OPTIONS)
    handler = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    pipe.send(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await _control(pipe)
    await server.stop(1.0)


async def _grpcio_threads(pipe: Pipe) -> None:
    server = grpc.server(ThreadPoolExecutor(8), options=OPTIONS)
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
    pipe.send(server.add_insecure_port("127.0.0.1:0"))
    server.start()
    await _control(pipe)
    server.stop(1.0)


SERVERS = {"heliograph": _ours, "grpcio.aio": _grpcio_aio, "grpcio threads": _grpcio_threads}


def _serve(name: str, pipe: Pipe) -> None:
    runner = uvloop.run if name == "heliograph" else asyncio.run
    runner(SERVERS[name](pipe))


async def _load(client: str, port: int, message: bytes, requests: int, concurrency: int) -> None:
    """Send so many requests, `concurrency` at a time."""
    left = requests

    if client == "heliograph":
        channel = GrpcChannel("127.0.0.1", port)

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await channel.unary(PATH, message, timeout=30.0)

        await asyncio.gather(*[work() for _ in range(concurrency)])
        await channel.close()
        return
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as peer:
        call = peer.unary_unary(PATH)

        async def work_grpcio() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await call(message, timeout=30.0)

        await asyncio.gather(*[work_grpcio() for _ in range(concurrency)])


def _measure(server: str, client: str, size: int, requests: int, concurrency: int) -> tuple[float, float, float]:
    """(server CPU microseconds a request, requests a second, peak MiB)."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(server, theirs))
    process.start()
    port = pipe.recv()
    message = os.urandom(size)
    runner = asyncio.run if client == "grpcio" else uvloop.run
    runner(_load(client, port, message, max(50, requests // 10), concurrency))
    pipe.send("usage")
    before, _ = pipe.recv()
    start = time.perf_counter()
    runner(_load(client, port, message, requests, concurrency))
    elapsed = time.perf_counter() - start
    pipe.send("usage")
    after, peak = pipe.recv()
    pipe.send("stop")
    process.join()
    return (after - before) / requests * 1e6, requests / elapsed, peak / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--clients", default="heliograph,grpcio")
    parser.add_argument("--concurrency", type=int, default=32)
    arguments = parser.parse_args()
    print(f"{'bytes':>8} {'client':12} {'server':15} {'CPU us/request':>14} {'requests/s':>11} {'peak MiB':>9}")
    for size, share in ((3000, 1), (150_000, 10)):
        for client in arguments.clients.split(","):
            for server in SERVERS:
                requests = arguments.requests // share
                cpu, rate, peak = _measure(server, client, size, requests, arguments.concurrency)
                print(f"{size:8} {client:12} {server:15} {cpu:14.1f} {rate:11.0f} {peak:9.0f}", flush=True)


if __name__ == "__main__":
    main()
