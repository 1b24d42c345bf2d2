"""The rule of pipeline/fanout.py, point by point: who gets the batch, what is raised, when the outer completion is
called and with what, and that the ledger closes each time."""

import asyncio
import logging

import pytest

from heliograph.component.batch import DELIVERED, Batch, Completion, Fate, Outcome
from heliograph.component.errors import DeliveryError, Overloaded, Permanent, Retryable
from heliograph.component.ids import Signal
from heliograph.pipeline.entry import Entry
from heliograph.pipeline.fanout import RETRY_SECONDS, FanOut
from heliograph.testing.clock import ManualClock, settle
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer

PARTS = (b"part",)


class World:
    """An entry, a fan-out and its branches, with the outcomes that the sender was told."""

    def __init__(self, *branches: SinkConsumer) -> None:
        self.branches = branches
        self.clock = ManualClock()
        self.receiver = settings("receiver", "tap")
        self.ledger = self.receiver.telemetry.ledger
        self.metrics = self.receiver.telemetry.metrics
        self.outcomes: list[Outcome] = []
        fan_out = FanOut(
            Signal.LOGS,
            branches,
            clock=self.clock,
            ledger=self.ledger,
            metrics=self.metrics,
            log=logging.getLogger("test"),
            labels={"pipeline": "logs"},
        )
        self.entry = Entry(Signal.LOGS, fan_out, self.receiver.telemetry)

    async def send(self, items: int = 10) -> None:
        await self.entry.consume(Batch(Signal.LOGS, PARTS, items, completion=Completion(self.outcomes.append)))

    def closes(self) -> bool:
        """Whether what the sinks took is what the ledger says came in."""
        account = self.ledger[Signal.LOGS]
        account.sent = sum(branch.items for branch in self.branches)
        return account.difference == 0


async def test_all_branches_get_the_same_bytes_and_the_sender_hears_the_worst_when_all_are_done() -> None:
    """Rule 0: the outer completion comes once, after the last, with the worst fate; the bytes are not copied."""
    first, second = SinkConsumer(hold=True), SinkConsumer(hold=True)
    world = World(first, second)
    await world.send()
    assert first.parts[0] is PARTS[0]
    assert second.parts[0] is PARTS[0]
    first.release(Outcome(Fate.DROPPED, "why"))
    assert world.outcomes == []
    second.release()
    assert world.outcomes == [Outcome(Fate.DROPPED, "why")]
    assert world.ledger[Signal.LOGS].copied == 10
    assert world.closes()


@pytest.mark.parametrize("error", [Retryable("later"), Overloaded("full", 3.0)])
async def test_refused_for_now_before_anybody_took_it_is_raised(error: DeliveryError) -> None:
    """Rule 1: nothing was taken, nobody is told anything, siblings are not even asked."""
    first, second = SinkConsumer(refuse=error), SinkConsumer()
    world = World(first, second)
    with pytest.raises(type(error)):
        await world.send()
    assert second.batches == []
    assert world.outcomes == []
    assert world.ledger[Signal.LOGS].refused == 10
    assert world.closes()


async def test_refused_for_now_after_a_sibling_took_it_is_tried_again() -> None:
    """Rule 2: a branch that recovers in time gets it; the sibling has it once."""
    first, second = SinkConsumer(), SinkConsumer(refuse=[Retryable("busy"), Retryable("busy", 0.5)])
    world = World(first, second)
    sending = asyncio.create_task(world.send())
    await world.clock.advance(1)
    await sending
    assert (first.items, second.items, second.refused) == (10, 10, 2)
    assert world.outcomes == [DELIVERED]
    assert world.closes()


async def test_refused_for_now_too_long_is_raised_and_the_outer_completion_stays_with_the_sender() -> None:
    """Rule 2: after the time the sender owns the batch again, though a sibling took and finished it; sending again
    completes once."""
    first, second = SinkConsumer(hold=True), SinkConsumer(refuse=Retryable("away"))
    world = World(first, second)
    sending = asyncio.create_task(world.send())
    for _ in range(int(RETRY_SECONDS)):
        await world.clock.advance(1)
        assert not sending.done() or _ == int(RETRY_SECONDS) - 1
    with pytest.raises(Retryable, match="away"):
        await sending
    first.release()
    assert world.outcomes == []
    assert world.closes()
    second.refuse = None
    await world.send()
    first.release()
    assert world.outcomes == [DELIVERED]
    assert (first.items, second.items) == (20, 10)
    assert world.closes()


@pytest.mark.parametrize("order", [0, 1])
async def test_refused_for_good_by_one_branch_is_counted_as_dropped_there_and_not_raised(order: int) -> None:
    """Rule 3, in either order: the sibling has it, the sender hears DROPPED(refused) when the sibling is done."""
    good, bad = SinkConsumer(hold=True), SinkConsumer(refuse=Permanent("never"))
    world = World(*((good, bad) if order else (bad, good)))
    await world.send()
    assert world.outcomes == []
    good.release()
    assert world.outcomes == [Outcome(Fate.DROPPED, "refused")]
    assert world.ledger[Signal.LOGS].dropped == {"refused": 10}
    labels = {"pipeline": "logs", "reason": "refused", "signal": "logs"}
    assert world.metrics.value("heliograph_dropped_items", labels) == 10
    assert world.closes()


async def test_refused_for_good_by_all_is_raised() -> None:
    """Rule 3: nothing was taken, nothing is dropped, the sender hears the first refusal."""
    world = World(SinkConsumer(refuse=Permanent("one")), SinkConsumer(refuse=Permanent("two")))
    with pytest.raises(Permanent, match="one"):
        await world.send()
    assert world.outcomes == []
    assert not world.ledger[Signal.LOGS].dropped
    assert world.closes()


async def test_a_permanent_refusal_is_not_finished_when_the_batch_goes_back_to_the_sender() -> None:
    """Rules 2 and 3 together: taken, refused for good, refused for now: raised, no fork of a refusing one is called."""
    first, never, away = SinkConsumer(), SinkConsumer(refuse=Permanent("never")), SinkConsumer(refuse=Retryable("away"))
    world = World(first, never, away)
    sending = asyncio.create_task(world.send())
    await world.clock.advance(RETRY_SECONDS + 2)
    with pytest.raises(Retryable):
        await sending
    assert world.outcomes == []
    assert not world.ledger[Signal.LOGS].dropped
    assert world.closes()


async def test_a_crash_in_one_branch_leaves_the_sibling_its_data() -> None:
    """An exception that is no DeliveryError counts as a refusal for good of that branch alone."""

    class Broken(SinkConsumer):
        async def consume(self, batch: Batch) -> None:
            raise ZeroDivisionError("bug")

    good = SinkConsumer()
    world = World(Broken(), good)
    await world.send()
    assert good.items == 10
    assert world.outcomes == [Outcome(Fate.DROPPED, "refused")]
    assert world.closes()


async def test_a_cancelled_sender_leaves_the_ledger_closed() -> None:
    """Cancelled while a branch is tried again: what the sibling took is a copy of something never received."""
    first, second = SinkConsumer(), SinkConsumer(refuse=Retryable("away"))
    world = World(first, second)
    sending = asyncio.create_task(world.send())
    await settle()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert first.items == 10
    assert world.closes()
