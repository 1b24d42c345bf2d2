"""The header blocks a server answers with. They use no dynamic table, so they are written once."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from heliograph.net.grpc.call import Call
from heliograph.net.grpc.framing import ACCEPT_ENCODING as _ENCODINGS
from heliograph.net.grpc.status import GrpcError, encode_details, encode_message
from heliograph.net.http2.header_block import encode_header, encode_headers

Handler = Callable[[bytes, Call], Awaitable[bytes]]
Work = Coroutine[Any, Any, None]

RESPONSE: Final = encode_headers([(b":status", b"200"), (b"content-type", b"application/grpc")])
OK_TRAILERS: Final = encode_header(b"grpc-status", b"0")
ACCEPT_ENCODING: Final = encode_header(b"grpc-accept-encoding", _ENCODINGS)
METHOD_NOT_ALLOWED: Final = encode_headers([(b":status", b"405"), (b"allow", b"POST")])
UNSUPPORTED_MEDIA_TYPE: Final = encode_headers([(b":status", b"415"), (b"accept-post", b"application/grpc")])


def trailers_only(error: GrpcError) -> bytes:
    """The whole answer of a call that failed."""
    headers = [(b"grpc-status", b"%d" % error.status), (b"grpc-message", encode_message(error.message))]
    if error.retry_after is not None:
        headers.append((b"grpc-status-details-bin", encode_details(error)))
    return RESPONSE + encode_headers(headers)
