"""The pauses between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from heliograph.component.config import Duration
from heliograph.delivery.config import RetryConfig
from heliograph.delivery.retry import Backoff


def test_pauses_grow_to_the_greatest() -> None:
    config = RetryConfig(max_elapsed_time=Duration(0), randomization_factor=0)
    backoff = Backoff(config, 0)
    pauses = [backoff.next(0, None) for _ in range(7)]
    assert pauses == [5, 7.5, 11.25, 16.875, 25.3125, 30, 30]


def test_the_drawn_number_moves_a_pause_by_at_most_the_factor() -> None:
    assert Backoff(RetryConfig(), 0, lambda: 0.0).next(0, None) == 2.5
    assert Backoff(RetryConfig(), 0, lambda: 0.5).next(0, None) == 5
    assert Backoff(RetryConfig(), 0, lambda: 1.0).next(0, None) == 7.5


def test_no_attempt_begins_after_max_elapsed_time() -> None:
    backoff = Backoff(RetryConfig(randomization_factor=0), 100)
    assert backoff.next(394, None) == 5
    assert backoff.next(394, None) is None
    assert Backoff(RetryConfig(), 100).next(100, 301) is None


@given(st.floats(0, 1), st.floats(0, 100), st.floats(0, 0.999999))
def test_a_pause_is_never_shorter_than_what_was_asked_for(factor: float, after: float, drawn: float) -> None:
    config = RetryConfig(randomization_factor=factor, max_elapsed_time=Duration(0))
    backoff = Backoff(config, 0, lambda: drawn)
    for _ in range(5):
        pause = backoff.next(0, after)
        assert pause is not None
        assert after <= pause <= max(after, 30 * (1 + factor))
