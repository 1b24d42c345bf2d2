"""TLS: certificate errors name key and file, strangers are refused, certificates are renewed while running."""

import asyncio
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from heliograph.component.batch import DELIVERED
from heliograph.component.errors import Retryable, StartError
from heliograph.config.decode import from_plain
from heliograph.net.address import AddressError, split
from heliograph.net.config import TLSClientConfig, TLSServerConfig
from heliograph.net.tls import load_certificate, secure_client_context, server_context
from heliograph.testing.exporter import NO_QUEUE, ExporterUnderTest
from heliograph.testing.otlp import OTLPServer
from heliograph.testing.samples import sample

PARTS = [sample("traces", "shop", 1).SerializeToString()]


def test_certificate_errors_name_key_and_file(certificates: Any, tmp_path: Path) -> None:
    """Missing, wrong, swapped and mismatched files."""
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    cert, key = certificates.server_cert, certificates.server_key
    for keys, problem in (
        ({"cert_file": "/nowhere.pem", "key_file": key}, "tls::cert_file /nowhere.pem cannot be read: No such file"),
        ({"cert_file": str(junk), "key_file": key}, f"tls::cert_file {junk} cannot be used"),
        ({"cert_file": cert, "key_file": str(junk)}, f"tls::key_file {junk} cannot be used"),
        ({"cert_file": cert, "key_file": certificates.client_key}, "is not the key of the certificate in"),
        ({"cert_file": cert, "key_file": key, "client_ca_file": str(junk)}, f"tls::client_ca_file {junk} holds no"),
    ):
        with pytest.raises(StartError) as caught:
            server_context(from_plain(TLSServerConfig, keys))
        assert problem in str(caught.value)
    with pytest.raises(StartError, match="tls::ca_pem holds no usable certificate"):
        secure_client_context(from_plain(TLSClientConfig, {"ca_pem": "junk"}))


def in_text(certificates: Any) -> dict[str, str]:
    """A client's keys with the PEM itself."""
    return {
        "ca_pem": Path(certificates.ca).read_text(),
        "cert_pem": Path(certificates.client_cert).read_text(),
        "key_pem": Path(certificates.client_key).read_text(),
    }


@pytest.mark.parametrize("type_", ["otlp_grpc", "otlp_http"])
async def test_strangers_are_refused(type_: str, certificates: Any) -> None:
    """A server of an unknown CA; a client without or with a stranger's certificate; PEM text works as files do."""
    own = {"cert_file": certificates.server_cert, "key_file": certificates.server_key}
    mtls = {**own, "client_ca_file": certificates.ca}
    pem = in_text(certificates)
    protocol = type_.removeprefix("otlp_")
    async with OTLPServer({protocol: {"tls": own}}) as plain, OTLPServer({protocol: {"tls": mtls}}) as strict:

        async def send(server: OTLPServer, tls: dict[str, Any]) -> Any:
            scheme = "https://" if protocol == "http" else ""
            keys = {"endpoint": f"{scheme}localhost:{server.ports[protocol]}", "tls": tls, **NO_QUEUE}
            async with ExporterUnderTest(type_, "traces", keys) as ours:
                return await ours.send(PARTS)

        stranger = {"cert_file": certificates.stranger_cert, "key_file": certificates.stranger_key}
        for server, tls in (
            (plain, {"ca_file": certificates.stranger_ca}),
            (plain, {"ca_file": certificates.ca, "server_name_override": "elsewhere"}),
            (strict, {"ca_file": certificates.ca}),
            (strict, {"ca_file": certificates.ca, **stranger}),
        ):
            with pytest.raises(Retryable):
                await send(server, tls)
        assert await send(plain, {"insecure_skip_verify": True}) == DELIVERED
        assert await send(strict, pem) == DELIVERED


async def test_a_renewed_certificate_is_used_for_new_connections(certificates: Any, tmp_path: Path) -> None:
    """What `reload_interval` does."""
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(certificates.stranger_cert, cert)
    shutil.copy(certificates.stranger_key, key)
    config = from_plain(TLSServerConfig, {"cert_file": str(cert), "key_file": str(key)})
    context = server_context(config)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    client = secure_client_context(from_plain(TLSClientConfig, {"ca_file": certificates.ca}))
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.open_connection("localhost", port, ssl=client)
    shutil.copy(certificates.server_cert, cert)
    shutil.copy(certificates.server_key, key)
    load_certificate(context, config)
    reader, writer = await asyncio.open_connection("localhost", port, ssl=client)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


def test_addresses_are_read_as_go_reads_them() -> None:
    """Names, IPv4, IPv6 in brackets, no host; and each mistake."""
    assert split("localhost:4317") == ("localhost", 4317)
    assert split("[::1]:0") == ("::1", 0)
    assert split(":4318") == ("", 4318)
    for text, problem in (
        ("x", "no port"),
        ("::1", "too many colons"),
        ("x:y", "invalid port"),
        ("x:70000", "invalid"),
    ):
        with pytest.raises(AddressError, match=problem):
            split(text)
