"""The one error of the HTTP/2 core, raised and caught inside of it; drivers see an event instead."""


class ConnectionFault(Exception):
    """The peer broke the protocol or a limit; the connection ends with GOAWAY and this code (RFC 9113 section 7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
