"""Parts put together to a request body."""

from collections.abc import Sequence
from typing import Final

from heliograph.otlp.wire import varint

_TAG: Final = b"\x0a"  # field 1, length-delimited: resource_spans, resource_logs and resource_metrics alike


def request(parts: Sequence[bytes]) -> bytes:
    """The Export*ServiceRequest body that holds these Resource* messages."""
    pieces: list[bytes] = []
    for part in parts:
        pieces.append(_TAG)
        pieces.append(varint(len(part)))
        pieces.append(part)
    return b"".join(pieces)
