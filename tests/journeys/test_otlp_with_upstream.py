"""OTLP between the upstream Collector and us, both ways, with every transport, compression and kind of TLS: all items
arrive and are equal field by field."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import yaml

from heliograph.component.batch import DELIVERED
from heliograph.component.ids import Signal
from heliograph.testing.exporter import ExporterUnderTest
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.samples import sample, service_of
from heliograph.testing.wait import until

pytestmark = pytest.mark.peer

SIGNALS = ("traces", "metrics", "logs")
Start = Callable[[str], Any]
QUIET = {"metrics": {"level": "none"}}
DIRECT = {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}


async def test_upstream_sends_to_us(upstream_collector: Start, certificates: Any, free_port: Callable[[], int]) -> None:
    """One upstream Collector with an exporter for each variant; a header tells us which one each request came from."""
    plain = {"include_metadata": True}
    tls = {"tls": {"cert_file": certificates.server_cert, "key_file": certificates.server_key}, **plain}
    mtls = {"tls": {**tls["tls"], "client_ca_file": certificates.ca}, **plain}  # type: ignore[dict-item]
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(OTLPServer({"grpc": keys, "http": keys})) for keys in (plain, tls, mtls)
        ]
        trusted = {"ca_file": certificates.ca}
        known = {**trusted, "cert_file": certificates.client_cert, "key_file": certificates.client_key}
        exporters: dict[str, Any] = {}

        def add(kind: str, case: str, server: OTLPServer, client_tls: dict[str, Any], **keys: Any) -> None:
            scheme = "http" if client_tls.get("insecure") else "https"
            endpoint = f"127.0.0.1:{server.ports['grpc' if kind == 'otlp_grpc' else 'http']}"
            exporters[f"{kind}/{case}"] = {
                "endpoint": endpoint if kind == "otlp_grpc" else f"{scheme}://{endpoint}",
                "tls": client_tls,
                "headers": {"x-case": f"{kind}/{case}"},
                **DIRECT,
                **keys,
            }

        for compression in ("none", "gzip", "zstd", "snappy"):
            add("otlp_grpc", compression, servers[0], {"insecure": True}, compression=compression)
        for compression in ("none", "gzip", "zstd", "snappy", "x-snappy-framed", "deflate", "zlib", "lz4"):
            add("otlp_http", compression, servers[0], {"insecure": True}, compression=compression)
        add("otlp_http", "json", servers[0], {"insecure": True}, encoding="json")
        for kind in ("otlp_grpc", "otlp_http"):
            add(kind, "tls", servers[1], trusted)
            add(kind, "mtls", servers[2], known)

        port = free_port()
        pipeline = {"receivers": ["otlp"], "exporters": list(exporters)}
        upstream_collector(
            _yaml(
                {
                    "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}},
                    "exporters": exporters,
                    "service": {"telemetry": QUIET, "pipelines": {signal: dict(pipeline) for signal in SIGNALS}},
                }
            )
        )
        for signal in SIGNALS:
            sent = sample(signal, "shop", 10)
            keys = {"endpoint": f"127.0.0.1:{port}", "tls": {"insecure": True}, **DIRECT}
            async with ExporterUnderTest("otlp_grpc", signal, keys) as exporter:
                assert await exporter.send([sent.SerializeToString()]) == DELIVERED
            arrived = {
                batch.context.metadata["x-case"][0]: list(batch.messages())
                for server in servers
                for batch in server.sinks[Signal(signal)].batches
            }
            assert sorted(arrived) == sorted(exporters)
            for case, messages in arrived.items():
                assert messages == [sent], case


async def test_we_send_to_upstream(upstream_collector: Start, certificates: Any, free_port: Callable[[], int]) -> None:
    """Each variant of our exporters sends its own service through one upstream Collector, which hands it back."""
    ports = {name: free_port() for name in ("grpc", "http", "grpc-tls", "http-tls", "grpc-mtls", "http-mtls")}
    server_tls = {"cert_file": certificates.server_cert, "key_file": certificates.server_key}
    trusted = {"ca_file": certificates.ca}
    known = {**trusted, "cert_file": certificates.client_cert, "key_file": certificates.client_key}

    def protocols(suffix: str, tls: dict[str, str]) -> dict[str, Any]:
        return {
            "protocols": {
                name: {"endpoint": f"127.0.0.1:{ports[name + suffix]}", **({"tls": dict(tls)} if tls else {})}
                for name in ("grpc", "http")
            }
        }

    async with OTLPServer({"grpc": {}}) as back:
        receivers = {
            "otlp": protocols("", {}),
            "otlp/tls": protocols("-tls", server_tls),
            "otlp/mtls": protocols("-mtls", {**server_tls, "client_ca_file": certificates.ca}),
        }
        exporter = {"endpoint": f"127.0.0.1:{back.ports['grpc']}", "tls": {"insecure": True}, **DIRECT}
        upstream_collector(
            _yaml(
                {
                    "receivers": receivers,
                    "exporters": {"otlp_grpc": exporter},
                    "service": {
                        "telemetry": QUIET,
                        "pipelines": {
                            signal: {"receivers": list(receivers), "exporters": ["otlp_grpc"]} for signal in SIGNALS
                        },
                    },
                }
            )
        )
        cases: dict[str, tuple[str, dict[str, Any]]] = {}
        for compression in ("none", "gzip", "zstd", "snappy"):
            keys = {"endpoint": f"127.0.0.1:{ports['grpc']}", "tls": {"insecure": True}, "compression": compression}
            cases[f"grpc-{compression}"] = ("otlp_grpc", keys)
        for compression in ("none", "gzip", "zstd", "snappy", "x-snappy-framed", "deflate", "zlib", "lz4"):
            keys = {"endpoint": f"http://127.0.0.1:{ports['http']}", "compression": compression}
            cases[f"http-{compression}"] = ("otlp_http", keys)
        cases["http-json"] = ("otlp_http", {"endpoint": f"http://127.0.0.1:{ports['http']}/", "encoding": "json"})
        for suffix, tls in (("-tls", trusted), ("-mtls", known)):
            cases[f"grpc{suffix}"] = ("otlp_grpc", {"endpoint": f"127.0.0.1:{ports['grpc' + suffix]}", "tls": tls})
            cases[f"http{suffix}"] = (
                "otlp_http",
                {"endpoint": f"https://127.0.0.1:{ports['http' + suffix]}", "tls": tls},
            )
        for signal in SIGNALS:
            sent = {case: sample(signal, case, 10) for case in cases}
            for case, (type_, keys) in cases.items():
                async with ExporterUnderTest(type_, signal, {**keys, **DIRECT}) as ours:
                    assert await ours.send([sent[case].SerializeToString()]) == DELIVERED, case
            sink = back.sinks[Signal(signal)]
            await until(lambda sink=sink: len(sink.batches) >= len(cases), "all cases to come back")
            arrived = {service_of(message): message for message in sink.messages}
            assert arrived == sent


def _yaml(tree: Any) -> str:
    """YAML without anchors: shared parts are written out."""

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    return yaml.dump(tree, Dumper=Plain)
