"""Configuration keys that servers and clients of HTTP and gRPC share, with upstream's names and defaults.

Sources: go.opentelemetry.io/collector/config/{confighttp,configgrpc,configtls,configauth,confignet,configcompression}.
A component's own class derives from one of these and states where its defaults differ. Every key known upstream is
either a field here or named in UNSUPPORTED with what to do instead.

A class that derives from one with `check` calls `Base.check(self)` by name: `super()` does not work in slotted
dataclasses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from heliograph.component.config import ByteSize, Decoder, Duration, Node, Secret, key
from heliograph.component.ids import ComponentId
from heliograph.net.address import AddressError, split

TLSVersion = Literal["", "1.0", "1.1", "1.2", "1.3"]
Compression = Literal["", "none", "gzip", "zstd", "zlib", "deflate", "snappy", "x-snappy-framed", "lz4"]
Problem = tuple[str, str]

_BUFFERS = "buffers are sized by the program itself: remove this key"
_MIDDLEWARES = "middleware extensions are not available: remove this key"
_TLS_UNSUPPORTED = {
    "curve_preferences": "the curves of the TLS library are used: remove this key",
    "include_insecure_cipher_suites": "insecure cipher suites are never offered: remove this key",
    "tpm": "keys in a TPM are not available: use key_file",
}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://")

DEFAULT_HTTP_BODY = 20 * 1024 * 1024
"""Bytes of the largest HTTP request body when max_request_body_size is 0 or absent."""
DEFAULT_GRPC_MESSAGE_MIB = 4
"""MiB of the largest gRPC message when max_recv_msg_size_mib is 0 or absent."""


class Headers(dict[str, Secret]):
    """Header names and values: in a file a map, or a list of `name`/`value` pairs."""

    @classmethod
    def decode(cls, node: Node, decoder: Decoder) -> "Headers | None":
        """Read either form; a name that is there twice is a mistake."""
        if not isinstance(node.value, list):
            plain = decoder.decode(dict[str, Secret], node)
            return None if plain is None else cls(plain)
        headers = cls()
        for item in node.value:
            pair = decoder.decode(_HeaderPair, item)
            if pair is None:
                return None
            if pair.name in headers:
                decoder.problem(item, f"header {pair.name!r} is there twice")
                return None
            headers[pair.name] = pair.value
        return headers


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeaderPair:
    """One header in the list form."""

    name: str = key(..., "Name of the header.")
    value: Secret = key(Secret(""), "Its value.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig:
    """What both ends of a TLS connection need."""

    cert_file: str = key("", "File with the certificate and its chain in PEM form.")
    cert_pem: Secret = key(Secret(""), "The certificate itself in PEM form, instead of cert_file.")
    key_file: str = key("", "File with the private key in PEM form.")
    key_pem: Secret = key(Secret(""), "The private key itself in PEM form, instead of key_file.")
    min_version: TLSVersion = key("", "Lowest TLS version; 1.2 when empty.")
    max_version: TLSVersion = key("", "Highest TLS version; the newest when empty.")
    cipher_suites: list[str] = key(list, "Cipher suites for TLS up to 1.2, by their IANA names; empty: a safe choice.")
    reload_interval: Duration = key(Duration(0), "Read certificate and key again after this time; 0: never.")
    UNSUPPORTED = _TLS_UNSUPPORTED

    def check(self) -> Iterator[Problem]:
        """File and PEM exclude each other, a certificate needs its key, versions are in order."""
        for name in ("cert", "key"):
            if getattr(self, f"{name}_file") and getattr(self, f"{name}_pem"):
                yield f"{name}_pem", f"give either {name}_file or {name}_pem, not both"
        if bool(self.cert_file or self.cert_pem) != bool(self.key_file or self.key_pem):
            yield "cert_file", "a certificate (cert_file or cert_pem) and its key (key_file or key_pem) go together"
        if self.min_version and self.max_version and self.min_version > self.max_version:
            yield "min_version", f"{self.min_version} is above max_version {self.max_version}"
        if self.reload_interval < 0:
            yield "reload_interval", "must not be negative"
        for suite in self.cipher_suites:
            if suite not in CIPHER_SUITES:
                yield "cipher_suites", f"unknown cipher suite {suite!r}; known: {', '.join(sorted(CIPHER_SUITES))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSServerConfig(TLSConfig):
    """TLS of a server; with client_ca_file it asks clients for a certificate (mTLS)."""

    OPTIONAL: ClassVar[bool] = True

    client_ca_file: str = key("", "File with the CAs that client certificates must come from; empty: not asked for.")
    UNSUPPORTED = {
        **_TLS_UNSUPPORTED,
        "ca_file": "a server uses it for nothing: write client_ca_file to verify clients, or remove it",
        "ca_pem": "a server uses it for nothing: write client_ca_file to verify clients, or remove it",
        "include_system_ca_certs_pool": "clients are verified by client_ca_file alone: remove this key",
        "client_ca_file_reload": "a change of client_ca_file needs a restart: remove this key",
    }

    def check(self) -> Iterator[Problem]:
        """A server cannot do without a certificate."""
        yield from TLSConfig.check(self)
        if not (self.cert_file or self.cert_pem or self.key_file or self.key_pem):
            yield "cert_file", "a TLS server needs a certificate and its key: give cert_file and key_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSClientConfig(TLSConfig):
    """TLS of a client."""

    insecure: bool = key(False, "gRPC: no TLS. HTTP: the scheme of the endpoint decides.")
    insecure_skip_verify: bool = key(False, "Do not verify the server's certificate.")
    server_name_override: str = key("", "Name to expect in the server's certificate, instead of the endpoint's host.")
    ca_file: str = key("", "File with the CAs that the server's certificate must come from; empty: the system's.")
    ca_pem: Secret = key(Secret(""), "Those CAs themselves in PEM form, instead of ca_file.")
    include_system_ca_certs_pool: bool = key(False, "Trust the system's CAs beside ca_file or ca_pem.")

    def check(self) -> Iterator[Problem]:
        """CA file and PEM exclude each other."""
        yield from TLSConfig.check(self)
        if self.ca_file and self.ca_pem:
            yield "ca_pem", "give either ca_file or ca_pem, not both"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Which extension authenticates."""

    OPTIONAL: ClassVar[bool] = True

    authenticator: ComponentId = key(..., "Id of the extension, for example bearertokenauth.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPAuthConfig(AuthConfig):
    """Which extension authenticates HTTP requests."""

    request_params: list[str] = key(list, "Query parameters that are handed to the extension like headers.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CORSConfig:
    """Cross-origin requests of browsers."""

    OPTIONAL: ClassVar[bool] = True

    allowed_origins: list[str] = key(list, "Origins that may send; * stands for any characters.")
    allowed_headers: list[str] = key(list, "Request headers allowed beside the usual ones; * allows every header.")
    exposed_headers: list[str] = key(list, "Response headers that a script may read.")
    max_age: int = key(0, "Seconds that a browser may remember a preflight answer.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPServerConfig:
    """Keys of an HTTP server."""

    endpoint: str = key("", "Address to listen on, host:port.")
    transport: Literal["tcp"] = key("tcp", "Kind of socket.")
    tls: TLSServerConfig | None = key(None, "TLS; absent: plain text.")
    cors: CORSConfig | None = key(None, "Cross-origin requests of browsers; absent: no CORS headers.")
    auth: HTTPAuthConfig | None = key(None, "Authentication of senders.")
    max_request_body_size: ByteSize = key(ByteSize(0), "Largest body, also after decompression; 0: 20 MiB.")
    include_metadata: bool = key(False, "Hand request headers on with the data.")
    response_headers: Headers = key(Headers, "Headers added to every response.")
    compression_algorithms: list[Compression] | None = key(None, "Accepted Content-Encodings; absent: all.")
    read_timeout: Duration = key(Duration(0), "Longest time for a whole request; 0: no fixed limit.")
    read_header_timeout: Duration = key(Duration(60), "Longest time for the request's headers; 0: no fixed limit.")
    write_timeout: Duration = key(Duration(30), "Longest time from the headers to the end of the response; 0: none.")
    idle_timeout: Duration = key(Duration(60), "Close a connection unused for this time; 0: read_timeout.")
    keep_alives_enabled: bool = key(True, "Keep connections open between requests.")
    UNSUPPORTED = {
        "dialer": "a server does not dial: remove this key",
        "middlewares": _MIDDLEWARES,
    }

    def check(self) -> Iterator[Problem]:
        """The endpoint has a port; nothing is negative."""
        yield from _listening(self.endpoint)
        for name in ("read_timeout", "read_header_timeout", "write_timeout", "idle_timeout", "max_request_body_size"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
        if self.cors and self.cors.allowed_headers and not self.cors.allowed_origins:
            yield "cors.allowed_origins", "allowed_headers does nothing without allowed_origins: name the origins"

    @property
    def max_body(self) -> int:
        """Bytes of the largest body."""
        return int(self.max_request_body_size) or DEFAULT_HTTP_BODY


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionParams:
    """How hard a compressor tries."""

    level: int = key(0, "gzip, zlib, deflate: 1 (fast) to 9, 0 or -1 for the default; zstd: 1 to 22.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CookiesConfig:
    """Remember the server's cookies. It has no keys: `cookies: {}`."""

    OPTIONAL: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPClientConfig:
    """Keys of an HTTP client."""

    endpoint: str = key("", "URL to send to.")
    proxy_url: str = key("", "URL of a proxy; empty: the environment's HTTP_PROXY, HTTPS_PROXY, NO_PROXY.")
    tls: TLSClientConfig = key(TLSClientConfig, "TLS.")
    timeout: Duration = key(Duration(0), "Longest time of a request; 0: none.")
    headers: Headers = key(Headers, "Headers added to every request.")
    auth: AuthConfig | None = key(None, "Extension that adds credentials.")
    compression: Compression = key("", "How bodies are compressed; empty or none: not.")
    compression_params: CompressionParams = key(CompressionParams, "Parameters of the compression.")
    max_conns_per_host: int = key(0, "Most connections to a host; 0: no limit.")
    idle_conn_timeout: Duration = key(Duration(90), "Close a connection unused for this time.")
    disable_keep_alives: bool = key(False, "A new connection for every request.")
    cookies: CookiesConfig | None = key(None, "Remember the server's cookies.")
    UNSUPPORTED = {
        "read_buffer_size": _BUFFERS,
        "write_buffer_size": _BUFFERS,
        "max_idle_conns": "bound connections with max_conns_per_host",
        "max_idle_conns_per_host": "bound connections with max_conns_per_host",
        "http2_read_idle_timeout": "requests go over HTTP/1.1: remove this key",
        "http2_ping_timeout": "requests go over HTTP/1.1: remove this key",
        "force_attempt_http2": "requests go over HTTP/1.1: remove this key",
        "middlewares": _MIDDLEWARES,
    }

    def check(self) -> Iterator[Problem]:
        """Nothing is negative, the level suits the compression."""
        for name in ("timeout", "max_conns_per_host", "idle_conn_timeout"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"
        level = self.compression_params.level
        if self.compression in ("gzip", "zlib", "deflate") and not -1 <= level <= 9:
            yield "compression_params.level", f"{level} is not -1 to 9, the levels of {self.compression}"
        if self.compression in ("snappy", "x-snappy-framed", "lz4") and level != 0:
            yield "compression_params.level", f"{self.compression} has no levels: remove this key"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveServerParameters:
    """When a gRPC server closes connections and probes silent ones. 0: never, and for time 2h, for timeout 20s."""

    OPTIONAL: ClassVar[bool] = True

    max_connection_idle: Duration = key(Duration(0), "Close a connection without calls after this time.")
    max_connection_age: Duration = key(Duration(0), "Close a connection of this age, so that clients spread anew.")
    max_connection_age_grace: Duration = key(Duration(0), "Time for running calls after that; 0: as long as it takes.")
    time: Duration = key(Duration(0), "Ping a client that was silent for this time.")
    timeout: Duration = key(Duration(0), "Close when the answer takes longer than this.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveEnforcement:
    """How often a client may ping a gRPC server. A client that does more often is cut off."""

    OPTIONAL: ClassVar[bool] = True

    min_time: Duration = key(Duration(0), "Shortest time between pings; 0: 5m.")
    permit_without_stream: bool = key(False, "Pings are allowed without a running call.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveServer:
    """Keepalive of a gRPC server."""

    OPTIONAL: ClassVar[bool] = True

    server_parameters: KeepaliveServerParameters = key(KeepaliveServerParameters, "Its own closing and probing.")
    enforcement_policy: KeepaliveEnforcement = key(KeepaliveEnforcement, "What clients may do.")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepaliveClient:
    """Keepalive of a gRPC client."""

    OPTIONAL: ClassVar[bool] = True

    time: Duration = key(Duration(0), "Ping a server that was silent for this time; 0: 10s.")
    timeout: Duration = key(Duration(0), "Reconnect when the answer takes longer than this; 0: 20s.")
    permit_without_stream: bool = key(False, "Ping without a running call too.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPCServerConfig:
    """Keys of a gRPC server."""

    endpoint: str = key("", "Address to listen on, host:port.")
    transport: Literal["tcp"] = key("tcp", "Kind of socket.")
    tls: TLSServerConfig | None = key(None, "TLS; absent: plain text.")
    max_recv_msg_size_mib: int = key(0, "Largest message in MiB; 0: 4.")
    max_concurrent_streams: int = key(0, "Most calls at once on a connection; 0: the server's own limit.")
    keepalive: KeepaliveServer = key(KeepaliveServer, "Keepalive of connections.")
    auth: AuthConfig | None = key(None, "Authentication of senders.")
    include_metadata: bool = key(False, "Hand request metadata on with the data.")
    UNSUPPORTED = {
        "dialer": "a server does not dial: remove this key",
        "read_buffer_size": _BUFFERS,
        "write_buffer_size": _BUFFERS,
        "middlewares": _MIDDLEWARES,
    }

    def check(self) -> Iterator[Problem]:
        """The endpoint has a port; nothing is negative."""
        yield from _listening(self.endpoint)
        for name in ("max_recv_msg_size_mib", "max_concurrent_streams"):
            if getattr(self, name) < 0:
                yield name, "must not be negative"

    @property
    def max_message(self) -> int:
        """Bytes of the largest message."""
        return (self.max_recv_msg_size_mib or DEFAULT_GRPC_MESSAGE_MIB) * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPCClientConfig:
    """Keys of a gRPC client."""

    endpoint: str = key("", "Server, host:port; a scheme in front (http://, https://, dns:///) is allowed.")
    compression: Literal["", "none", "gzip", "zstd", "snappy"] = key("", "Compression; empty or none: not.")
    tls: TLSClientConfig = key(TLSClientConfig, "TLS; `insecure: true` for plain text, whatever the scheme.")
    keepalive: KeepaliveClient | None = key(None, "Keepalive of the connection.")
    wait_for_ready: bool = key(False, "Wait for a connection as long as `timeout` instead of failing at once.")
    headers: Headers = key(Headers, "Metadata added to every call.")
    user_agent: str = key("", "User agent; empty: this program's.")
    balancer_name: Literal["", "round_robin", "pick_first"] = key(
        "round_robin", "How calls are spread over the endpoint's addresses."
    )
    authority: str = key("", "Value of :authority; empty: the endpoint.")
    auth: AuthConfig | None = key(None, "Extension that adds credentials.")
    UNSUPPORTED = {
        "read_buffer_size": _BUFFERS,
        "write_buffer_size": _BUFFERS,
        "middlewares": _MIDDLEWARES,
    }

    def check(self) -> Iterator[Problem]:
        """The endpoint has a port, and its scheme is one that is known."""
        if not self.endpoint:
            return
        scheme = _SCHEME.match(self.endpoint)
        if scheme and scheme.group() not in ("http://", "https://", "dns://", "passthrough://"):
            yield "endpoint", f"scheme {scheme.group()} is not supported: write host:port"
            return
        try:
            split(self.target)
        except AddressError as error:
            yield "endpoint", str(error)

    @property
    def target(self) -> str:
        """The endpoint as host:port, without a scheme or a resolver's authority."""
        scheme, found, rest = self.endpoint.partition("://")
        if not found:
            return self.endpoint
        return rest.rpartition("/")[2] if scheme in ("dns", "passthrough") else rest

    @property
    def secure(self) -> bool:
        """Whether TLS is used: upstream's rule. Plain text needs `tls::insecure`, no CA, and no https://."""
        tls = self.tls
        return not tls.insecure or bool(tls.ca_file or tls.ca_pem) or self.endpoint.startswith("https://")


def _listening(endpoint: str) -> Iterator[Problem]:
    try:
        split(endpoint)
    except AddressError as error:
        yield "endpoint", str(error)


_TLS12: dict[str, Any] = {
    f"TLS_ECDHE_{signature}_WITH_{name}": f"ECDHE-{signature}-{openssl}"
    for signature in ("ECDSA", "RSA")
    for name, openssl in (
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
    )
}
CIPHER_SUITES: dict[str, str] = {
    **_TLS12,
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
}
"""IANA name -> OpenSSL name; those of TLS 1.3 are always on and have no name to set."""
