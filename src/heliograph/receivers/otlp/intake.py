"""What both transports do with a request body: check it, make a batch, hand it on, word what went wrong.

A body is checked and counted here, once, so that nothing behind has to doubt it. A request without a single item is
answered with success and goes no further, as upstream does.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from heliograph.component.batch import Batch, Context
from heliograph.component.errors import DeliveryError, MalformedPayload, Overloaded, Permanent, Retryable
from heliograph.component.factory import Settings
from heliograph.component.ids import Signal
from heliograph.net.grpc.status import INTERNAL, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNAVAILABLE
from heliograph.otlp.check import check
from heliograph.telemetry.metrics import Counter

RETRY_AFTER = 1.0
"""Seconds that a sender is asked to wait when whoever refused the data did not say."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not taken. code: gRPC status. retry_after: seconds, None when trying again is no use."""

    code: int
    message: str
    retry_after: float | None = None


class Intake:
    """The way in for one transport ("grpc" or "http")."""

    def __init__(self, settings: Settings, transport: str, include_metadata: bool) -> None:
        self._outputs = settings.outputs
        self._telemetry = settings.telemetry
        self._transport = transport
        self.include_metadata = include_metadata
        self._malformed = {signal: self._counter(str(signal)) for signal in settings.outputs}
        self._garbage = self._counter("")

    @property
    def signals(self) -> list[Signal]:
        """The signals that have a pipeline."""
        return list(self._outputs)

    async def take(
        self,
        signal: Signal,
        body: bytes,
        peer: str,
        metadata: Mapping[str, tuple[str, ...]],
        auth: Mapping[str, str],
    ) -> Refusal | None:
        """Check an Export*ServiceRequest and hand it to the pipeline. None when it was taken. metadata: the request's
        headers, when `include_metadata` asks for them, else empty."""
        try:
            parts, items = check(signal.value, body)
        except MalformedPayload as error:
            return self.malformed(signal, error)
        if items == 0:
            return None
        context = Context(peer, self._transport, metadata, auth)
        try:
            await self._outputs[signal].consume(Batch(signal, parts, items, context=context))
        except DeliveryError as error:
            return refusal(error)
        except Exception:  # a defect behind must not end the connection: it is answered and logged
            self._telemetry.log.exception("handing on a request of %d %s failed", items, signal.items)
            return Refusal(INTERNAL, "internal error")
        return None

    def malformed(self, signal: Signal | None, error: MalformedPayload | None = None) -> Refusal:
        """Count a request that is no OTLP, or, without a signal, bytes that are not even the transport's."""
        (self._garbage if signal is None else self._malformed[signal]).add(1)
        return Refusal(INVALID_ARGUMENT, str(error) if error else "malformed request")

    def _counter(self, signal: str) -> Counter:
        return self._telemetry.counter(
            "heliograph_receiver_malformed_requests",
            "Requests that could not be read, by transport and signal.",
            transport=self._transport,
            signal=signal,
        )


def refusal(error: DeliveryError) -> Refusal:
    """The answer for data that was not taken: RESOURCE_EXHAUSTED or UNAVAILABLE with a time to wait, so that the
    sender keeps it, or the code of a permanent error."""
    message = str(error) or type(error).__name__
    if isinstance(error, Permanent):
        return Refusal(error.code, message)
    after = error.after if isinstance(error, Retryable) and error.after is not None else RETRY_AFTER
    return Refusal(RESOURCE_EXHAUSTED if isinstance(error, Overloaded) else UNAVAILABLE, message, max(after, 0.0))
