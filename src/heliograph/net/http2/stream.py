"""What one side knows of one stream."""


class Stream:
    """A stream that is open or half closed. final_headers: the request's or the response's headers came.
    local_ended: everything is sent or queued. queued: body data waits for a window (see `outbox`)."""

    __slots__ = (
        "body",
        "final_headers",
        "id",
        "local_ended",
        "queued",
        "receive_window",
        "remote_ended",
        "send_window",
        "sent",
        "trailers",
    )

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.send_window = send_window
        self.receive_window = receive_window
        self.final_headers = False
        self.local_ended = False
        self.remote_ended = False
        self.queued = False
        self.body = b""
        self.sent = 0
        self.trailers: bytes | None = None
