"""A batch of telemetry and the acknowledgement that travels back.

Rules:
- A batch is immutable and may be shared. Its data is a tuple of serialized ResourceSpans /
  ResourceMetrics / ResourceLogs messages (without framing); merging two batches is joining tuples.
- `Consumer.consume(batch)` either returns, and then the callee owns the batch and will finish its completion
  exactly once, now or later; or raises a DeliveryError, and then it will never touch the completion.
- A batch derived from another (`with_parts`, `with_messages`) carries the same completion on; the old one is then
  forgotten. Splitting forks the completion (the worst fate of the pieces is reported once all are known);
  merging joins them (all are told).
- Whoever needs each record asks `messages()` (shared, read-only) or `take_messages()` (its own, may be changed);
  the decoded form stays with the batch until somebody needs bytes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from heliograph.component.ids import Signal
from heliograph.otlp.messages import resource_message_class


class Fate(IntEnum):
    """How a batch ended, from best to worst. The first three are safe: nothing needs to be sent again."""

    DELIVERED = 0
    STORED = 1  # durably in a persistent queue of this process
    DEAD_LETTERED = 2  # rejected by the backend, kept in a dead-letter file
    DROPPED = 3  # gone, for `reason`, counted


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fate and, when something was lost or set aside, why."""

    fate: Fate
    reason: str = ""


DELIVERED = Outcome(Fate.DELIVERED)
STORED = Outcome(Fate.STORED)


class Completion:
    """Called once with the outcome. Calling it twice is a programming error and raises RuntimeError."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[Outcome], None]) -> None:
        self._callback: Callable[[Outcome], None] | None = callback

    def __call__(self, outcome: Outcome) -> None:
        callback = self._callback
        if callback is None:
            raise RuntimeError("a batch was completed twice")
        self._callback = None
        callback(outcome)

    def fork(self, count: int) -> "list[Completion]":
        """`count` completions; when the last of them is called, this one is called with the worst outcome."""
        waiting, worst = count, DELIVERED

        def piece(outcome: Outcome) -> None:
            nonlocal waiting, worst
            waiting -= 1
            if outcome.fate > worst.fate:
                worst = outcome
            if waiting == 0:
                self(worst)

        return [Completion(piece) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of the request that brought a batch in.

    peer: IP address of the sender, or "". transport: "grpc", "http" or "".
    metadata: request headers in lower case, only where the receiver has include_metadata.
    auth: what the server authenticator found out about the sender.
    """

    peer: str = ""
    transport: str = ""
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    auth: Mapping[str, str] = field(default_factory=dict)


NO_CONTEXT = Context()

Message = Any  # ResourceSpans | ResourceMetrics | ResourceLogs of opentelemetry.proto


class Batch:
    """Telemetry of one signal.

    parts: serialized Resource* messages. items: spans, log records or data points in them.
    """

    __slots__ = ("_messages", "_parts", "_shared", "completion", "context", "items", "signal")

    def __init__(
        self,
        signal: Signal,
        parts: Sequence[bytes] | None,
        items: int,
        *,
        context: Context = NO_CONTEXT,
        completion: Completion | None = None,
        messages: Sequence[Message] | None = None,
        shared: bool = False,
    ) -> None:
        if parts is None and messages is None:
            raise ValueError("a batch needs parts or messages")
        self.signal = signal
        self.items = items
        self.context = context
        self.completion = completion
        self._parts = None if parts is None else tuple(parts)
        self._messages = messages
        self._shared = shared

    @property
    def parts(self) -> tuple[bytes, ...]:
        """The data as serialized Resource* messages."""
        if self._parts is None:
            assert self._messages is not None
            self._parts = tuple(message.SerializeToString() for message in self._messages)
        return self._parts

    @property
    def size(self) -> int:
        """Bytes of the Export*ServiceRequest that holds this batch."""
        total = 0
        for part in self.parts:
            length = len(part)
            total += length + 2
            while length > 127:
                length >>= 7
                total += 1
        return total

    def messages(self) -> Sequence[Message]:
        """The data as official protobuf messages, for reading only."""
        if self._messages is None:
            parse = resource_message_class(self.signal.value).FromString
            self._messages = [parse(part) for part in self.parts]
        return self._messages

    def take_messages(self) -> list[Message]:
        """The data as protobuf messages that the caller may change. The batch must then be replaced
        by `with_messages`. Costs a parse unless an earlier component left a decoded form to this one alone."""
        if self._messages is not None and not self._shared and self._parts is None:
            return list(self._messages)
        parse = resource_message_class(self.signal.value).FromString
        return [parse(part) for part in self.parts]

    def with_parts(self, parts: Sequence[bytes]) -> "Batch":
        """This batch with other data of as many items; context and completion go along."""
        return Batch(
            self.signal,
            parts,
            self.items,
            context=self.context,
            completion=self.completion,
        )

    def with_messages(self, messages: Sequence[Message]) -> "Batch":
        """This batch with other data of as many items in decoded form; context and completion go along."""
        return Batch(
            self.signal,
            None,
            self.items,
            context=self.context,
            completion=self.completion,
            messages=messages,
        )

    def without_completion(self) -> "Batch":
        """The same data, with nobody waiting for its fate: for the one who finishes the original itself."""
        return Batch(self.signal, self._parts, self.items, context=self.context, messages=self._messages, shared=True)

    def finish(self, outcome: Outcome = DELIVERED) -> None:
        """Tell whoever waits what became of this batch. Once."""
        if self.completion is not None:
            self.completion(outcome)

    def split(self, pieces: Sequence[tuple[Sequence[bytes], int]]) -> "list[Batch]":
        """Replace this batch by several, given as (parts, items); the completion is forked."""
        completions = self._fork(len(pieces))
        return [
            Batch(self.signal, parts, items, context=self.context, completion=completion)
            for (parts, items), completion in zip(pieces, completions, strict=True)
        ]

    def share(self, count: int) -> "list[Batch]":
        """The same data for `count` consumers, without copying it; the completion is forked."""
        self._shared = True
        return [
            Batch(
                self.signal,
                self._parts,
                self.items,
                context=self.context,
                completion=completion,
                messages=self._messages,
                shared=True,
            )
            for completion in self._fork(count)
        ]

    def _fork(self, count: int) -> Sequence[Completion | None]:
        if self.completion is None:
            return [None] * count
        return self.completion.fork(count)

    def __repr__(self) -> str:
        return f"<Batch {self.signal} items={self.items}>"


def merge(batches: Sequence[Batch]) -> Batch:
    """One batch with the data of several of the same signal; finishing it finishes all of them.

    The context is kept when all have the same.
    """
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    completions = [batch.completion for batch in batches if batch.completion is not None]

    def all_of_them(outcome: Outcome) -> None:
        for completion in completions:
            completion(outcome)

    same = all(batch.context is first.context or batch.context == first.context for batch in batches)
    return Batch(
        first.signal,
        [part for batch in batches for part in batch.parts],
        sum(batch.items for batch in batches),
        context=first.context if same else NO_CONTEXT,
        completion=Completion(all_of_them) if completions else None,
    )
