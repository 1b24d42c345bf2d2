"""What is counted where data enters, under upstream's names."""

import logging

import pytest

from heliograph.component.batch import Batch, Context
from heliograph.component.errors import Permanent, Retryable
from heliograph.component.ids import Signal
from heliograph.pipeline.entry import Entry
from heliograph.testing.settings import settings
from heliograph.testing.sink import SinkConsumer


def batch(transport: str = "", items: int = 3) -> Batch:
    return Batch(Signal.TRACES, (b"",), items, context=Context(transport=transport))


async def test_accepted_refused_and_failed_are_counted_by_transport() -> None:
    """Accepted, refused (a DeliveryError) and failed (anything else, told to the sender as Permanent)."""
    made = settings("receiver", "otlp/x")
    sink = SinkConsumer()
    entry = Entry(Signal.TRACES, sink, made.telemetry)
    await entry.consume(batch("grpc"))
    await entry.consume(batch())
    sink.refuse = Retryable("later")
    with pytest.raises(Retryable):
        await entry.consume(batch("grpc", 4))

    def bug(_: Batch) -> None:
        raise KeyError("bug")

    sink.refuse = bug
    with pytest.raises(Permanent, match="internal error: KeyError"):
        await entry.consume(batch("grpc", 5))

    def value(what: str, transport: str) -> float:
        return made.telemetry.metrics.value(
            f"otelcol_receiver_{what}_spans", {"receiver": "otlp/x", "transport": transport}
        )

    assert (value("accepted", "grpc"), value("accepted", "")) == (3, 3)
    assert (value("refused", "grpc"), value("failed", "grpc")) == (4, 5)
    account = made.telemetry.ledger[Signal.TRACES]
    assert (account.received, account.refused) == (6, 9)
    text = made.telemetry.metrics.exposition()
    assert 'otelcol_receiver_accepted_spans{receiver="otlp/x",transport=""} 3' in text


async def test_a_crash_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """The log says where the mistake is."""

    def bug(_: Batch) -> None:
        raise KeyError("the bug")

    entry = Entry(Signal.TRACES, SinkConsumer(refuse=bug), settings("receiver", "otlp").telemetry)
    with caplog.at_level(logging.ERROR), pytest.raises(Permanent):
        await entry.consume(batch())
    assert "the bug" in caplog.text
    assert "Traceback" in caplog.text
