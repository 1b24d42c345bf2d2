"""Reading request bodies without letting senders fill the memory or hold it for ever.

Rules:
- A body is never longer than the limit, compressed or not; one byte more and it is refused, not read.
- All bodies of a server together stay below a budget: bytes are charged as they arrive and given back when
  the answer is sent. A request that finds no room is told to come again (429 with Retry-After).
- A sender that is slow gives up its place (net/pace.py).
"""

import asyncio

from heliograph.net import pace
from heliograph.net.compression import TooLarge, decompress
from heliograph.net.http.incoming import Incoming


class NoRoom(Exception):
    """The budget for bodies is used up."""


class TooSlow(Exception):
    """The body did not come in time; the message says how much did."""


class Gone(Exception):
    """The sender closed the connection, or sent a body that breaks HTTP's framing."""


class Budget:
    """Bytes that may be held at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, size: int) -> None:
        """Charge bytes. Raises NoRoom, and then charges nothing."""
        if self.used + size > self.limit:
            raise NoRoom
        self.used += size

    def give(self, size: int) -> None:
        """Give bytes back."""
        self.used -= size


class Body:
    """The body of one request. Call `release` when it is no longer needed, whatever happened."""

    def __init__(self, budget: Budget, limit: int) -> None:
        self._budget = budget
        self._limit = limit
        self._charged = 0

    async def read(self, request: Incoming, encoding: str, read_timeout: float) -> bytes:
        """The decompressed body. Raises TooLarge, NoRoom, TooSlow, Gone, MalformedPayload; ValueError when the
        encoding is unknown."""
        length = request.length
        if length is not None and length > self._limit:
            raise TooLarge(self._limit)
        raw = await self._receive(request, read_timeout)
        if not encoding:
            return raw
        plain = decompress(encoding, raw, self._limit)
        self._charge(len(plain))
        self._budget.give(len(raw))
        self._charged -= len(raw)
        return plain

    def release(self) -> None:
        """Give everything back."""
        self._budget.give(self._charged)
        self._charged = 0

    def hand_over(self) -> "Body":
        """Another object that holds what this one held: for work that outlives the request."""
        other = Body(self._budget, self._limit)
        other._charged, self._charged = self._charged, 0
        return other

    def _charge(self, size: int) -> None:
        self._budget.take(size)
        self._charged += size

    async def _receive(self, request: Incoming, read_timeout: float) -> bytes:
        if request.complete:
            whole = request.read_nowait()
            if len(whole) > self._limit:
                raise TooLarge(self._limit)
            self._charge(len(whole))
            return whole
        pieces: list[bytes] = []
        size = 0
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while True:
            until = pace.due(begin, size)
            if read_timeout > 0:
                until = min(until, begin + read_timeout)
            try:
                async with asyncio.timeout_at(until):
                    piece = await request.read()
            except TimeoutError:
                raise TooSlow(f"{size} bytes of the body came in {loop.time() - begin:.0f} s") from None
            except ConnectionError as error:
                raise Gone(str(error)) from None
            if not piece:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            size += len(piece)
            if size > self._limit:
                raise TooLarge(self._limit)
            self._charge(len(piece))
            pieces.append(piece)
