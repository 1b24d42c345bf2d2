"""python -m heliograph.testing.managed_endpoint_process: the stand-in of the Managed OTLP Endpoint as a process.

It writes what it takes to a file, one JSON document a line, prints its ports when it listens, and runs until SIGTERM.
"""

import argparse
import asyncio
import signal
import ssl
from pathlib import Path

from heliograph.testing.managed_endpoint import ManagedEndpoint, Taken, line


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--key", default="key", help="the API key that may write")
    parser.add_argument("--certificate", type=Path, help="PEM file with certificate and private key")
    parser.add_argument("--largest", type=int, default=4 << 20, help="bytes of the largest request")
    parser.add_argument("--write", type=Path, required=True, help="file for the documents")
    asyncio.run(_serve(parser.parse_args()))


async def _serve(arguments: argparse.Namespace) -> None:
    def tls() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(arguments.certificate)
        return context

    with arguments.write.open("a", encoding="utf-8", buffering=1) as file:

        def write(taken: Taken) -> None:
            file.write(line(taken) + "\n")

        endpoint = ManagedEndpoint(
            {arguments.key: True}, largest=arguments.largest, tls=tls if arguments.certificate else None, sink=write
        )
        await endpoint.start(arguments.host, arguments.grpc_port, arguments.http_port)
        print(f"grpc {endpoint.grpc_port} http {endpoint.http_port}", flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        await endpoint.stop()


if __name__ == "__main__":
    main()
