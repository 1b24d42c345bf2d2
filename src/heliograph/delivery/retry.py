"""How long to wait before the next attempt: exponential, varied at random, never less than the other side asks.

The rule is upstream's: the wait starts at initial_interval and grows by multiplier up to max_interval; each wait is
drawn evenly from [wait x (1 - factor), wait x (1 + factor)]; a Retry-After that is longer wins; when the next
attempt would begin after max_elapsed_time, there is none.
"""

from collections.abc import Callable
from random import random

from heliograph.delivery.config import RetryConfig


class Backoff:
    """The waits of one batch. `draw` gives numbers in [0, 1)."""

    __slots__ = ("_config", "_draw", "_give_up", "_interval")

    def __init__(self, config: RetryConfig, now: float, draw: Callable[[], float] = random) -> None:
        self._config = config
        self._draw = draw
        self._interval: float = config.initial_interval
        self._give_up = now + config.max_elapsed_time if config.max_elapsed_time > 0 else None

    def next(self, now: float, after: float | None) -> float | None:
        """Seconds until the next attempt, or None to give up. after: what the other side asked for."""
        config = self._config
        interval = self._interval
        self._interval = min(interval * config.multiplier, config.max_interval)
        wait = interval * (1 + config.randomization_factor * (2 * self._draw() - 1))
        if after is not None:
            wait = max(wait, after)
        if self._give_up is not None and now + wait > self._give_up:
            return None
        return wait
