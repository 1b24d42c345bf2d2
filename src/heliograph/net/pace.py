"""How slowly a sender may send, over HTTP/1.1 and gRPC alike: who holds memory or a place must get on."""

GRACE = 30.0
"""Seconds that any body may take."""
MIN_RATE = 8 * 1024
"""Bytes a second that a body must reach, on average, after that."""
MAX_CONNECTIONS = 10_000
"""Connections of a server at once; one more is closed at once."""


def due(begun: float, received: int, grace: float = GRACE) -> float:
    """When a body that began then, and of which so many bytes came, must be complete or longer."""
    return begun + grace + received / MIN_RATE
