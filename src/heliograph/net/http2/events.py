"""What a connection reports to its driver, in the order in which it happened."""

Header = tuple[str, str]


class Event:
    """Anything a connection reports. stream_id is 0 where it concerns the connection."""

    __slots__ = ("stream_id",)

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id


class HeadersReceived(Event):
    """A request, a response or trailers. ended: nothing follows.

    problem: "" or why the headers are unusable (then `headers` may be incomplete); the stream lives on until the driver
    answers or resets it. oversized: they are more than the limit for a header list.
    """

    __slots__ = ("ended", "headers", "oversized", "problem", "trailers")

    def __init__(
        self, stream_id: int, headers: list[Header], ended: bool, trailers: bool, problem: str, oversized: bool
    ) -> None:
        super().__init__(stream_id)
        self.headers = headers
        self.ended = ended
        self.trailers = trailers
        self.problem = problem
        self.oversized = oversized


class DataReceived(Event):
    """Bytes of a body. ended: nothing follows."""

    __slots__ = ("data", "ended")

    def __init__(self, stream_id: int, data: bytes, ended: bool) -> None:
        super().__init__(stream_id)
        self.data = data
        self.ended = ended


class StreamReset(Event):
    """The stream ended early. by_peer: the peer sent RST_STREAM; otherwise this side did, because of a mistake."""

    __slots__ = ("by_peer", "code", "reason")

    def __init__(self, stream_id: int, code: int, by_peer: bool, reason: str = "") -> None:
        super().__init__(stream_id)
        self.code = code
        self.by_peer = by_peer
        self.reason = reason


class SettingsReceived(Event):
    """The peer's SETTINGS are in force."""

    __slots__ = ()


class PingReceived(Event):
    """The peer pinged; the answer is already in the output."""

    __slots__ = ()


class PongReceived(Event):
    """The answer to a ping of ours."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        super().__init__(0)
        self.payload = payload


class GoAwayReceived(Event):
    """The peer takes no more streams; those above `last_stream_id` were not and will not be processed."""

    __slots__ = ("code", "debug", "last_stream_id")

    def __init__(self, last_stream_id: int, code: int, debug: bytes) -> None:
        super().__init__(0)
        self.last_stream_id = last_stream_id
        self.code = code
        self.debug = debug


class ConnectionFailed(Event):
    """The peer broke the protocol: a GOAWAY is in the output, the driver writes it and closes. The last event ever."""

    __slots__ = ("code", "reason")

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(0)
        self.code = code
        self.reason = reason
