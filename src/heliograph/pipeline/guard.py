"""Handing a batch to a component whose code may be wrong.

The contract of `Consumer.consume` knows DeliveryError alone. Whatever else comes out of a component is a mistake in it:
it is logged with its traceback, once, where it is first met, and goes on as `Crashed`, which is Permanent, so that
senders neither hang nor send the same bytes for ever, and siblings of the component never see it.
"""

import logging

from heliograph.component.batch import Batch
from heliograph.component.errors import DeliveryError, Permanent
from heliograph.component.lifecycle import Consumer

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


class Crashed(Permanent):
    """A component raised something that is no DeliveryError."""


async def offer(consumer: Consumer, batch: Batch, log: Log) -> None:
    """Let `consumer` take the batch. Raises DeliveryError, Crashed in place of foreign exceptions."""
    try:
        await consumer.consume(batch)
    except DeliveryError:
        raise
    except Exception as error:
        log.exception("a component failed on a batch of %d %s", batch.items, batch.signal.items)
        raise Crashed(f"internal error: {type(error).__name__}: {error}") from error
