"""The one thing that can be wrong with bytes."""


class MalformedPayload(ValueError):
    """Bytes that are not the message they should be.

    offset: where, in bytes from the start of the request (-1 when it is not known).
    problem: what, in words.
    """

    def __init__(self, problem: str, offset: int = -1) -> None:
        where = f" at byte {offset}" if offset >= 0 else ""
        super().__init__(f"{problem}{where}")
        self.problem = problem
        self.offset = offset
