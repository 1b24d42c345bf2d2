"""Waiting for a condition with a deadline, instead of sleeping for a guess."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], what: str = "the condition", timeout: float = 10.0) -> None:
    """Return when `condition()` is true, looking every 5 ms. Raises AssertionError after `timeout` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    while not condition():
        if loop.time() > end:
            raise AssertionError(f"{what} did not come about within {timeout} s")
        await asyncio.sleep(0.005)
