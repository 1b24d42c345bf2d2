"""What can go wrong between this process and an HTTP server.

    TransportError
    ├── Unsendable              a URL or a header that no request can have
    ├── ConnectFailed           no connection: name, network, TLS, a proxy that refuses; `cause` is the OSError
    │   └── CertificateRefused  the server's certificate is not accepted
    ├── Disconnected            the connection ended before a byte of the answer
    └── BrokenAnswer            the answer is no HTTP, was cut off, or cannot be decompressed

A read that takes too long is a TimeoutError, as everywhere in asyncio.
"""

import os
import ssl


class TransportError(Exception):
    """A request that got no usable answer."""


class Unsendable(TransportError):
    """It cannot be written as HTTP."""


class ConnectFailed(TransportError):
    """There is no connection. cause: what the system or the TLS library said."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(described(cause))
        self.cause = cause


class CertificateRefused(ConnectFailed):
    """The server is not whom this process trusts."""


class Disconnected(TransportError):
    """The server closed the connection without an answer."""


class BrokenAnswer(TransportError):
    """The answer cannot be used."""


def described(cause: OSError) -> str:
    """An error of connecting in words: the system's for a number, the TLS library's for its own."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return str(cause)
    if isinstance(cause, ssl.SSLError):
        # Its errno is OpenSSL's, not the system's.
        return f"TLS: {(cause.reason or str(cause)).replace('_', ' ').lower()}; is TLS spoken there?"
    if cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    return cause.strerror or str(cause) or type(cause).__name__
