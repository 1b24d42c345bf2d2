"""A server's answer and its bytes, without I/O. Source: RFC 9110, 15 (the phrases) and RFC 9112, 4 to 6."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from heliograph.telemetry.http_date import http_date

SERVER: Final = {"Server": "Heliograph"}
REASONS: Final = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}


@dataclass(slots=True)
class Reply:
    """An answer. close: end the connection after it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    close: bool


def encode(reply: Reply, with_body: bool, close: bool) -> bytes:
    """Head and body as they are sent. with_body: false for the answer to HEAD, whose length is told nevertheless.
    close: tell the client that the connection ends with this answer."""
    status = reply.status
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, '')}"]
    lines.extend(f"{name}: {value}" for name, value in reply.headers.items() if name.lower() != "connection")
    if status != 204:
        lines.append(f"Content-Length: {len(reply.body)}")
    lines.append(f"Date: {http_date(time.time())}")
    if close:
        lines.append("Connection: close")
    lines.append("\r\n")
    head = "\r\n".join(lines).encode("utf-8", "surrogateescape")
    return head + reply.body if with_body and status != 204 else head
