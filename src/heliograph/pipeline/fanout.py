"""One batch for several consumers, without copying it.

The branches are offered the batch one after another, in the order of the configuration, connectors last. `Batch.share`
gives each a fork of the completion; a fork is called by its branch, and the last one calls the outer completion. The
rule:

1. Nobody has taken it yet and a branch refuses for now (Retryable): that is raised. Nothing was taken.
2. Somebody has taken it and a branch refuses for now: that branch is asked again, with growing pauses, for at most
   RETRY_SECONDS. Then its refusal is raised: the sender owns the batch again and sends it again. Branches that took
   it get it twice then, none loses it. The outer completion is safe, because the refusing branch's fork is never
   called: the count of the forks cannot reach zero.
3. A branch that refuses for good (Permanent, a crash included) is passed over. Did another branch take the batch, then
   the refused fork is finished as DROPPED("refused"), counted and logged, and nothing is raised. Did none, then
   the first refusal is raised. The order of the branches makes no difference. Forks of such branches are finished last,
   when no refusal can be raised any more.

The ledger. Taken by all of n: the receiver counts the items once, so n - 1 copies are counted here; a fork dropped
under rule 3 is one of the n. Raised after k branches have taken it: the receiver counts nothing, so all k are copies.
"""

import logging
from collections.abc import Mapping, Sequence

from heliograph.component.batch import Batch, Fate, Outcome
from heliograph.component.clock import Clock
from heliograph.component.errors import Permanent, Retryable
from heliograph.component.ids import Signal
from heliograph.component.lifecycle import Consumer
from heliograph.pipeline.guard import offer
from heliograph.telemetry.ledger import Ledger
from heliograph.telemetry.metrics import Metrics

RETRY_SECONDS = 5.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
REFUSED = Outcome(Fate.DROPPED, "refused")


class FanOut:
    """A Consumer in front of at least two. labels: whose fan-out it is, for metrics ({"pipeline": "logs"})."""

    def __init__(
        self,
        signal: Signal,
        branches: Sequence[Consumer],
        *,
        clock: Clock,
        ledger: Ledger,
        metrics: Metrics,
        log: logging.Logger,
        labels: Mapping[str, str],
    ) -> None:
        self._branches = tuple(branches)
        self._clock = clock
        self._account = ledger[signal]
        self._log = log
        self._name = " ".join(f"{kind} {name}" for kind, name in labels.items())
        self._dropped = metrics.counter(
            "heliograph_dropped_items",
            "Items dropped, by reason.",
            {**labels, "signal": str(signal), "reason": REFUSED.reason},
        )

    async def consume(self, batch: Batch) -> None:
        """Offer the batch to all. Raises DeliveryError by the rule above."""
        taken = 0
        refusals: list[tuple[Batch, Permanent]] = []
        try:
            for branch, share in zip(self._branches, batch.share(len(self._branches)), strict=True):
                try:
                    if taken:
                        await self._persist(branch, share)
                    else:
                        await offer(branch, share, self._log)
                except Permanent as error:
                    refusals.append((share, error))
                else:
                    taken += 1
            if not taken:
                raise refusals[0][1]
        except BaseException:
            self._account.copied += taken * batch.items
            raise
        self._account.copied += (len(self._branches) - 1) * batch.items
        for share, refusal in refusals:
            self._account.dropped[REFUSED.reason] += share.items
            self._dropped.add(share.items)
            self._log.error(
                "%s: dropped %d %s that one branch refused for good: %s",
                self._name, share.items, share.signal.items, refusal,
            )  # fmt: skip
            share.finish(REFUSED)

    async def _persist(self, branch: Consumer, share: Batch) -> None:
        """Offer a batch that a sibling has taken already."""
        end = self._clock.monotonic() + RETRY_SECONDS
        pause = FIRST_PAUSE
        while True:
            try:
                return await offer(branch, share, self._log)
            except Retryable as refusal:
                left = end - self._clock.monotonic()
                if left <= 0:
                    raise
                wait = pause if refusal.after is None else max(pause, refusal.after)
                await self._clock.sleep(min(wait, left))
                pause = min(pause * 2, LONGEST_PAUSE)
