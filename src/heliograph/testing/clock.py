"""A clock that stands still until a test moves it.

`sleep` returns when `advance` has passed its end. `advance` wakes the sleepers one after another in the order of
their ends and lets the event loop run in between, so that what one of them does (sleeping again, for example) falls
into the right order.
"""

import asyncio
from heapq import heappop, heappush

_TURNS = 20  # turns of the event loop after each wake-up: enough for a chain of awaits to settle


class ManualClock:
    """A Clock. now_ns: what the wall clock says at first, nanoseconds since the epoch."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._start_ns = now_ns
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0

    def now_ns(self) -> int:
        """The wall clock: the first value plus what `advance` added."""
        return self._start_ns + round(self._elapsed * 1e9)

    def monotonic(self) -> float:
        """Seconds that `advance` added."""
        return self._elapsed

    @property
    def sleeping(self) -> int:
        """How many are waiting in `sleep`."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has moved the clock that far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heappush(self._sleepers, (self._elapsed + seconds, self._number, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on and wake whoever's time has come, in order."""
        end = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heappop(self._sleepers)
            self._elapsed = max(self._elapsed, due)
            if not future.done():
                future.set_result(None)
                await settle()
        self._elapsed = end
        await settle()


async def settle(turns: int = _TURNS) -> None:
    """Let everything run that is ready to run."""
    for _ in range(turns):
        await asyncio.sleep(0)
