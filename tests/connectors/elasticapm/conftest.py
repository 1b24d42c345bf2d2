"""The connector under a clock that the test moves."""

from collections.abc import AsyncIterator

import pytest

from apm_metrics import Bench


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Not started yet."""
    made = Bench()
    yield made
    if made.connector is not None:
        await made.connector.shutdown(made.clock.monotonic() + 1)
    await made.host.close()
    assert not made.host.crashes
