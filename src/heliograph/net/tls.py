"""TLS contexts made from configuration; every error names the key and the file.

A context is made once. `reload_interval` renews the certificate inside it (`keep_fresh`): OpenSSL uses the new one
for connections opened afterwards. Certificates given as text (`cert_pem`) pass through a private temporary file, since
the ssl module reads chains from files alone.
Source: go.opentelemetry.io/collector/config/configtls.
"""

import logging
import os
import ssl
import tempfile
from collections.abc import Sequence

from heliograph.component.clock import Clock
from heliograph.component.errors import StartError
from heliograph.net.config import CIPHER_SUITES, TLSClientConfig, TLSConfig, TLSServerConfig

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


def server_context(config: TLSServerConfig, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """The context of a server. alpn: protocols to agree on, for gRPC ("h2",). Raises StartError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _apply(context, config, alpn)
    load_certificate(context, config)
    if config.client_ca_file:
        _load_ca(context, "client_ca_file", config.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def secure_client_context(config: TLSClientConfig, alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """The context of a client that uses TLS whatever `insecure` says, as https:// does. Raises StartError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _apply(context, config, alpn)
    if config.ca_file:
        _load_ca(context, "ca_file", config.ca_file)
    elif config.ca_pem:
        try:
            context.load_verify_locations(cadata=str(config.ca_pem))
        except (ssl.SSLError, ValueError) as error:
            raise StartError(f"tls::ca_pem holds no usable certificate: {_reason(error)}") from None
    if config.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.include_system_ca_certs_pool or not (config.ca_file or config.ca_pem):
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)  # 1 MB and 30 ms
    load_certificate(context, config)
    return context


def load_certificate(context: ssl.SSLContext, config: TLSConfig) -> None:
    """Load certificate and key into the context, again or for the first time. Raises StartError."""
    if not (config.cert_file or config.cert_pem):
        return
    cert = _Material("cert", config.cert_file, str(config.cert_pem))
    key = _Material("key", config.key_file, str(config.key_pem))
    with cert as cert_path, key as key_path:
        try:
            context.load_cert_chain(cert_path, key_path, password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise StartError(f"{key} is not the key of the certificate in {cert}") from None
            wrong = key if _holds_certificate(cert_path) else cert
            raise StartError(f"{wrong} cannot be used: {_reason(error)}; it must be PEM, without a password") from None
        except ValueError as error:
            raise StartError(f"{key} cannot be used: {error}") from None


async def keep_fresh(
    context: ssl.SSLContext, config: TLSConfig, clock: Clock, log: "logging.LoggerAdapter[logging.Logger]"
) -> None:
    """Load certificate and key again every reload_interval, for ever; on an error the old ones stay in use."""
    while True:
        await clock.sleep(config.reload_interval)
        try:
            load_certificate(context, config)
        except StartError as error:
            log.error("the TLS certificate was not reloaded, the old one stays in use: %s", error)


class _Material:
    """A certificate or key, from a file or from text in a temporary file that only this user can read."""

    def __init__(self, name: str, path: str, pem: str) -> None:
        self._label = f"tls::{name}_file {path}" if path else f"tls::{name}_pem"
        self._path, self._pem = path, pem
        self._temporary = ""

    def __str__(self) -> str:
        return self._label

    def __enter__(self) -> str:
        if self._path:
            _readable(self._label, self._path)
            return self._path
        handle, self._temporary = tempfile.mkstemp(suffix=".pem")
        with os.fdopen(handle, "w") as file:
            file.write(self._pem)
        return self._temporary

    def __exit__(self, *_: object) -> None:
        if self._temporary:
            os.unlink(self._temporary)
            self._temporary = ""


def _apply(context: ssl.SSLContext, config: TLSConfig, alpn: Sequence[str]) -> None:
    context.minimum_version = _VERSIONS[config.min_version or "1.2"]
    if config.max_version:
        context.maximum_version = _VERSIONS[config.max_version]
    names = [CIPHER_SUITES[suite] for suite in config.cipher_suites if CIPHER_SUITES[suite]]
    if names:
        context.set_ciphers(":".join(names))
    if alpn:
        context.set_alpn_protocols(list(alpn))


def _load_ca(context: ssl.SSLContext, key: str, path: str) -> None:
    _readable(f"tls::{key} {path}", path)
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"tls::{key} {path} holds no usable certificate: {_reason(error)}") from None


def _readable(label: str, path: str) -> None:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise StartError(f"{label} cannot be read: {error.strerror}") from None


def _holds_certificate(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return False
    return True


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)


def _no_password() -> str:
    raise ValueError("it is protected by a password; keys with a password are not supported")
